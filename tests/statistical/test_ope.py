"""Intervals and biases of the off-policy estimators on simulated logs whose truth is known.

Each log draws sessions of a large world with replacement, then actions and outcomes, so that the
truth is the value of the policy on the whole world.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from router_data.logging_policy import LoggingPolicy
from router_data.simulator import simulate
from router_training import ope
from router_training.intervals import Resampling
from router_training.missingness import observation_weights
from router_training.ope import ESTIMATORS, BanditSample, Estimate

pytestmark = pytest.mark.statistical

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

M = 4
WORLD = simulate(40_000, n_models=M, seed=11)
LOGGING = WORLD.distribution(LoggingPolicy("biased", epsilon=0.4))
# The policy under evaluation: by difficulty, so that it needs the context, half of it greedy.
_EDGES = np.digitize(WORLD.features[:, 0], [-1.0, 0.0, 1.0])
TARGET = 0.1 + 0.6 * np.eye(M)[_EDGES]
TRUTH = WORLD.policy_value(TARGET)
_FIRST = np.unique(WORLD.session, return_index=True)[1]
_SIZE = np.diff(np.append(np.sort(_FIRST), WORLD.n_requests))
_STARTS = np.sort(_FIRST)
PLAIN = Resampling(n_resamples=0)


def drawn_rows(rng: np.random.Generator, n_sessions: int) -> tuple[Ints, Ints]:
    """Rows of the world and the number of each one's draw of a session."""
    chosen = rng.integers(0, len(_STARTS), n_sessions)
    sizes = _SIZE[chosen]
    group = np.repeat(np.arange(n_sessions), sizes)
    within = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return _STARTS[chosen][group] + within, group


def logs(
    n_logs: int,
    *,
    n_sessions: int = 250,
    seed: int = 0,
    reward_model: Floats = WORLD.p_adequate,
    believed: Floats = LOGGING,
    shared: float = 0.0,
) -> Iterator[BanditSample]:
    """Logs with a reward model and the propensities that the log claims.

    `shared` is the correlation of a session's outcomes beyond what their p explains.
    """
    rng = np.random.default_rng(seed)
    for _ in range(n_logs):
        rows, group = drawn_rows(rng, n_sessions)
        edges = LOGGING[rows].cumsum(axis=1)
        action = (rng.random((len(rows), 1)) > edges).sum(axis=1).clip(max=M - 1)
        common = rng.normal(size=n_sessions)[group]
        noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=len(rows))
        yield BanditSample(
            reward=(ndtr(noise) < WORLD.p_adequate[rows, action]).astype(np.float64),
            propensity=believed[rows, action],
            target=TARGET[rows, action],
            reward_model=reward_model[rows, action],
            value_model=(TARGET[rows] * reward_model[rows]).sum(axis=1),
            groups=group,
            reward_range=(0.0, 1.0),
            max_weight=float((TARGET / LOGGING).max()),
        )


def covered(found: list[Estimate], truth: float = TRUTH) -> float:
    return float(np.mean([e.low <= truth <= e.high for e in found]))


def bias(found: list[Estimate]) -> tuple[float, float]:
    """Mean error over the logs, and its standard error."""
    errors = np.array([e.value - TRUTH for e in found])
    return float(errors.mean()), float(errors.std(ddof=1) / np.sqrt(len(errors)))


def estimated(name: str, sample: BanditSample) -> Estimate:
    function = ESTIMATORS[name].function
    return ope.snips(sample, resampling=PLAIN) if name == "snips" else function(sample)


@pytest.mark.parametrize("name", [name for name, e in ESTIMATORS.items() if e.is_consistent])
def test_intervals_of_consistent_estimators_cover_the_truth(name: str) -> None:
    found = [estimated(name, sample) for sample in logs(1_500, seed=1)]
    assert 0.935 <= covered(found) <= 0.965
    error, noise = bias(found)
    assert abs(error) < 4 * noise
    # The standard error is the spread that the estimates really have.
    spread = float(np.std([e.value for e in found], ddof=1))
    assert np.mean([e.standard_error for e in found]) == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_correlated_sessions_are_covered_and_would_not_be_row_by_row(name: str) -> None:
    found, apart = [], []
    for sample in logs(1_000, seed=2, shared=0.8):
        found.append(estimated(name, sample))
        apart.append(estimated(name, replace(sample, groups=None)))
    assert 0.93 <= covered(found) <= 0.97
    assert covered(apart) < covered(found) - 0.02


@pytest.mark.parametrize("name", ["ips", "clipped_ips", "dr", "switch_dr", "dr_shrinkage"])
def test_bernstein_intervals_cover_at_least_as_often_as_they_say(name: str) -> None:
    found = [estimated(name, sample) for sample in logs(400, n_sessions=60, seed=3, shared=0.5)]
    assert np.mean([e.robust_low <= TRUTH <= e.robust_high for e in found]) >= 0.95


def test_bootstrap_intervals_of_snips_cover_on_small_logs() -> None:
    found = [
        ope.snips(sample, resampling=Resampling(n_resamples=400, seed=i))
        for i, sample in enumerate(logs(600, n_sessions=80, seed=4, shared=0.3))
    ]
    assert 0.93 <= np.mean([e.robust_low <= TRUTH <= e.robust_high for e in found]) <= 0.97


def test_dr_survives_a_wrong_reward_model_and_dm_does_not() -> None:
    wrong = np.clip(1.1 - WORLD.p_adequate, 0.0, 1.0)
    samples = list(logs(1_000, seed=5, reward_model=wrong))
    error, noise = bias([ope.dr(sample) for sample in samples])
    assert abs(error) < 4 * noise
    error, noise = bias([ope.dm(sample) for sample in samples])
    assert abs(error) > 20 * noise


def test_dr_survives_wrong_propensities_and_ips_does_not() -> None:
    wrong = np.sqrt(LOGGING)
    wrong /= wrong.sum(axis=1, keepdims=True)
    samples = list(logs(1_000, seed=6, believed=wrong))
    error, noise = bias([ope.dr(sample) for sample in samples])
    assert abs(error) < 4 * noise
    error, noise = bias([ope.ips(sample) for sample in samples])
    assert abs(error) > 20 * noise


def test_a_good_reward_model_makes_dr_surer_than_ips() -> None:
    samples = list(logs(300, seed=7))
    errors = {
        name: np.mean([estimated(name, sample).standard_error for sample in samples])
        for name in ("ips", "snips", "dr")
    }
    assert errors["dr"] < errors["snips"] < errors["ips"]


def test_chosen_parameters_keep_the_bias_within_the_bound_and_lower_the_error() -> None:
    samples = list(logs(600, n_sessions=40, seed=8))
    exact = [ope.ips(sample) for sample in samples]
    clipped = [ope.clipped_ips(sample) for sample in samples]

    def squared(found: list[Estimate]) -> float:
        return float(np.mean([(e.value - TRUTH) ** 2 for e in found]))

    assert squared(clipped) <= squared(exact) * 1.02
    error, noise = bias(clipped)
    assert abs(error) <= np.mean([e.bias_bound for e in clipped]) + 4 * noise


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_outcomes_missing_at_random_are_made_up_for(name: str) -> None:
    """The easier the request, the likelier its outcome is reported: plain means are too high."""
    rng = np.random.default_rng(9)
    # A constant reward model, so that the weights have to do the work.
    constant = np.full_like(WORLD.p_adequate, 0.5)
    found, naive = [], []
    for i in range(300):
        rows, group = drawn_rows(rng, 300)
        edges = LOGGING[rows].cumsum(axis=1)
        action = (rng.random((len(rows), 1)) > edges).sum(axis=1).clip(max=M - 1)
        features = WORLD.features[rows]
        seen = rng.random(len(rows)) < expit(0.7 - features[:, 0] + 0.3 * (action == 0))
        reward = (rng.random(len(rows)) < WORLD.p_adequate[rows, action]).astype(np.float64)
        sample = BanditSample(
            reward=np.where(seen, reward, np.nan),
            propensity=LOGGING[rows, action],
            target=TARGET[rows, action],
            reward_model=constant[rows, action],
            value_model=np.full(len(rows), 0.5),
            groups=group,
            observation=observation_weights(features, action, seen, group, i),
            reward_range=(0.0, 1.0),
        )
        found.append(estimated(name, sample))
        only_seen = replace(sample, observation=seen.astype(np.float64))
        naive.append(ope.snips(only_seen, resampling=PLAIN))
    error, _ = bias(found)
    assert abs(error) < 0.01
    assert 0.92 <= covered(found) <= 0.985
    assert bias(naive)[0] > 0.03
