"""Training on one outcome a request, against worlds in which P(adequate) is known."""

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from router_data.logging_policy import LoggingPolicy, PolicyName
from router_data.rounds import Rounds
from router_data.simulator import simulate
from router_training.baselines import static_hull
from router_training.curves import curve, sweep
from router_training.fit import fit_predictor
from router_training.matrix import OutcomeMatrix, matrix_of
from router_training.params import TrainingParams

pytestmark = pytest.mark.statistical

PARAMS = TrainingParams(n_estimators=100, ridges=(100.0, 1000.0), n_skills=2, num_leaves=15)
LATER = simulate(5_000, seed=200)


@cache
def true_matrix() -> OutcomeMatrix:
    """Later requests, scored by true probabilities: no luck of the draw in what is measured."""
    matrix, _ = matrix_of(LATER.rounds())
    columns = [LATER.models.index(model) for model in matrix.models]
    return msgspec.structs.replace(matrix, score=LATER.p_adequate[:, columns])


@cache
def gain(policy: PolicyName, n_requests: int) -> float:
    """Area between the curve of a router trained on such a log and the static hull."""
    log = simulate(n_requests, seed=1).rounds(LoggingPolicy(policy, seed=3))
    fit = fit_predictor(log, params=PARAMS)
    matrix, asked = true_matrix(), LATER.rounds()
    p = fit.predict(asked.features, asked.embedding, matrix.models).p_adequate
    cost = np.broadcast_to(matrix.cost.mean(axis=0), p.shape)
    points = curve(matrix, sweep(p, cost, kind="failure_cost"))
    costs, scores = np.array(points.costs), np.array(points.scores)
    order = np.argsort(costs, kind="stable")
    above = scores[order] - static_hull(matrix).score_at(costs[order])
    return float(np.trapezoid(above, costs[order]) / np.ptp(cost[0]))


@pytest.mark.parametrize(
    ("policy", "n_requests"), [("uniform", 10_000), ("biased", 10_000), ("epsilon-greedy", 20_000)]
)
def test_a_log_of_one_outcome_a_request_keeps_most_of_the_gain(
    policy: PolicyName, n_requests: int
) -> None:
    # Full feedback sees 20,000 outcomes of 4,000 requests.
    assert gain("full", 4_000) > 0.02
    assert gain(policy, n_requests) >= 0.9 * gain("full", 4_000)


def test_few_outcomes_keep_less() -> None:
    assert gain("uniform", 300) < 0.9 * gain("full", 4_000)


@cache
def confounded_log() -> Rounds:
    """A log whose policy knew which requests need tools, and whose features do not say it."""
    log = simulate(12_000, seed=1).rounds(LoggingPolicy("biased", epsilon=0.2, seed=3))
    return replace(log, features=log.features * np.array([1, 0, 1, 1], dtype=np.float32))


@cache
def level_errors(weighting: str, power: float) -> float:
    """Mean distance of each model's predicted and true mean probability."""
    params = msgspec.structs.replace(PARAMS, weighting=weighting, propensity_power=power)
    asked = LATER.rounds()
    blind = asked.features * np.array([1, 0, 1, 1], dtype=np.float32)
    fit = fit_predictor(confounded_log(), params=params)
    p = fit.predict(blind, asked.embedding, LATER.models).p_adequate
    return float(np.abs(p.mean(axis=0) - LATER.p_adequate.mean(axis=0)).mean())


def test_inverse_propensities_repair_a_log_whose_choices_knew_more_than_the_features() -> None:
    assert level_errors("none", 1.0) > 0.02
    assert level_errors("ipw", 1.0) < 0.5 * level_errors("none", 1.0)


def test_half_the_power_repairs_a_part() -> None:
    none, half, whole = (level_errors(*way) for way in (("none", 1.0), ("ipw", 0.5), ("ipw", 1.0)))
    assert whole < half < none
