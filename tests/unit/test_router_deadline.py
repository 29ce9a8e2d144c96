"""Calls that waited too long: decided without a prediction, and what their rows say."""

import msgspec
import numpy as np
import pytest
from decided_rows import logged_row
from routers import ask, router

from router_model import fallback
from router_model.errors import LogError, NoAdmissibleModelError
from router_model.replay import replay
from router_model.terms import Exploration, Terms
from router_model.types import Caller, Decision, PolicyOverrides

ROUTER = router()
LATE = fallback.past_deadline(312, deadline_ms=250)


def late(**overrides: object) -> Decision:
    return ROUTER.decide(
        ask(),
        caller=Caller(),
        overrides=PolicyOverrides(**overrides),  # type: ignore[arg-type] # each test names its own
        decision_id="d1",
        terms=Terms(exploration=Exploration(share=0.4, budget_left_usd=1.0)),
        skip=LATE,
    )


def test_the_strongest_model_answers_and_the_decision_says_why() -> None:
    found = late()
    assert (found.model, found.policy, found.propensity) == ("large", fallback.NAME, 1.0)
    assert found.reason == "fallback_deadline: waited 312 of 250 ms"
    assert np.isnan(found.expected.p_adequate)
    assert found.expected.cost_usd > 0
    assert found.exploration.off == "fallback"


def test_constraints_and_limits_still_hold() -> None:
    assert late(models=("small", "medium")).model == "medium"
    assert late(max_cost_usd=0.001).model == "small"
    with pytest.raises(NoAdmissibleModelError):
        late(max_cost_usd=1e-12)


def test_its_row_has_no_embedding_and_comes_out_again() -> None:
    row = logged_row(ROUTER, ask(), skip=LATE)
    assert row["embedding"] is None
    found = replay(row, ROUTER)
    assert found.is_identical, found.differences


def test_a_predicted_row_without_its_embedding_is_refused() -> None:
    row = logged_row(ROUTER, ask()) | {"embedding": None}
    with pytest.raises(LogError, match="embedding: got nothing"):
        replay(row, ROUTER)


def test_its_row_is_explained_without_contributions() -> None:
    row = logged_row(ROUTER, ask(), skip=LATE)
    shown = ROUTER.explain(row)
    assert shown["reason"] == LATE
    assert (shown["contributions"], shown["rules"]) == ({}, [])
    assert all("prediction had been possible" in entry["if"] for entry in shown["would_change"])
    assert msgspec.json.encode(shown)
