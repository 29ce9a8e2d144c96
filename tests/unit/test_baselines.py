"""Policies without a predictor, on a matrix small enough to check by eye."""

import numpy as np
import pytest
from matrices import matrix

from router_training.baselines import (
    always,
    best_model,
    best_model_within,
    cheapest_model,
    hull_score_at,
    oracle_cheapest_adequate,
    oracle_max_score,
    random_mix,
    random_uniform,
    static_hull,
)
from router_training.matrix import pick

SMALL = matrix(
    score=[[0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]],
    cost=[[1, 2, 10], [1, 2, 10], [1, 2, 10], [1, 2, 10]],
)


def test_best_and_cheapest_fixed_models() -> None:
    assert (best_model(SMALL), cheapest_model(SMALL)) == (2, 0)
    assert always(SMALL, 2).tolist() == [2, 2, 2, 2]


def test_of_equally_good_models_the_cheaper_is_best() -> None:
    assert best_model(matrix(score=[[1, 1]], cost=[[5, 2]])) == 1


def test_of_equally_cheap_models_the_better_is_cheapest() -> None:
    assert cheapest_model(matrix(score=[[0, 1]], cost=[[2, 2]])) == 1


def test_the_best_model_within_a_cost() -> None:
    assert best_model_within(SMALL, 2.0) == 1
    assert best_model_within(SMALL, 0.5) is None


def test_without_costs_the_best_model_is_still_known() -> None:
    unknown = matrix(score=[[0, 1], [0, 1]])
    assert best_model(unknown) == 1
    assert not unknown.has_cost


def test_the_hull_has_mixtures_of_two_and_stays_level_at_its_ends() -> None:
    hull = static_hull(SMALL)
    assert hull.models == ("m0", "m1", "m2")
    assert hull_score_at(SMALL, [1.0, 1.5, 2.0, 6.0, 10.0, 99.0, 0.1]).tolist() == pytest.approx(
        [0.25, 0.375, 0.5, 0.625, 0.75, 0.75, 0.25]
    )
    assert hull.cost_at(0.625) == pytest.approx(6.0)


def test_a_dominated_model_is_no_corner_of_the_hull() -> None:
    dominated = matrix(score=[[0, 0, 1], [1, 0, 1]], cost=[[1, 5, 9], [1, 5, 9]])
    assert static_hull(dominated).models == ("m0", "m2")


def test_random_policies_are_expectations_not_draws() -> None:
    score, cost = random_uniform(SMALL)
    assert score.tolist() == pytest.approx([2 / 3, 1 / 3, 1.0, 0.0])
    assert cost.tolist() == pytest.approx([13 / 3] * 4)
    score, cost = random_mix(SMALL, first=0, second=2, share=0.25)
    assert score.tolist() == pytest.approx([0.25, 0.25, 1.0, 0.0])
    assert cost.tolist() == pytest.approx([3.25] * 4)


def test_a_random_mix_lies_on_the_line_between_its_models() -> None:
    score, cost = random_mix(SMALL, first=1, second=2, share=0.5)
    assert score.mean() == pytest.approx(float(hull_score_at(SMALL, cost.mean())))


def test_the_cheapest_adequate_oracle_takes_the_cheapest_where_nothing_works() -> None:
    assert oracle_cheapest_adequate(SMALL).tolist() == [1, 2, 0, 0]


def test_the_highest_score_oracle_is_never_below_any_fixed_model() -> None:
    rng = np.random.default_rng(0)
    noise = matrix(score=rng.random((50, 4)), cost=rng.random((50, 4)))
    reached = pick(noise.score, oracle_max_score(noise)).mean()
    assert reached >= noise.score.mean(axis=0).max()


def test_an_oracle_profits_from_luck() -> None:
    """Models that are all coins: the oracle still looks good, which is why it is flagged."""
    rng = np.random.default_rng(1)
    coins = matrix(score=rng.integers(0, 2, (2000, 5)).astype(float), cost=np.ones((2000, 5)))
    assert pick(coins.score, oracle_max_score(coins)).mean() > 0.9
