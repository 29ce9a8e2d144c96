import json
import socket
import sys
from typing import Any

import pytest

from router_model.answers import schemas
from router_model.answers.schemas import MAX_SCHEMA_BYTES, fits

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def fitting(value: Any, schema: Any) -> bool | None:
    return fits(value, json.dumps(schema).encode())


def doubling(last: Any, *, root: str = "#/$defs") -> dict[str, Any]:
    """A schema of 60 levels, each of which asks twice for the next: 2^60 checks."""
    defs: dict[str, Any] = {
        f"d{i}": {"anyOf": [{"$ref": f"{root}/d{i + 1}"}] * 2} for i in range(60)
    }
    return defs | {"d60": last}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, 3, "3"),
        ({"enum": ["a", "b"]}, "a", "c"),
        ({"$defs": {"n": {"type": "number"}}, "items": {"$ref": "#/$defs/n"}}, [1], ["a"]),
        ({"$schema": DRAFT_7, "items": [{"type": "string"}]}, ["a"], [1]),
        ({"$schema": "http://127.0.0.1:9/none", "type": "string"}, "a", 1),
        ({"properties": {"$schema": {"type": "string"}}}, {"$schema": "a"}, {"$schema": 1}),
        ({"type": "string", "nullable": True}, None, 3),
        ({"type": "string", "enum": ["a"], "nullable": True}, None, "b"),
        ({"uniqueItems": True}, [1, 2], [1, 1]),
        ({"additionalProperties": False}, {}, {"a": 1}),
    ],
)
def test_values_are_told_apart(schema: Any, good: Any, bad: Any) -> None:
    assert fitting(good, schema) is True
    assert fitting(bad, schema) is False


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"required": 5}, {}),
        ({"type": "OBJECT"}, {}),
        ({"$schema": 5}, {}),
        ({"$schema": []}, {}),
        ({"$ref": "#"}, {}),
        ({"$ref": "#/$defs/none"}, {}),
        ({"$defs": doubling({"type": "string"}), "$ref": "#/$defs/d0"}, 5),
        (
            {
                "$schema": DRAFT_7,
                "definitions": doubling({"type": "string"}, root="#/definitions"),
                "$ref": "#/definitions/d0",
            },
            5,
        ),
        (
            {
                "$defs": doubling({"type": "string"}),
                "anyOf": [{"$schema": DRAFT_7, "$ref": "#/$defs/d0"}],
            },
            5,
        ),
        ({"uniqueItems": True}, [{"i": i} for i in range(20_000)]),
        ({"enum": [[], {}] * 1000}, 1),
        ({"required": [[], {}] * 1000}, 1),
        ({"description": "x" * MAX_SCHEMA_BYTES}, {}),
        ([], {}),
        (True, {}),
    ],
)
def test_schemas_that_are_none_or_ask_for_too_much_say_nothing(schema: Any, value: Any) -> None:
    assert fitting(value, schema) is None


def test_patterns_are_not_tried() -> None:
    hostile = {"properties": {"a": {"pattern": "(a+)+$"}}}
    assert fitting({"a": "a" * 60 + "b"}, hostile) is True
    named = {"patternProperties": {"(a+)+$": {"type": "string"}}, "additionalProperties": False}
    assert fitting({"a" * 60 + "b": 1}, named) is True


def test_nothing_is_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        base = f"http://127.0.0.1:{server.getsockname()[1]}/"
        for schema in (
            {"$ref": f"{base}a"},
            {"$id": base, "$ref": "a"},
            {"$schema": f"{base}a", "$ref": f"{base}b"},
            {"$dynamicRef": f"{base}a"},
        ):
            assert fitting({}, schema) is None
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_schema_is_compiled_once() -> None:
    schema = b'{"title": "compiled once"}'
    before = schemas._validator.cache_info()
    assert [fits({}, schema) for _ in range(3)] == [True] * 3
    after = schemas._validator.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)
    assert after.maxsize is not None


def test_without_the_package_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert fits({}, b'{"title": "without the package"}') is None
    schemas._validator.cache_clear()
