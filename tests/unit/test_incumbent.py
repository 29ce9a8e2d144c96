from typing import Any

import msgspec
import pytest
from decided_rows import logged_row
from routers import TOOL, ask, catalog, router

from router_model.constraint_checks import OVER_BUDGET
from router_model.errors import InvalidRequestError, LogError, NoAdmissibleModelError
from router_model.incumbent import Incumbent
from router_model.policy import CheapestAdequate
from router_model.replay import replay
from router_model.terms import Allowance, Exploration, Terms
from router_model.types import Caller, Decision, PolicyOverrides, Request

ROUTER = router(policy=CheapestAdequate(near_tie=1e6))
EXPLORING = Terms(exploration=Exploration(share=0.4, floor=0.1))


def kept(
    incumbent: Incumbent | str | None = "large",
    *,
    request: Request | None = None,
    terms: Terms = EXPLORING,
    **overrides: object,
) -> Decision:
    return ROUTER.decide(
        request or ask(tools=(TOOL,)),
        caller=Caller(),
        overrides=PolicyOverrides(**overrides),  # type: ignore[arg-type] # each test names its own
        decision_id="d1",
        terms=terms,
        incumbent=incumbent,
    )


def test_the_callers_model_answers_and_the_routers_choice_is_its_shadow() -> None:
    decision, own = kept(), kept(None)
    assert decision.shadow == own
    assert (decision.model, decision.policy, decision.propensity) == ("large", "incumbent", 1.0)
    assert decision.reason == "incumbent: the caller keeps its own model"
    assert decision.fallbacks == ()
    mine = next(c for c in own.candidates if c.model == "large")
    assert decision.expected.cost_usd == mine.expected_cost
    assert decision.distribution == {c.model: float(c.model == "large") for c in own.candidates}
    assert decision.expected_regret_usd == 0.0
    assert decision.exploration == own.exploration


def test_a_model_that_can_not_serve_the_call_answers_and_is_flagged() -> None:
    decision = kept(models=("small",))
    assert decision.model == "large"
    assert decision.reason.startswith("incumbent_excluded: not_allowed")
    assert decision.excluded["large"].startswith("not_allowed")
    assert decision.candidates[-1].model == "large"
    assert decision.shadow is not None
    assert decision.shadow.model == "small"
    assert decision.expected.cost_usd > 0.0


def test_the_callers_model_answers_where_the_router_has_nothing_to_choose() -> None:
    decision = kept(max_cost_usd=1e-12)
    assert (decision.model, decision.shadow) == ("large", None)
    assert set(decision.excluded) == set(catalog().models)
    assert decision.distribution == {"large": 1.0}


def test_a_model_outside_the_catalog_is_reckoned_as_the_one_that_stands_in() -> None:
    decision, known = kept(Incumbent("mine", "large", is_known=False)), kept("large")
    assert (decision.named, decision.model) == ("mine", "large")
    assert decision.reason.startswith("incumbent_unknown: ")
    assert decision.expected == known.expected
    assert decision.shadow == known.shadow


def test_in_process_an_incumbent_is_any_name_of_the_catalog() -> None:
    assert kept("acme/Large").named == "acme/Large"
    with pytest.raises(InvalidRequestError, match="incumbent"):
        kept("nope")


def test_a_budget_holds_for_the_callers_model_too() -> None:
    left = Allowance(left_microusd=1, budget="usd_per_day")
    with pytest.raises(NoAdmissibleModelError) as refused:
        kept(terms=Terms(allowance=left))
    assert refused.value.excluded["large"].startswith(OVER_BUDGET)
    plenty = Allowance(left_microusd=10**9, budget="usd_per_day")
    decision = kept(terms=Terms(allowance=plenty))
    assert decision.reserved_microusd is not None
    assert 0 < decision.reserved_microusd <= 10**9


@pytest.mark.parametrize("changes", [{}, {"models": ("small", "medium")}, {"min_adequacy": 0.4}])
def test_what_would_have_been_decided_can_be_replayed(changes: dict[str, Any]) -> None:
    row = logged_row(ROUTER, ask(tools=(TOOL,)), terms=EXPLORING, incumbent="large", **changes)
    assert row["feedback"] == "observational"
    again = replay(row, ROUTER)
    assert again.is_identical, again.differences
    assert again.model == row["shadow"]["model"]
    row["shadow"]["distribution"]["small"] = 0.7
    assert not replay(row, ROUTER).is_identical


def test_a_row_without_a_choice_of_the_router_is_not_replayed() -> None:
    row = logged_row(ROUTER, ask(tools=(TOOL,)), incumbent="large", max_cost_usd=1e-12)
    assert row["shadow"]["model"] is None
    with pytest.raises(LogError, match="model"):
        replay(row, ROUTER)


def test_an_explanation_tells_of_both_models() -> None:
    row = logged_row(ROUTER, ask(tools=(TOOL,)), incumbent="large", models=("small", "medium"))
    told = ROUTER.explain(row)
    own = told["shadow"]["model"]
    assert (told["model"], told["policy"]) == ("large", "incumbent")
    assert told["would_change"][0]["model"] == own
    assert "adoption" in told["would_change"][0]["if"]
    assert set(told["contributions"]) == {"small", "medium"}
    assert told["rules"]
    msgspec.json.encode(told)
