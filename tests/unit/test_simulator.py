from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from log_samples import HashEncoder

from router_data.dataset import rounds_from_tables
from router_data.logging_policy import LoggingPolicy, PolicyName
from router_data.simulator import World, simulate
from router_model.errors import DatasetError

DRAWN: list[PolicyName] = ["uniform", "epsilon-greedy", "biased"]


def test_the_same_seed_gives_the_same_world() -> None:
    first, second, other = simulate(50, seed=1), simulate(50, seed=1), simulate(50, seed=2)
    for field in fields(World):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
    assert (first.p_adequate != other.p_adequate).any()
    assert first.rounds().snapshot_hash == second.rounds().snapshot_hash


def test_dearer_models_are_better_on_average_and_no_model_is_best_everywhere() -> None:
    world = simulate(2000, n_models=5, seed=0)
    assert (np.diff(world.cost_usd.mean(axis=0)) > 0).all()
    plain = world.p_adequate[world.task != "tools"]
    assert (np.diff(plain.mean(axis=0)) > 0).all()
    assert len(set(world.p_adequate.argmax(axis=1).tolist())) > 1


def test_outcomes_come_as_often_as_their_probability_says() -> None:
    world = simulate(4000, n_models=4, seed=7)
    for low in np.arange(0.0, 1.0, 0.2):
        cells = (world.p_adequate >= low) & (world.p_adequate < low + 0.2)
        expected = world.p_adequate[cells].mean()
        error = np.sqrt(expected * (1 - expected) / cells.sum())
        assert abs(world.adequate[cells].mean() - expected) < 4 * error


def test_turns_of_a_session_follow_each_other_in_time() -> None:
    world = simulate(300)
    for session in set(world.session.tolist()):
        times = world.ts_ms[world.session == session]
        assert (np.diff(times) > 0).all()
    assert len(set(world.session.tolist())) < 150


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_log_has_one_row_per_request_with_the_true_propensity(name: PolicyName) -> None:
    world = simulate(400, n_models=3)
    policy = LoggingPolicy(name, epsilon=0.3, seed=1)
    rounds = world.rounds(policy)
    assert (rounds.n_contexts, rounds.n_rows) == (400, 400)
    probabilities = world.distribution(policy)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    chosen = [world.models.index(model) for model in rounds.model]
    np.testing.assert_allclose(rounds.propensity, probabilities[np.arange(400), chosen])


@pytest.mark.parametrize("name", DRAWN)
def test_inverse_propensities_recover_the_true_value_of_a_policy(name: PolicyName) -> None:
    world = simulate(20_000, n_models=3, seed=3)
    rounds = world.rounds(LoggingPolicy(name, epsilon=0.5, seed=2))
    target = world.distribution(LoggingPolicy("biased", epsilon=0.2))
    chosen = np.array([world.models.index(model) for model in rounds.model])
    weights = target[np.arange(20_000), chosen] / rounds.propensity
    terms = weights * rounds.reward
    error = terms.std() / np.sqrt(len(terms))
    assert abs(terms.mean() - world.policy_value(target)) < 4 * error


def test_a_full_log_holds_the_whole_matrix() -> None:
    world = simulate(30, n_models=4)
    rounds = world.rounds()
    np.testing.assert_array_equal(rounds.matrix("reward", world.models), world.adequate)
    np.testing.assert_array_equal(rounds.matrix("cost_usd", world.models), world.cost_usd)


def test_written_tables_hold_the_same_outcomes_groups_and_times(tmp_path: Path) -> None:
    world = simulate(30, n_models=4)
    world.write_tables(tmp_path)
    rounds = rounds_from_tables(tmp_path, encoder=HashEncoder(), progress=False)
    order = np.argsort(rounds.ts_ms, kind="stable")
    expected = np.argsort(world.ts_ms, kind="stable")
    assert rounds.skipped == {}
    np.testing.assert_array_equal(rounds.ts_ms[order], world.ts_ms[expected])
    assert sorted(rounds.group.tolist()) == sorted(world.session.tolist())
    found = np.sort(rounds.matrix("cost_usd", world.models), axis=0)
    np.testing.assert_array_equal(found, np.sort(world.cost_usd, axis=0))
    assert np.nanmean(rounds.adequate) == world.adequate.mean()


def test_an_empty_world_is_refused() -> None:
    with pytest.raises(DatasetError, match="0 requests"):
        simulate(0)
