"""Off-policy evaluation as a whole covers the truth, with its reward model and missing outcomes."""

import numpy as np
import pytest
from logged_samples import logged_world, without_outcomes
from numpy.typing import NDArray
from scipy.special import expit

from router_data.simulator import TASKS, World, simulate
from router_training.off_policy import OffPolicyOptions, paired_difference
from router_training.off_policy_report import ADEQUATE, COST, UTILITY
from router_training.off_policy_values import LogValues
from router_training.ope import Estimate, dr, ips

pytestmark = pytest.mark.statistical

Floats = NDArray[np.float64]
M, N, N_LOGS = 4, 1_500, 400
OPTIONS = OffPolicyOptions(failure_cost_usd=0.05)
# The evaluated policy takes one model for each task, and another one when the session is long.
_MODEL = {"edit": 1, "search": 0, "explain": 2, "tools": 0}


def target_of(world: World) -> Floats:
    column = np.array([_MODEL[task] for task in world.task])
    column = np.where(world.features[:, 2] > 3, 3, column)
    return np.asarray(np.eye(M)[column])


def logging_of(world: World) -> Floats:
    """Greedy by task with exploration; the same function of the request in every world."""
    greedy = np.array([3 if task != TASKS[3] else 1 for task in world.task])
    return np.asarray(0.7 * np.eye(M)[greedy] + 0.3 / M)


def truths() -> dict[str, tuple[float, float]]:
    """Value of the policy, and of the policy minus the log, on a very large world."""
    world = simulate(400_000, n_models=M, seed=99)
    target, logging = target_of(world), logging_of(world)

    def values(distribution: Floats) -> dict[str, float]:
        adequate = world.policy_value(distribution)
        cost = float((distribution * world.cost_usd).sum(axis=1).mean())
        return {ADEQUATE: adequate, COST: cost, UTILITY: -(cost + (1 - adequate) * 0.05)}

    of_target, of_log = values(target), values(logging)
    return {name: (of_target[name], of_target[name] - of_log[name]) for name in of_target}


@pytest.mark.parametrize("is_missing", [False, True], ids=["complete", "missing"])
def test_headline_and_difference_cover_the_truth(is_missing: bool) -> None:
    truth = truths()
    hits: dict[str, list[bool]] = {name: [] for name in truth}
    paired: dict[str, list[bool]] = {name: [] for name in truth}
    errors: list[tuple[float, float]] = []
    for seed in range(N_LOGS):
        world = simulate(N, n_models=M, seed=1_000 + seed)
        logged = logged_world(world, logging_of(world), seed=seed)
        if is_missing:
            rng = np.random.default_rng(seed)
            p_reported = expit(1.0 - 0.7 * world.features[:, 0])
            logged = without_outcomes(logged, rng.random(N) > p_reported)
        values = LogValues(logged, OPTIONS.terms)
        target = target_of(world)
        for name, outcome in values.outcomes.items():
            estimate = dr(outcome.sample(target))
            hits[name].append(covers(estimate, truth[name][0]))
            paired[name].append(covers(paired_difference(outcome, target), truth[name][1]))
        sample = values.outcomes[ADEQUATE].sample(target)
        errors.append((dr(sample).standard_error, ips(sample).standard_error))
    for name in truth:
        assert 0.92 <= np.mean(hits[name]) <= 0.98, name
        assert 0.92 <= np.mean(paired[name]) <= 0.98, name
    assert np.mean([of_dr < of_ips for of_dr, of_ips in errors]) > 0.95


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high
