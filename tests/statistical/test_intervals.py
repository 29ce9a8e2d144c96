"""Intervals cover the truth about as often as they say, on simulated matrices."""

import numpy as np
import pytest
from matrices import matrix
from synthetic_rounds import fit_binned_means, synthetic_rounds

from router_training.baselines import static_hull
from router_training.estimates import calibration_loss, minus_hull
from router_training.evaluate import evaluate_rounds
from router_training.intervals import Method, Resampling, mean_interval
from router_training.matrix import OutcomeMatrix
from router_training.params import TrainingParams

pytestmark = pytest.mark.statistical
N_RUNS = 300


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_interval_of_a_mean_covers_it(method: Method) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(N_RUNS):
        found = mean_interval(
            (rng.random(200) < 0.8).astype(float),
            np.arange(200),
            resampling=Resampling(method=method, seed=int(rng.integers(1 << 30))),
        )
        covered += found.low <= 0.8 <= found.high
    assert 0.92 <= covered / N_RUNS <= 0.98


def test_resampling_contexts_instead_of_groups_would_cover_too_seldom() -> None:
    """Ten copies of a group effect: whole groups cover, single contexts do not."""
    rng = np.random.default_rng(1)
    grouped = single = 0
    for _ in range(N_RUNS):
        values = (rng.normal(size=60)[:, None] + 0.3 * rng.normal(size=(60, 10))).ravel()
        options = Resampling(n_resamples=400, seed=int(rng.integers(1 << 30)))
        whole = mean_interval(values, np.repeat(np.arange(60), 10), resampling=options)
        apart = mean_interval(values, np.arange(600), resampling=options)
        grouped += whole.low <= 0 <= whole.high
        single += apart.low <= 0 <= apart.high
    assert 0.91 <= grouped / N_RUNS <= 0.98
    assert single / N_RUNS < 0.75


def simulated(rng: np.random.Generator, n: int = 400) -> tuple[OutcomeMatrix, np.ndarray]:
    """Three models; a router that knows whether a request is hard."""
    is_hard = rng.random(n) < 0.5
    p = np.where(is_hard[:, None], [0.2, 0.5, 0.9], [0.9, 0.85, 0.95])
    cost = np.tile([1.0, 3.0, 10.0], (n, 1)) * rng.uniform(0.8, 1.2, (n, 3))
    score = (rng.random(p.shape) < p).astype(float)
    return matrix(score=score, cost=cost), np.where(is_hard, 2, 0)


def test_the_difference_from_the_hull_is_covered() -> None:
    # truth: models at (1, .55), (3, .675), (10, .925), the router at (5.5, .9);
    # the hull between the last two has .675 + 2.5 / 7 * .25 there
    truth = 0.9 - (0.675 + 2.5 / 7 * 0.25)
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(N_RUNS):
        actual, choice = simulated(rng)
        options = Resampling(n_resamples=400, seed=int(rng.integers(1 << 30)))
        found = minus_hull(actual, choice, resampling=options)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / N_RUNS <= 0.98


def test_the_true_hull_is_what_the_simulation_says() -> None:
    actual, _ = simulated(np.random.default_rng(3), n=200_000)
    hull = static_hull(actual)
    assert hull.scores == pytest.approx((0.55, 0.675, 0.925), abs=0.01)


def test_the_calibration_loss_of_a_calibrated_predictor_is_what_noise_alone_gives() -> None:
    rng = np.random.default_rng(4)
    for _ in range(100):
        p = rng.random(3000)
        y = (rng.random(3000) < p).astype(float)
        options = Resampling(n_resamples=200, seed=int(rng.integers(1 << 30)))
        found = calibration_loss(y, p, np.arange(3000).astype(str), resampling=options)
        assert found.estimate < np.sqrt(15 / 3000)
        assert found.low <= found.estimate <= found.high


def test_a_router_that_knows_nothing_is_seldom_found_above_the_hull() -> None:
    """One interval in forty may lie above zero by chance; with AIQ it is one in eight or more."""
    params = TrainingParams(n_resamples=200, n_folds=3, n_inner_folds=2)
    n_points = n_areas = 0
    for seed in range(40):
        rounds = synthetic_rounds(600, seed=seed)
        rounds.features[:, 0] = np.random.default_rng(1000 + seed).random(600)
        found = evaluate_rounds(rounds, name="null", params=params, fit=fit_binned_means)
        n_points += found.router_above_hull.minus_hull.low > 0
        n_areas += sum(points.area_above_hull.low > 0 for points in found.curves)
    assert n_points <= 4
    assert n_areas <= 8
