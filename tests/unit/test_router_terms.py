"""What settings of the service and the tenant do to a decision."""

import msgspec
import numpy as np
import pytest
from routers import ask, router

from router_model import fallback
from router_model.contract import ABSTAIN, ABSTAINS, Certified
from router_model.errors import NoAdmissibleModelError
from router_model.outline import outline_of
from router_model.policy import ABSTAINED, CheapestAdequate
from router_model.reservation import reserved_microusd
from router_model.router import Router
from router_model.scoring import asking_of
from router_model.tenants import TenantOffset, TenantOffsets
from router_model.terms import Allowance, Exploration, QualityContract, Terms
from router_model.types import Caller, Decision, PolicyOverrides, Request

PROMISE = QualityContract(alpha=0.05, delta=0.1)
ACME = Certified(
    tenant="acme", alpha=0.05, delta=0.1, min_adequacy=0.6, n=900, n_downgraded=400, bound=0.04
)
NEAR = CheapestAdequate(near_tie=1e6)
EXPLORING = Terms(exploration=Exploration(share=0.4, floor=0.1))


def decide(
    asked: Router,
    request: Request | None = None,
    *,
    tenant: str = "acme",
    terms: Terms | None = None,
    decision_id: str = "d1",
    **overrides: object,
) -> Decision:
    return asked.decide(
        request or ask(),
        caller=Caller(tenant=tenant),
        overrides=PolicyOverrides(**overrides),  # type: ignore[arg-type] # each test names its own
        decision_id=decision_id,
        terms=terms or Terms(),
    )


def test_the_request_then_the_contract_then_the_setting_then_the_artifact_set_the_threshold() -> (
    None
):
    asked = router(policy=CheapestAdequate(min_adequacy=0.3), contracts=[ACME])
    everything = Terms(contract=PROMISE, min_adequacy=0.4)
    by_request = decide(asked, terms=everything, min_adequacy=0.0)
    assert (by_request.min_adequacy, by_request.contract) == (0.0, "request")
    by_contract = decide(asked, terms=everything)
    assert by_contract.min_adequacy == 0.6
    assert by_contract.contract == "contract(alpha=0.05,delta=0.1)"
    by_setting = decide(asked, terms=Terms(min_adequacy=0.4))
    assert (by_setting.min_adequacy, by_setting.contract) == (0.4, "setting")
    by_artifact = decide(asked)
    assert (by_artifact.min_adequacy, by_artifact.contract) == (0.3, "artifact")
    by_cost = decide(router())
    assert (by_cost.min_adequacy, by_cost.contract) == (None, None)


def test_a_contract_that_nothing_keeps_takes_the_highest_p_and_says_so() -> None:
    for contracts in ((), [msgspec.structs.replace(ACME, min_adequacy=None)]):
        found = decide(router(contracts=contracts), terms=Terms(contract=PROMISE))
        assert found.model == max(found.candidates, key=lambda c: c.p_adequate).model
        assert (found.contract, found.reason) == (ABSTAINS, ABSTAINED)
        assert found.min_adequacy == ABSTAIN
        assert found.propensity == 1.0


def test_a_tenants_pin_and_the_requests_models_must_both_allow_a_model() -> None:
    pinned = Terms(models=("small", "medium"))
    assert set(decide(router(), terms=pinned).distribution) == {"small", "medium"}
    both = decide(router(), terms=pinned, models=("medium", "large"))
    assert set(both.distribution) == {"medium"}
    with pytest.raises(NoAdmissibleModelError, match="not_allowed"):
        decide(router(), terms=pinned, models=("large",))


def test_a_tenant_explores_by_its_own_settings() -> None:
    asked = router(policy=NEAR)
    found = [decide(asked, terms=EXPLORING, decision_id=f"d{i}") for i in range(200)]
    assert all(each.exploration == EXPLORING.exploration for each in found)
    assert len({each.model for each in found}) == 3
    assert all(each.propensity == each.distribution[each.model] for each in found)
    assert decide(asked).exploration == Exploration(off="not_set")


def test_calls_that_are_tied_to_a_provider_are_not_explored() -> None:
    tied = decide(router(policy=NEAR), ask(has_provider_state=True), terms=EXPLORING)
    assert (tied.exploration.off, tied.propensity) == ("locked", 1.0)


def test_a_pin_to_one_model_leaves_nothing_to_explore() -> None:
    asked = router(policy=NEAR)
    for found in (
        decide(asked, terms=EXPLORING, models=("small",)),
        decide(asked, terms=msgspec.structs.replace(EXPLORING, models=("small",))),
    ):
        assert (found.exploration.off, found.propensity) == ("pinned", 1.0)


def test_a_budget_that_is_spent_switches_exploration_off() -> None:
    asked = router(policy=NEAR)
    spent = Exploration(share=0.4, floor=0.1, budget_left_usd=0.0)
    found = decide(asked, terms=Terms(exploration=spent))
    assert (found.exploration.off, found.propensity) == ("budget_spent", 1.0)
    assert found.expected_regret_usd == 0.0
    assert decide(asked, terms=EXPLORING).expected_regret_usd > 0.0


def test_the_fallback_never_explores() -> None:
    joint = router().predictor
    joint.adequacy = msgspec.structs.replace(joint.adequacy, beta=np.full(4, np.nan))
    found = decide(router(predictor=joint, policy=NEAR), terms=EXPLORING)
    assert found.policy == fallback.NAME
    assert found.exploration == Exploration(share=0.4, floor=0.1, off="fallback")
    assert decide(router(predictor=joint)).exploration.off == "not_set"


def test_a_tenants_offsets_move_its_log_odds_and_nobody_elses() -> None:
    acme = TenantOffset(level=-1.0, models={"large": 0.5})
    asked = router(offsets=TenantOffsets({"acme": acme}))
    plain = {c.model: c.p_adequate for c in decide(asked, tenant="other").candidates}
    assert plain == {c.model: c.p_adequate for c in decide(router()).candidates}
    for names in (("large", "small"), None):
        for candidate in decide(asked, models=names).candidates:
            p = plain[candidate.model]
            shift = -0.5 if candidate.model == "large" else -1.0
            expected = 1 / (1 + (1 - p) / p * np.exp(-shift))
            assert candidate.p_adequate == pytest.approx(expected, rel=1e-12)


def within(left_microusd: int) -> Terms:
    return Terms(allowance=Allowance(left_microusd=left_microusd, budget="tenant acme's day"))


def test_a_budget_reroutes_to_what_still_fits_and_then_says_that_nothing_does() -> None:
    asked = router()
    ample = decide(asked, terms=within(10**12))
    assert (ample.model, ample.excluded) == (decide(asked).model, {})
    assert decide(asked).reserved_microusd is None
    costs = sorted(reserved_by_model(asked).values())
    for n_fit, left in enumerate(costs, start=1):
        decision = decide(asked, terms=within(left))
        reasons = list(decision.excluded.values())
        assert len(reasons) == len(costs) - n_fit
        assert all("is left of tenant acme's day" in reason for reason in reasons)
        assert decision.reserved_microusd == reserved_by_model(asked)[decision.model] <= left
    with pytest.raises(NoAdmissibleModelError) as caught:
        decide(asked, terms=within(costs[0] - 1))
    assert all(reason.startswith("over_budget: ") for reason in caught.value.excluded.values())


def reserved_by_model(asked: Router) -> dict[str, int]:
    ample = decide(asked, terms=within(10**12))
    return {
        candidate.model: reserved_microusd(
            asked.catalog.models[candidate.model],
            candidate,
            asking=asking_of(outline_of(ask())),
            max_output_tokens=ask().max_output_tokens,
        )
        for candidate in ample.candidates
    }


def test_over_a_soft_cap_less_adequacy_is_enough_and_nothing_is_explored() -> None:
    asked = router(policy=NEAR, contracts=[ACME])
    capped = Terms(contract=PROMISE, exploration=EXPLORING.exploration, soft_cap_min_adequacy=0.2)
    decision = decide(asked, terms=capped)
    assert (decision.min_adequacy, decision.contract) == (0.2, "soft_cap")
    assert decision.exploration.off == "over_soft_cap"
    by_request = decide(asked, terms=capped, min_adequacy=0.99)
    assert (by_request.min_adequacy, by_request.contract) == (0.2, "soft_cap")
    laxer = decide(asked, terms=capped, min_adequacy=0.1)
    assert (laxer.min_adequacy, laxer.contract) == (0.1, "request")
    by_cost = decide(router(), terms=Terms(soft_cap_min_adequacy=0.2))
    assert by_cost.contract == "soft_cap"
