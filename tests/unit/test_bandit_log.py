from pathlib import Path

import numpy as np
import pytest
from routers import router

from router_data.agents import simulate_agents
from router_data.bandit_log import log_with_policy
from router_data.dataset import load_rounds
from router_data.logging_policy import LoggingPolicy
from router_data.simulator import World, simulate
from router_data.store import Store
from router_data.traffic import request_indices
from router_model.errors import DatasetError
from router_model.features import SCHEMA

POLICY = LoggingPolicy("biased", epsilon=0.3, seed=2)


@pytest.mark.parametrize("world", [simulate(60, seed=1), simulate_agents(6, seed=1)])
def test_the_log_holds_the_draws_of_the_world_with_their_propensities(
    world: World, tmp_path: Path
) -> None:
    report = log_with_policy(world, tmp_path, policy=POLICY)
    chosen, probabilities = world.draw(POLICY)
    with Store(tmp_path) as store:
        rows = store.query("select * from decisions")
        assert store.query("select * from quarantine") == []
        n_outcomes = store.query("select count(*) as n from outcomes")[0]["n"]
    assert (report.n_decisions, report.n_outcomes) == (world.n_requests, n_outcomes)
    indices = request_indices(row["decision_id"] for row in rows).tolist()
    assert sorted(indices) == list(range(world.n_requests))
    for index, row in zip(indices, rows, strict=True):
        assert row["model"] == world.models[chosen[index]]
        assert row["propensity"] == probabilities[index, chosen[index]]
        assert (row["feedback"], row["policy"]) == ("bandit", "simulated:biased(0.3)")


def test_the_log_reads_back_as_rounds_with_the_worlds_features(tmp_path: Path) -> None:
    world = simulate_agents(8, seed=1)
    log_with_policy(world, tmp_path, policy=POLICY)
    rounds = load_rounds(tmp_path, feature_schema=world.feature_schema)
    assert rounds.n_contexts == world.n_requests
    indices = request_indices(rounds.decision_id)
    np.testing.assert_array_equal(rounds.features, world.features[indices])


def test_with_a_router_the_features_are_those_of_the_bodies(tmp_path: Path) -> None:
    world = simulate_agents(2, seed=1)
    log_with_policy(world, tmp_path, policy=POLICY, router=router())
    rounds = load_rounds(tmp_path)
    assert rounds.n_contexts == world.n_requests
    is_tool_result = rounds.features[:, SCHEMA.index("is_step_tool_result")] == 1.0
    expected = world.step_type[request_indices(rounds.decision_id)] == "tool_result"
    np.testing.assert_array_equal(is_tool_result, expected)


def test_a_policy_that_does_not_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="got full, expected one that draws"):
        log_with_policy(simulate(3), tmp_path, policy=LoggingPolicy())
