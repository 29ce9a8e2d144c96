"""What the constants of escalation rest on: recorded sessions, and simulated ones at equal bill.

Escalation is worth little where the predictor sees the trajectory, as it should be: it must not
count twice what the predictor knows. These tests hold it to costing next to nothing there, and to
helping where a failure makes the next one likelier or the predictor is blind to failures.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from paths import DATA, requires_data

from router_data.agents import AGENT_FEATURES, simulate_agents
from router_data.simulator import World
from router_model.escalation import EASY_SLOPE, IN_A_ROW, STUCK_SLOPE
from router_training.escalation_check import (
    SIGNS,
    Turns,
    failure_figures,
    sign_figures,
    turns_of,
)
from router_training.escalation_gain import (
    Breeding,
    breeding,
    gain,
    simulated_escalations,
)
from router_training.fit import fit_predictor
from router_training.intervals import Resampling
from router_training.params import TrainingParams
from router_training.recorded_sessions import read_recording

pytestmark = pytest.mark.statistical

FEW = Resampling(n_resamples=100)
RECORDED = ("swebench_verified_mini", "tau2_bench")
QUICK = TrainingParams(
    n_folds=3,
    n_inner_folds=2,
    ridges=(200.0,),
    n_estimators=40,
    min_data_in_leaf=20,
    max_linear_steps=40,
)


@cache
def recorded(name: str) -> Turns:
    return turns_of(read_recording(DATA / name))


@requires_data
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_sessions_that_escalation_calls_stuck_fail_more_often(name: str) -> None:
    signs = ("escalated at all", "escalated by half or more")
    some, much = sign_figures(recorded(name), signs=signs)
    assert some.odds_ratio.high < 1.0
    assert much.odds_ratio.high < 1.0
    assert much.odds_ratio.estimate < some.odds_ratio.estimate


@requires_data
@pytest.mark.parametrize("name", RECORDED)
def test_the_failure_factor_is_what_recorded_failures_are_followed_by(name: str) -> None:
    figures = failure_figures(recorded(name))
    for found in figures[1:]:
        factor = 1.0 + STUCK_SLOPE * IN_A_ROW[found.depth]
        assert found.factor.low <= factor <= found.factor.high


@requires_data
@pytest.mark.parametrize("name", RECORDED)
def test_failures_of_recorded_sessions_come_in_runs(name: str) -> None:
    chances = [found.p_next for found in failure_figures(recorded(name), resampling=FEW)]
    assert chances == sorted(chances)
    assert chances[-1] > 4.0 * chances[0]


def test_signs_and_slopes_are_what_the_figures_are_made_for() -> None:
    assert 0.0 < EASY_SLOPE < STUCK_SLOPE <= 0.6
    assert len(SIGNS) == len({*SIGNS})


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_agents(1_000, seed=2, reports="all")


def predicted(world: World, *, is_blind: bool) -> np.ndarray:
    """P(adequate) by a predictor fitted on another world; a blind one sees no failures."""
    hidden = AGENT_FEATURES.index("n_errors_in_a_row")

    def seen(whole: World) -> World:
        features = whole.features.copy()
        if is_blind:
            features[:, hidden:] = 0.0
        return replace(whole, features=features)

    fitted = fit_predictor(seen(simulate_agents(300, seed=1, reports="all")).rounds(), params=QUICK)
    rounds = seen(world).rounds()
    return fitted.predict(rounds.features, rounds.embedding, world.models).p_adequate


def test_the_level_tells_simulated_calls_that_are_hard(world: World) -> None:
    level = np.array([found.level for found in simulated_escalations(world)])
    p = world.p_adequate[world.task != "side"].mean(axis=1)
    level = level[world.task != "side"]
    by_level = [p[level >= 0.75].mean(), p[(level > 0.0) & (level < 0.75)].mean()]
    by_level.append(p[level <= 0.0].mean())
    assert by_level == sorted(by_level)
    assert by_level[-1] - by_level[0] > 0.2


@pytest.mark.parametrize("failure_usd", [0.05, 0.25])
def test_with_exact_predictions_escalation_costs_next_to_nothing(
    world: World, failure_usd: float
) -> None:
    found = gain(world, world.p_adequate, failure_usd=failure_usd)
    assert found.n_changed > 0
    assert found.adequacy.low > -0.002
    assert found.stuck_adequacy.low > 0.0


def test_with_a_fitted_predictor_escalation_costs_next_to_nothing(world: World) -> None:
    found = gain(world, predicted(world, is_blind=False), failure_usd=0.25)
    assert found.adequacy.low > -0.002


def test_escalation_helps_a_predictor_that_sees_no_failures(world: World) -> None:
    found = gain(world, predicted(world, is_blind=True), failure_usd=0.05)
    assert found.adequacy.low > 0.0
    assert found.stuck_adequacy.low > 0.01


def test_where_failures_breed_escalation_gains_adequacy_at_equal_bill() -> None:
    for failure_usd in (0.05, 0.25):
        found = breeding(Breeding(n_sessions=8_000), failure_usd=failure_usd)
        assert found.adequacy.low > 0.0
        assert found.stuck_adequacy.low > 0.0


def test_where_failures_do_not_breed_escalation_loses_next_to_nothing() -> None:
    found = breeding(Breeding(burdens=(0.0,)), failure_usd=0.25)
    assert -0.001 < found.adequacy.estimate <= 0.0
