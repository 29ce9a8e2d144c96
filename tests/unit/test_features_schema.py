import numpy as np
import pytest
from conversations import SHELL_TOOLS, ask, bash, user

from router_model.features import SCHEMA, Feature, extract
from router_model.features.schema import build_schema
from router_model.types import Request


def test_every_feature_has_a_unique_name_a_unit_and_a_meaning() -> None:
    assert len(set(SCHEMA.names)) == SCHEMA.n == len(SCHEMA.units) == len(SCHEMA.meanings)
    assert all(SCHEMA.units)
    assert all(len(meaning) > 5 for meaning in SCHEMA.meanings)
    assert all(name.isidentifier() and name.islower() for name in SCHEMA.names)


def test_the_hash_changes_with_a_name_a_unit_the_order_and_the_version() -> None:
    a, b = Feature("a", "count", "one"), Feature("b", "share", "two")
    original = build_schema([a, b], version=1).hash
    changed = [
        build_schema([b, a], version=1),
        build_schema([a, b], version=2),
        build_schema([a._replace(unit="tokens"), b], version=1),
        build_schema([a._replace(name="c"), b], version=1),
    ]
    assert len({original, *(schema.hash for schema in changed)}) == 5


def test_the_hash_does_not_depend_on_the_wording_of_a_meaning() -> None:
    a = Feature("a", "count", "one")
    assert build_schema([a], version=1).hash == (
        build_schema([a._replace(meaning="reworded")], version=1).hash
    )


def test_a_name_used_twice_is_refused_with_the_name() -> None:
    twice = Feature("again", "count", "x")
    with pytest.raises(ValueError, match="again"):
        build_schema([twice, twice], version=1)


def test_an_unknown_name_is_named_in_the_error() -> None:
    with pytest.raises(KeyError, match="no_such_feature"):
        SCHEMA.index("no_such_feature")


def test_a_row_is_float32_of_the_length_of_the_schema() -> None:
    context = extract(ask(user("Fix it."), *bash(("ls", "a.py")), tools=SHELL_TOOLS))
    assert context.values.dtype == np.float32
    assert context.values.shape == (SCHEMA.n,)


def test_an_empty_request_gives_finite_values_and_no_text() -> None:
    context = extract(Request(messages=()))
    assert np.isfinite(context.values).all()
    assert context.text == ""
    assert context.step_type == "main"
    assert context.family == ""
