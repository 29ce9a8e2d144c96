"""The policy on a matrix and its cost-quality curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import matrix

from router_training.baselines import static_hull
from router_training.curves import (
    GOALS,
    SWEEPS,
    Policy,
    SweepKind,
    apply,
    area,
    choose,
    choose_operating_point,
    cost_at_score,
    curve,
    least_total_cost,
    sweep,
    thresholds_for,
)
from router_training.matrix import OutcomeMatrix, pick

P = np.array([[0.5, 0.7, 0.9], [0.2, 0.3, 0.1]])
COST = np.array([[1.0, 2.0, 9.0], [1.0, 2.0, 9.0]])


def test_the_cheapest_adequate_model_is_chosen() -> None:
    assert choose(P, COST, tau=0.6, epsilon=0.0).tolist() == [1, 1]
    assert choose(P, COST, tau=0.5, epsilon=0.0).tolist() == [0, 1]


def test_where_nothing_is_adequate_the_highest_p_is_chosen() -> None:
    assert choose(P, COST, tau=0.95, epsilon=0.0).tolist() == [2, 1]


def test_a_tolerance_admits_cheaper_near_ties() -> None:
    assert choose(P, COST, tau=2.0, epsilon=0.2).tolist() == [1, 0]
    assert choose(P, COST, tau=2.0, epsilon=1.0).tolist() == [0, 0]


def test_of_equally_cheap_models_the_likelier_is_chosen() -> None:
    assert choose(np.array([[0.6, 0.8]]), np.ones((1, 2)), tau=0.5, epsilon=0.0).tolist() == [1]


def test_sweeps_run_from_the_highest_p_to_the_cheapest() -> None:
    eps = sweep(P, COST, kind="epsilon")
    assert eps.choices[:, 0].tolist() == [2, 1]
    assert eps.choices[:, -1].tolist() == [0, 0]
    for kind in ("tau", "failure_cost"):
        other = sweep(P, COST, kind=kind)
        assert other.choices[:, 0].tolist() == [0, 0]
        assert other.choices[:, -1].tolist() == [2, 1]


def test_thresholds_rise_and_hold_both_ends() -> None:
    for kind in SWEEPS:
        found = thresholds_for(P, COST, kind=kind)
        assert (np.diff(found) > 0).all()
        assert found[0] == 0.0
        assert found[-1] >= 1.0


def test_a_failure_is_worth_avoiding_when_it_costs_more_than_the_dearer_model() -> None:
    # from m0 to m2 on the first row: 8 more for .4 less risk, worth it above 20
    assert least_total_cost(P, COST, failure_cost=1.0).tolist() == [0, 0]
    assert least_total_cost(P, COST, failure_cost=30.0).tolist() == [1, 1]
    assert least_total_cost(P, COST, failure_cost=1e9).tolist() == [2, 1]


def test_a_curve_is_the_mean_of_what_was_chosen() -> None:
    actual = matrix(score=[[0, 1, 1], [1, 0, 0]], cost=[[1, 2, 10], [1, 2, 10]])
    swept = sweep(P, COST, kind="epsilon")
    points = curve(actual, swept)
    assert (points.costs[0], points.scores[0]) == (6.0, 0.5)
    assert (points.costs[-1], points.scores[-1]) == (1.0, 0.5)


def known_p(seed: int = 0, n: int = 500) -> tuple[OutcomeMatrix, np.ndarray]:
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    p = np.stack([1 - hard, np.clip(1.2 - hard * 0.4, 0, 1)], axis=1)
    score = (rng.random(p.shape) < p).astype(float)
    return matrix(score=score, cost=np.tile([1.0, 10.0], (n, 1))), p


def test_knowing_the_probabilities_beats_the_hull() -> None:
    actual, p = known_p()
    points = curve(actual, sweep(p, actual.cost, kind="epsilon"))
    hull = static_hull(actual)
    reached = area(points, low=1.0, high=10.0)
    assert reached > float(np.mean(hull.score_at(np.linspace(1, 10, 50)))) + 0.05


def test_knowing_nothing_gives_the_fixed_models() -> None:
    actual, p = known_p()
    points = curve(actual, sweep(np.full_like(p, 0.5), actual.cost, kind="epsilon"))
    assert set(points.costs) == {1.0}


def test_cost_at_score_mixes_two_points_and_knows_the_unreachable() -> None:
    costs, scores = np.array([1.0, 3.0]), np.array([0.4, 0.8])
    assert cost_at_score(costs, scores, score=0.6) == pytest.approx(2.0)
    assert np.isnan(cost_at_score(costs, scores, score=0.81))


def test_the_operating_point_saves_where_quality_allows_it() -> None:
    actual = matrix(score=[[1, 1]] * 5 + [[0, 1]] * 5, cost=[[1.0, 10.0]] * 10)
    p = np.array([[0.9, 0.95]] * 5 + [[0.1, 0.95]] * 5)
    policy = choose_operating_point(actual, p, actual.cost, goal="best_quality")
    choice = apply(policy, p, actual.cost)
    assert pick(actual.score, choice).mean() == 1.0
    assert pick(actual.cost, choice).mean() == 5.5


def test_an_unreachable_target_is_answered_with_the_highest_score() -> None:
    actual = matrix(score=[[1, 0], [1, 1]], cost=[[5.0, 1.0]] * 2)
    p = np.array([[0.2, 0.9], [0.2, 0.9]])  # always misjudges: only m1 can be chosen
    policy = choose_operating_point(actual, p, actual.cost, goal="best_quality")
    assert apply(policy, p, actual.cost).tolist() == [1, 1]


def test_without_costs_both_goals_ask_for_the_highest_score() -> None:
    actual = matrix(score=[[1, 0], [0, 1]])
    p = np.array([[0.9, 0.1], [0.2, 0.8]])
    for goal in GOALS:
        policy = choose_operating_point(actual, p, np.zeros((2, 2)), goal=goal)
        assert pick(actual.score, apply(policy, p, np.zeros((2, 2)))).mean() == 1.0


def test_the_point_above_the_hull_is_where_the_gap_is_largest() -> None:
    actual, p = known_p(1)
    policy = choose_operating_point(actual, p, actual.cost, goal="above_hull")
    hull = static_hull(actual)

    def gap(choice: np.ndarray) -> float:
        spent = pick(actual.cost, choice).mean()
        return float(pick(actual.score, choice).mean() - hull.score_at(spent))

    chosen = gap(apply(policy, p, actual.cost))
    for kind in SWEEPS:
        swept = sweep(p, actual.cost, kind=kind)
        assert all(
            gap(swept.choices[:, i]) <= chosen + 1e-12 for i in range(swept.choices.shape[1])
        )


unit = st.floats(0, 1, allow_subnormal=False)
tables = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.tuples(unit, unit, unit), min_size=n, max_size=n),
        st.lists(st.tuples(unit, unit, unit), min_size=n, max_size=n),
    )
)


@given(tables, unit, unit)
def test_a_stricter_threshold_never_chooses_a_cheaper_model(
    table: tuple[list[tuple[float, ...]], list[tuple[float, ...]]], first: float, second: float
) -> None:
    p, cost = (np.array(part) for part in table)
    low, high = sorted((first, second))
    strict: dict[SweepKind, tuple[float, float]] = {"tau": (low, high), "epsilon": (high, low)}
    for kind, (loose, tight) in strict.items():
        spent = [pick(cost, apply(Policy(kind=kind, threshold=t), p, cost)) for t in (loose, tight)]
        assert (spent[0] <= spent[1]).all()


@given(tables, unit)
def test_the_order_of_models_does_not_matter(
    table: tuple[list[tuple[float, ...]], list[tuple[float, ...]]], tau: float
) -> None:
    p, cost = (np.array(part) for part in table)
    forward = choose(p, cost, tau=tau, epsilon=0.0)
    backward = choose(p[:, ::-1], cost[:, ::-1], tau=tau, epsilon=0.0)
    assert pick(cost, forward).tolist() == pick(cost[:, ::-1], backward).tolist()
    assert pick(p, forward).tolist() == pick(p[:, ::-1], backward).tolist()
