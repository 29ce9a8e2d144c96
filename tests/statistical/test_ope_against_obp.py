"""The estimators give what the Open Bandit Pipeline gives, on the same log.

The package is no dependency; it works with the pinned versions when installed without its own:
`pip install --no-deps obp==0.4.1 seaborn==0.13.2`.
"""

import warnings

import numpy as np
import pytest

from router_data.logging_policy import LoggingPolicy
from router_data.simulator import simulate
from router_training import ope
from router_training.intervals import Resampling
from router_training.ope import BanditSample

pytestmark = pytest.mark.statistical

_INSTALL = "pip install --no-deps obp==0.4.1 seaborn==0.13.2"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # raised inside obp's own imports
    obp = pytest.importorskip("obp.ope", reason=f"obp is not installed: {_INSTALL}")

N, M = 5_000, 5


def test_every_estimator_agrees_to_nine_digits() -> None:
    world = simulate(N, n_models=M, seed=3)
    logging = world.distribution(LoggingPolicy("biased", epsilon=0.2))
    rng = np.random.default_rng(4)
    action = (rng.random((N, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(max=M - 1)
    rows = np.arange(N)
    target = rng.dirichlet(np.ones(M), N)
    q = np.clip(world.p_adequate + rng.normal(0, 0.1, (N, M)), 0, 1)
    reward, propensity = world.adequate[rows, action], logging[rows, action]
    sample = BanditSample(
        reward=reward,
        propensity=propensity,
        target=target[rows, action],
        reward_model=q[rows, action],
        value_model=(target * q).sum(axis=1),
        reward_range=(0.0, 1.0),
    )
    for theirs, ours in (
        (obp.InverseProbabilityWeighting(), ope.ips(sample)),
        (
            obp.SelfNormalizedInverseProbabilityWeighting(),
            ope.snips(sample, resampling=Resampling(n_resamples=10)),
        ),
        (obp.DirectMethod(), ope.dm(sample)),
        (obp.DoublyRobust(), ope.dr(sample)),
        (obp.SwitchDoublyRobust(tau=1.5), ope.switch_dr(sample, threshold=1.5)),
        (obp.DoublyRobustWithShrinkage(lambda_=3.0), ope.dr_shrinkage(sample, shrinkage=3.0)),
    ):
        expected = theirs.estimate_policy_value(
            reward=reward,
            action=action,
            pscore=propensity,
            action_dist=target[:, :, None],
            estimated_rewards_by_reg_model=q[:, :, None],
        )
        assert ours.value == pytest.approx(expected, abs=1e-9), theirs.estimator_name
