from pathlib import Path
from typing import Any

import pytest
from routers import ask, catalog, router, write_artifact

from router_model.errors import InvalidRequestError
from router_model.overrides import checked_overrides
from router_model.router import Router
from router_model.types import PolicyOverrides

ROUTER = router()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("min_adequacy", 7, "a number from 0 to 1"),
        ("min_adequacy", float("nan"), "a number from 0 to 1"),
        ("max_cost_usd", 0, "a number above 0"),
        ("max_tool_call_latency_ms", "fast", "a number above 0"),
        ("models", ["nope"], "names of the catalog: large, medium, small"),
        ("models", "large", "a non-empty list of model names"),
        ("models", (), "a non-empty list of model names"),
        ("objective", "speed", "one of cost, latency"),
        ("deterministic", 1, "true or false"),
        ("pin_session", "yes", "true or false"),
    ],
)
def test_a_limit_that_is_not_allowed_is_named_in_process(
    name: str, value: Any, allowed: str
) -> None:
    overrides = PolicyOverrides(**{name: value})
    with pytest.raises(InvalidRequestError) as refused:
        ROUTER.decide(ask(), overrides=overrides)
    assert refused.value.field == f"overrides.{name}"
    assert allowed in str(refused.value)
    assert str(value) in str(refused.value) or repr(value) in str(refused.value)


def test_limits_that_are_allowed_stay_and_names_become_ids() -> None:
    limits = PolicyOverrides(min_adequacy=0.5, models=("large-1", "Small"), pin_session=True)
    found = checked_overrides(limits, catalog())
    assert found == PolicyOverrides(min_adequacy=0.5, models=("large", "small"), pin_session=True)


def test_an_artifact_is_loaded_by_its_path_as_text(tmp_path: Path) -> None:
    write_artifact(tmp_path / "artifact")
    assert Router.load(str(tmp_path / "artifact")).catalog.models
