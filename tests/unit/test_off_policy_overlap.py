"""What a log can't tell is refused, with the exploration that would tell it."""

import numpy as np
import pytest
from logged_samples import logged_world, uniform_log

from router_data.logged import LoggedDecisions
from router_data.simulator import simulate
from router_training.bandit_sample import OverlapError
from router_training.off_policy import OffPolicyOptions, evaluate_policy
from router_training.off_policy_report import ADEQUATE, OffPolicyReport
from router_training.overlap import (
    OverlapLimits,
    decisions_needed,
    floor_needed,
    models_lacking,
    overlap_of,
)
from router_training.target_policies import (
    FixedPolicy,
    LoggedPolicy,
    MixturePolicy,
    RestrictedPolicy,
    TargetPolicy,
)

QUICK = OffPolicyOptions(n_resamples=100)
WORLD = simulate(3_000, n_models=4, seed=5)


def evaluated(policy: TargetPolicy, log: LoggedDecisions) -> OffPolicyReport:
    return evaluate_policy(log, policy, options=QUICK)


def test_overlap_by_hand() -> None:
    log = logged_world(simulate(4, n_models=2), np.tile([0.8, 0.2], (4, 1)))
    found = overlap_of(log, np.tile([0.0, 1.0], (4, 1)), np.array([5.0, 0.0, 5.0, 0.0]))
    assert found.effective_sample_size == 2.0
    assert found.unsupported == 0.0
    assert found.max_weight == 5.0
    assert found.tail_share == 0.5
    nothing = overlap_of(log, np.tile([0.0, 1.0], (4, 1)), np.zeros(4))
    assert (nothing.effective_sample_size, nothing.tail_share) == (0.0, 0.0)


def test_the_needed_exploration_by_hand() -> None:
    # 1.96^2 x 1/4 x 1 / (0.1 x 0.05^2)
    assert decisions_needed(0.1, share=1.0, half_width=0.05) == 3_842
    assert floor_needed(3_842, share=1.0, half_width=0.05) == pytest.approx(0.1, rel=1e-3)


def test_models_are_named_that_the_policy_takes_and_the_log_hardly_shows() -> None:
    log = logged_world(WORLD, np.tile([0.01, 0.0, 0.09, 0.9], (3_000, 1)))
    target = np.tile([0.3, 0.2, 0.1, 0.4], (3_000, 1))
    assert dict(models_lacking(log, target)) == pytest.approx({"model-00": 0.3, "model-01": 0.2})


def test_a_log_that_explored_nothing_can_only_tell_of_itself() -> None:
    certain = logged_world(WORLD, np.eye(4)[np.full(3_000, 3)])
    assert any("explored nothing" in note for note in evaluated(LoggedPolicy(), certain).notes)
    with pytest.raises(OverlapError) as caught:
        evaluated(FixedPolicy("model-00"), certain)
    message = str(caught.value)
    assert "100.0% of the policy's probability is on models that the log gave none" in message
    assert "explore model-00 (100% of decisions)" in message
    assert "0.05 over 48,019 decisions" in message
    assert OverlapError.code == "insufficient_overlap"


def test_a_handful_of_rows_is_refused_with_the_exploration_it_takes() -> None:
    rare = np.tile([0.003, 0.0, 0.0, 0.997], (3_000, 1))
    with pytest.raises(OverlapError, match=r"effective sample size: got \d+\.\d of 3000.*at least"):
        evaluated(FixedPolicy("model-00"), logged_world(WORLD, rare, seed=3))


def test_limits_can_be_set() -> None:
    half = np.tile([0.5, 0.0, 0.0, 0.5], (3_000, 1))
    log = logged_world(WORLD, half)
    policy = MixturePolicy(("model-00", "model-01"), 0.9)
    with pytest.raises(OverlapError, match=r"unsupported: 10.0%.*model-01 10.0%"):
        evaluate_policy(log, policy, options=QUICK)
    loose = OffPolicyOptions(n_resamples=50, limits=OverlapLimits(max_unsupported=0.2))
    found = evaluate_policy(log, policy, options=loose)
    assert found.headline_of(ADEQUATE).unsupported == pytest.approx(0.1)


def test_within_its_support_every_policy_can_be_evaluated() -> None:
    half = np.tile([0.5, 0.0, 0.0, 0.5], (3_000, 1))
    found = evaluated(RestrictedPolicy(FixedPolicy("model-01")), logged_world(WORLD, half))
    assert found.overlap.unsupported == 0.0
    assert found.outcomes[ADEQUATE].target["ips"].value == pytest.approx(
        found.outcomes[ADEQUATE].logging.value
    )


def test_a_short_log_that_lacks_no_model_needs_more_decisions() -> None:
    short = uniform_log(40)
    with pytest.raises(OverlapError, match="too short: more decisions like these"):
        evaluated(LoggedPolicy(), short)
