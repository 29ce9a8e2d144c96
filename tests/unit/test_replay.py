from typing import Any

import msgspec
import numpy as np
import pytest
from decided_rows import logged_row
from routers import TOOL, ask, joint_predictor, router, warm

from router_model.errors import LogError
from router_model.policy import CheapestAdequate
from router_model.replay import replay
from router_model.router import Router
from router_model.tenants import TenantOffset, TenantOffsets
from router_model.terms import Exploration, Terms
from router_model.types import Request

ROUTER = router(
    policy=CheapestAdequate(near_tie=1e6),
    offsets=TenantOffsets({"acme": TenantOffset(level=-0.5, models={"small": 0.4})}),
)
EXPLORING = Terms(exploration=Exploration(share=0.4, floor=0.1, budget_left_usd=1.0))


def logged(
    asked: Router = ROUTER,
    request: Request | None = None,
    *,
    decision_id: str = "d1",
    tenant: str = "acme",
    terms: Terms = EXPLORING,
    cached: dict[str, int] | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """The row of a decision, once through JSON as in the log."""
    return logged_row(
        asked,
        request or ask(tools=(TOOL,)),
        decision_id=decision_id,
        tenant=tenant,
        session=warm(cached or {}),
        terms=terms,
        **overrides,
    )


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"tenant": "nobody"},
        {"min_adequacy": 0.4},
        {"min_adequacy": 1.0},
        {"models": ("small",)},
        {"max_cost_usd": 0.001},
        {"cached": {"large": 7, "small": 3}},
        {"request": ask("rename all", max_output_tokens=7)},
        {"request": ask("why", has_provider_state=True)},
        {"terms": Terms(exploration=Exploration(share=0.4, budget_left_usd=0.0))},
        {"terms": Terms(exploration=Exploration(share=0.4, floor=0.3, budget_left_usd=1e-6))},
        {"terms": Terms(min_adequacy=0.3)},
    ],
)
def test_a_logged_decision_comes_out_again(case: dict[str, Any]) -> None:
    models = set()
    for i in range(20):
        row = logged(decision_id=f"d{i}", **case)
        found = replay(row, ROUTER)
        assert found.is_identical, found.differences
        assert (found.model, found.propensity) == (row["model"], row["propensity"])
        models.add(found.model)
    assert models


def test_a_fallback_decision_comes_out_again() -> None:
    joint = joint_predictor()
    joint.adequacy = msgspec.structs.replace(joint.adequacy, beta=np.full(4, np.nan))
    failing = router(predictor=joint)
    found = replay(logged(failing), failing)
    assert found.is_identical, found.differences


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "small", "propensity": 0.1}, "model: logged small, replayed"),
        ({"propensity": 0.5}, "propensity: logged 0.5"),
        ({"min_adequacy": 0.99}, "reason: logged least_total_cost"),
        ({"tenant": "nobody"}, "p_adequate"),
        ({"max_output_tokens": 3}, "expected_cost"),
        ({"exploration": {"share": 0.2, "floor": 0.1}}, "probability"),
        ({"exploration": {"share": 0.4, "floor": 0.1, "off": "locked"}}, "probability"),
    ],
)
def test_what_was_altered_is_named(change: dict[str, Any], named: str) -> None:
    decision_id = next(f"d{i}" for i in range(50) if _drawn(f"d{i}") != "small")
    row = logged(decision_id=decision_id) | change
    found = replay(row, ROUTER)
    assert not found.is_identical
    assert any(named in difference for difference in found.differences), found.differences


def test_a_difference_below_the_tolerance_is_none() -> None:
    row = logged()
    row["propensity"] *= 1.0 + 1e-12
    assert replay(row, ROUTER).is_identical
    row["propensity"] *= 1.0 + 1e-8
    assert not replay(row, ROUTER).is_identical


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema: got 2, expected at least 3"),
        ({"situation": None}, "situation"),
        ({"versions": {"artifact": "a", "catalog": "c", "policy": "p"}}, "versions: decision"),
        ({"feature_schema": "0" * 64}, "feature_schema: got 000000000000"),
        ({"candidates": []}, "candidates: decision"),
        ({"exploration": None}, "exploration"),
        ({"features": "A"}, "features: "),
        ({"embedding": "ADw="}, r"embedding: got 1 numbers, expected 10"),
    ],
)
def test_a_row_that_can_not_be_replayed_says_why(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LogError, match=message):
        replay(logged() | change, ROUTER)


def _drawn(decision_id: str) -> str:
    return str(logged(decision_id=decision_id)["model"])
