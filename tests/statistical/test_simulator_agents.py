"""What is drawn in a world of agents comes as often as its truth says."""

import time

import numpy as np
import pytest

from router_data.abilities import abilities_of
from router_data.agent_outcomes import SIGNAL_RATES
from router_data.agents import simulate_agents
from router_data.logging_policy import LoggingPolicy, PolicyName
from router_data.rounds import Floats
from router_data.simulator import World

pytestmark = pytest.mark.statistical


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_agents(1_500, seed=21)


def assert_frequency(drawn: Floats, p: Floats) -> None:
    """The mean is within four standard errors of what the probabilities say."""
    error = np.sqrt((p * (1.0 - p)).sum()) / p.size
    assert abs(drawn.mean() - p.mean()) < 4.0 * error


def test_outcomes_come_as_often_as_their_probability_says(world: World) -> None:
    for low in np.arange(0.0, 1.0, 0.1):
        cells = (world.p_adequate >= low) & (world.p_adequate < low + 0.1)
        assert_frequency(world.adequate[cells], world.p_adequate[cells])


def test_reports_and_verdicts_are_missing_as_often_as_the_truth_says(world: World) -> None:
    agents = world.agents
    assert agents is not None
    for hint in range(5):
        for task in ("main", "tool_result", "side"):
            rows = (agents.hint == hint) & (world.task == task)
            assert_frequency(agents.has_outcome[rows].astype(float), agents.p_outcome[rows])
            assert_frequency(agents.has_verdict[rows].astype(float), agents.p_verdict[rows])
    assert np.ptp(agents.p_outcome) > 0.3


def test_what_is_missing_does_not_depend_on_the_outcome_given_the_context(world: World) -> None:
    agents = world.agents
    assert agents is not None
    excess = agents.has_outcome - agents.p_outcome
    for column in range(len(world.models)):
        fault = world.adequate[:, column] - world.p_adequate[:, column]
        terms = excess * fault
        assert abs(terms.mean()) < 4.0 * terms.std() / np.sqrt(len(terms))


def test_signals_are_as_reliable_as_documented(world: World) -> None:
    agents = world.agents
    assert agents is not None
    for name, rate in SIGNAL_RATES.items():
        told = agents.signals[name]
        for outcome, p in ((1.0, rate.adequate), (0.0, rate.inadequate)):
            cells = (world.adequate == outcome) & ~np.isnan(told)
            assert_frequency(told[cells], np.full(int(cells.sum()), p))
    broken = agents.signals["schema_error"]
    assert (world.adequate[broken == 1.0] == 0.0).all()


@pytest.mark.parametrize("name", ["uniform", "biased"])
def test_only_inverse_weights_recover_the_truth_from_what_was_observed(
    world: World, name: PolicyName
) -> None:
    agents = world.agents
    assert agents is not None
    rounds = world.rounds(LoggingPolicy(name, epsilon=0.3, seed=4))
    target = world.distribution(LoggingPolicy("uniform"))
    truth = world.policy_value(target)
    chosen, _ = world.draw(LoggingPolicy(name, epsilon=0.3, seed=4))
    seen = ~np.isnan(rounds.adequate)
    ratio = target[np.arange(world.n_requests), chosen] / rounds.propensity
    p_seen = agents.p_outcome * agents.p_verdict
    terms = np.where(seen, ratio * np.nan_to_num(rounds.adequate) / p_seen, 0.0)
    error = terms.std() / np.sqrt(len(terms))
    assert abs(terms.mean() - truth) < 4.0 * error
    # Taking what was observed as it is looks better than the truth, beyond chance.
    as_it_is = (ratio[seen] * rounds.adequate[seen]).sum() / ratio[seen].sum()
    assert as_it_is - truth > 0.02


def test_harder_looking_tasks_are_less_often_adequate(world: World) -> None:
    assert world.agents is not None
    work = world.task != "side"
    by_hint = [world.p_adequate[work & (world.agents.hint == h)].mean() for h in range(5)]
    assert (np.diff(by_hint) < 0).all()


def test_tool_calls_are_valid_as_often_as_the_ability_says(world: World) -> None:
    assert world.agents is not None
    valid = world.agents.tool_call_valid[world.task != "side"]
    for column, p in enumerate(abilities_of(world.models).valid_tool_call.tolist()):
        assert_frequency(valid[:, column], np.full(len(valid), p))


def test_500_sessions_take_less_than_two_seconds() -> None:
    started = time.process_time()
    assert simulate_agents(500, n_tenants=3).n_requests > 5_000
    assert time.process_time() - started < 2.0
