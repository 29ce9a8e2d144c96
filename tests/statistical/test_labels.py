"""Estimates are right although what is known of a call depends on how it went."""

from pathlib import Path

import numpy as np
import pytest

from router_data.agents import simulate_agents
from router_data.bandit_log import log_with_policy
from router_data.logged import load_logged
from router_data.logging_policy import LoggingPolicy
from router_data.traffic import request_indices
from router_training.off_policy import evaluate_policy
from router_training.off_policy_report import ADEQUATE
from router_training.target_policies import FixedPolicy

pytestmark = pytest.mark.statistical


def test_verdicts_weighted_by_signals_give_the_truth_where_labels_as_they_are_do_not(
    tmp_path: Path,
) -> None:
    scores, naive_errors = [], []
    for seed in range(4):
        world = simulate_agents(400, n_tenants=2, seed=seed, reports="partial")
        log_with_policy(world, tmp_path / str(seed), policy=LoggingPolicy("uniform", seed=seed))
        logged = load_logged(tmp_path / str(seed), feature_schema=world.feature_schema)
        rows = request_indices(logged.decision_id)
        for index in (0, len(world.models) // 2, len(world.models) - 1):
            model = world.models[index]
            truth = world.p_adequate[rows, index].mean()
            found = evaluate_policy(logged, FixedPolicy(model)).outcomes[ADEQUATE].target["dr"]
            scores.append((found.value - truth) / found.standard_error)
            is_drawn = logged.action == logged.models.index(model)
            naive_errors.append(np.nanmean(logged.adequate[is_drawn]) - truth)
    assert np.mean(naive_errors) < -0.05
    assert abs(np.mean(scores)) < 2.5 / np.sqrt(len(scores)) + 0.3
    assert np.abs(scores).max() < 4.0
    assert np.mean(np.abs(scores) < 1.96) >= 0.75
