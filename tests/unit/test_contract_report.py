"""What contracts cost, as the report says it."""

import numpy as np
import pytest
from contract_worlds import good_world
from matrices import matrix

from router_training.contract_report import contract_figures, violation_share
from router_training.evidence import Evidence
from router_training.intervals import Resampling
from router_training.params import TrainingParams
from router_training.threshold_plan import ThresholdPlan

PARAMS = TrainingParams(n_resamples=100, contract_alphas=(0.001, 0.05))


def test_figures_show_the_saving_and_the_promise() -> None:
    world = good_world(np.random.default_rng(0), n=2000)
    outcomes = matrix(score=world.adequate, cost=world.cost)
    strict, lax = contract_figures(outcomes, world.p, world.cost, params=PARAMS)
    assert (strict.min_adequacy, strict.certified, strict.downgraded) == (None, 0.0, 0.0)
    assert np.isnan(strict.inadequate)
    assert strict.cost == pytest.approx(10.0, abs=0.3)  # the highest p, nearly always the dearest
    assert strict.cost_share_of_highest_p == pytest.approx(1.0)
    assert lax.min_adequacy is not None
    assert lax.is_exact
    assert lax.certified > 0.95
    assert lax.downgraded == pytest.approx(0.6, abs=0.05)
    assert lax.inadequate < 0.05
    # 60% at a price of 1, the others at 10
    assert lax.cost == pytest.approx(4.6, abs=0.5)
    assert lax.cost_share_of_best == pytest.approx(0.46, abs=0.05)
    assert lax.score > lax.hull_score > lax.fixed_score
    assert lax.violations <= 0.1


def test_without_costs_there_are_no_figures() -> None:
    world = good_world(np.random.default_rng(0), n=50)
    assert contract_figures(matrix(score=world.adequate), world.p, world.cost, params=PARAMS) == ()


def test_violations_are_counted_against_the_data_that_is_resampled() -> None:
    # 30 of 100 are inadequate. A resample certifies alpha = 0.29 with delta = 0.5 when
    # P(Bin(100, 0.29) <= k) <= 0.5, which is k <= 28; k is Bin(100, 0.3): P = 0.377.
    loss = np.repeat([1.0, 0.0], [30, 70])[:, None]
    one = np.ones((100, 1))
    evidence = Evidence(loss=loss, weight=one, further=0 * one, largest=1.0, is_exact=True, n=100)
    plan = ThresholdPlan(thresholds=np.array([0.5]), shares=np.ones(1))
    resampling = Resampling(n_resamples=4000, seed=0)

    def share(alpha: float) -> float:
        return violation_share(evidence, plan, alpha=alpha, delta=0.5, resampling=resampling)

    assert share(0.29) == pytest.approx(0.377, abs=0.03)
    assert share(0.3) == 0.0  # not more than alpha: nothing is broken
