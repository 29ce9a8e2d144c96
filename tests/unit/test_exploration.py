import pytest

from router_model.exploration import explore, microusd
from router_model.terms import Exploration

SHARE = Exploration(share=0.1, floor=0.02)


def test_a_decision_that_would_cost_more_than_is_left_is_not_explored() -> None:
    # 0.1 x (1.5 - 1.0)
    enough = explore(
        [1.0, 1.5],
        exploration=Exploration(share=0.1, budget_left_usd=0.05),
        near_tie=2.0,
        n_most=2,
    )
    assert enough.regret_usd == pytest.approx(0.05)
    assert enough.exploration.off is None
    short = explore(
        [1.0, 1.5],
        exploration=Exploration(share=0.1, budget_left_usd=0.049999),
        near_tie=2.0,
        n_most=2,
    )
    assert (short.probabilities, short.regret_usd) == ((), 0.0)
    assert short.exploration == Exploration(share=0.1, budget_left_usd=0.049999, off="budget_spent")


def test_what_was_switched_off_before_stays_off_and_keeps_its_reason() -> None:
    locked = Exploration(share=0.1, off="locked")
    assert explore([1.0, 1.0], exploration=locked, near_tie=2.0, n_most=2).exploration is locked


@pytest.mark.parametrize("costs", [[], [1.0], [1.0, 1.6, 1.7]])
def test_without_a_near_tie_there_is_nothing_to_explore(costs: list[float]) -> None:
    found = explore(costs, exploration=SHARE, near_tie=1.5, n_most=3)
    assert found.exploration.off == "no_near_tie"
    assert explore([1.0, 1.0], exploration=SHARE, near_tie=1.5, n_most=0).probabilities == ()


def test_no_share_is_not_set() -> None:
    found = explore([1.0, 1.0], exploration=Exploration(), near_tie=1.5, n_most=3)
    assert found.exploration.off == "not_set"


def test_models_that_cost_nothing_share_evenly() -> None:
    found = explore([0.0, 0.0, 0.0, 1.0], exploration=SHARE, near_tie=1.5, n_most=3)
    assert found.probabilities == pytest.approx([0.05, 0.05])
    assert found.regret_usd == 0.0


def test_tiny_costs_are_no_trouble() -> None:
    found = explore([5e-324, 5e-324, 5e-324], exploration=SHARE, near_tie=1.5, n_most=3)
    assert found.probabilities == pytest.approx([0.05, 0.05])


def test_the_floor_bounds_how_many_are_explored() -> None:
    costs = [1.0, 1.0, 1.0, 1.0, 1.0]
    for share, floor, n in ((0.3, 0.1, 3), (0.3, 0.11, 2), (0.1, 0.1, 1)):
        exploration = Exploration(share=share, floor=floor)
        found = explore(costs, exploration=exploration, near_tie=1.5, n_most=9)
        assert found.probabilities == pytest.approx([share / n] * n)


def test_whole_micro_dollars_are_rounded_up() -> None:
    assert [microusd(usd) for usd in (0.0, 1e-6, 1.1e-6, 0.1 + 0.2)] == [0, 1, 2, 300_000]
