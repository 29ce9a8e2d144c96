"""The promise of a certificate holds in worlds with known truth, and certificates are found."""

import numpy as np
import pytest
from contract_worlds import flat_world, good_world, shown
from scipy.stats import binom

from router_training.contract import certify

pytestmark = pytest.mark.statistical
N_WORLDS = 1000
DELTA = 0.1
MOST = binom.ppf(0.999, N_WORLDS, DELTA) / N_WORLDS


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_a_risk_just_above_alpha_is_certified_at_most_as_often_as_delta(alpha: float) -> None:
    rng = np.random.default_rng(0)
    n_wrong = 0
    for _ in range(N_WORLDS):
        world = flat_world(rng, n=400, risk=alpha * 1.0001)
        found = certify(world.p, world.cost, world.adequate, alpha=alpha, delta=DELTA)
        n_wrong += found.min_adequacy is not None
    assert 0.2 * DELTA <= n_wrong / N_WORLDS <= MOST  # not so cautious that the bound is idle


def test_groups_of_equal_outcomes_do_not_break_the_promise() -> None:
    rng = np.random.default_rng(1)
    n_wrong, n_naive, alpha = 0, 0, 0.3
    for _ in range(N_WORLDS):
        world = flat_world(rng, n=600, risk=alpha * 1.0001, group_size=6)
        data = world.p, world.cost, world.adequate
        n_wrong += (
            certify(*data, alpha=alpha, delta=DELTA, groups=world.group).min_adequacy is not None
        )
        n_naive += certify(*data, alpha=alpha, delta=DELTA).min_adequacy is not None
    assert n_wrong / N_WORLDS <= MOST
    assert n_naive / N_WORLDS > MOST  # what happens when groups are ignored


@pytest.mark.parametrize(
    ("propensity", "group_size"),
    [((1 / 3, 1 / 3, 1 / 3), 1), ((0.1, 0.1, 0.8), 1), ((0.1, 0.1, 0.8), 3)],
    ids=["uniform", "epsilon-greedy", "epsilon-greedy in sessions"],
)
def test_partial_feedback_does_not_break_the_promise(
    propensity: tuple[float, ...], group_size: int
) -> None:
    rng = np.random.default_rng(2)
    n_wrong, alpha = 0, 0.2
    q = np.tile(propensity, (400, 1))
    for _ in range(N_WORLDS):
        world = flat_world(rng, n=400, risk=alpha * 1.0001, group_size=group_size)
        seen, action = shown(rng, world.adequate, q)
        found = certify(
            world.p,
            world.cost,
            seen,
            alpha=alpha,
            delta=DELTA,
            groups=world.group,
            propensity=q,
            action=action,
        )
        n_wrong += found.min_adequacy is not None
    assert n_wrong / N_WORLDS <= MOST


def test_a_good_predictor_with_enough_outcomes_saves_most_of_the_cost() -> None:
    rng = np.random.default_rng(3)
    n_found = 0
    for _ in range(100):
        world = good_world(rng, n=1500)
        found = certify(world.p, world.cost, world.adequate, alpha=0.05, delta=DELTA)
        n_found += found.min_adequacy is not None and found.n_downgraded > 0.55 * 1500
    assert n_found >= 95


@pytest.mark.parametrize(("floor", "n"), [(1 / 3, 3000), (0.1, 8000)])
def test_partial_feedback_certifies_too_when_there_is_more_of_it(floor: float, n: int) -> None:
    rng = np.random.default_rng(4)
    n_found = 0
    q = np.tile([floor, floor, 1 - 2 * floor], (n, 1))
    for _ in range(20):
        world = good_world(rng, n=n)
        seen, action = shown(rng, world.adequate, q)
        found = certify(
            world.p, world.cost, seen, alpha=0.1, delta=DELTA, propensity=q, action=action
        )
        n_found += found.min_adequacy is not None and found.n_downgraded > 0.5 * n
    assert n_found >= 18


def test_outcomes_that_are_missing_because_they_were_bad_certify_nothing() -> None:
    rng = np.random.default_rng(5)
    q = np.full((3000, 3), 1 / 3)
    world = flat_world(rng, n=3000, risk=0.5)
    seen, action = shown(rng, np.where(world.adequate > 0, 1.0, np.nan), q)
    found = certify(world.p, world.cost, seen, alpha=0.2, delta=DELTA, propensity=q, action=action)
    assert found.min_adequacy is None
