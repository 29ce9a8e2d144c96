from routers import router

from router_model.types import Outcome, Usage
from router_serving.ledger.settlement import bill_of
from router_serving.ledger.types import Bill

CATALOG = router().catalog
MODEL = next(iter(CATALOG.models.values()))


def bill(outcome: Outcome) -> Bill | None:
    return bill_of(outcome, tenant="acme", catalog=CATALOG, unreserved=())


def test_the_reported_cost_counts_in_whole_micro_dollars_rounded_up() -> None:
    found = bill(Outcome(decision_id="d", model="anything", attempt=2, cost_usd=0.0000011))
    assert found is not None
    assert (found.amounts, found.attempt, found.is_final) == ({"microusd": 2}, 2, True)


def test_without_a_cost_the_usage_is_priced_by_the_catalog() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000)
    found = bill(Outcome(decision_id="d", model=MODEL.id, usage=usage))
    assert found is not None
    assert MODEL.price is not None
    expected = MODEL.price.input * 1_000_000 + MODEL.price.output * 1_000
    assert found.amounts == {"microusd": round(expected), "tokens": 1_001_000}


def test_a_failed_attempt_leaves_the_reservation_to_the_next_one_and_costs_what_it_says() -> None:
    failed = bill(Outcome(decision_id="d", model=MODEL.id, error="timeout"))
    assert failed is not None
    assert (failed.amounts, failed.is_final) == ({"microusd": 0, "tokens": 0}, False)
    partly = bill(Outcome(decision_id="d", model=MODEL.id, error="timeout", cost_usd=0.5))
    assert partly is not None
    assert partly.amounts["microusd"] == 500_000


def test_an_outcome_that_says_nothing_of_the_cost_is_no_bill() -> None:
    assert bill(Outcome(decision_id="d", model=MODEL.id, adequate=True)) is None
    unknown = Usage(input_tokens=10, output_tokens=10)
    assert bill(Outcome(decision_id="d", model="unheard of", usage=unknown)) is None


def test_an_absurd_cost_is_cut_to_what_a_store_can_hold() -> None:
    found = bill(Outcome(decision_id="d", model="m", cost_usd=1e300))
    assert found is not None
    assert found.amounts["microusd"] == 10**15
