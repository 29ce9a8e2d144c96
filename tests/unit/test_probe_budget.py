import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_data.probe.budget import Budget, BudgetExhaustedError

AMOUNTS = st.floats(min_value=0.0, max_value=2.0)


def test_a_reservation_counts_until_it_is_settled() -> None:
    budget = Budget(1.0)
    budget.reserve(0.75)
    with pytest.raises(BudgetExhaustedError, match=r"may cost \$0\.5000, of \$1\.00 .* \$0\.2500"):
        budget.reserve(0.5)
    budget.settle(0.75, spent=0.125)
    budget.reserve(0.5)
    assert budget.left_usd == 0.375


@given(st.lists(st.tuples(AMOUNTS, st.floats(min_value=0.0, max_value=1.0), st.booleans())))
def test_calls_that_cost_no_more_than_was_reserved_never_exceed_the_budget(
    calls: list[tuple[float, float, bool]],
) -> None:
    budget = Budget(3.0)
    open_calls: list[tuple[float, float]] = []
    for worst, share, ends_at_once in calls:
        try:
            budget.reserve(worst)
        except BudgetExhaustedError:
            continue
        open_calls.append((worst, worst * share))
        if ends_at_once:
            reserved, spent = open_calls.pop(0)
            budget.settle(reserved, spent=spent)
        assert budget.spent_usd + budget.reserved_usd <= 3.0 + 1e-9
    for reserved, spent in open_calls:
        budget.settle(reserved, spent=spent)
    assert budget.spent_usd <= 3.0 + 1e-9


def test_a_free_endpoint_needs_no_budget() -> None:
    Budget(0.0).reserve(0.0)
