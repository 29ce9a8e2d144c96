import numpy as np
import pytest

from router_model.choice_horizon import choice_horizon
from router_model.continuation import turns_of
from router_model.economics import NO_HORIZON, PRIOR, Horizon
from router_model.types import StepType


@pytest.mark.parametrize("k", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("n", [1, 3, 20])
def test_the_moments_are_those_of_the_shorter_of_session_and_choice(n: int, k: float) -> None:
    fixed = Horizon(turns=n, low=n, high=n, second=n * (n + 1) / 2)
    held = choice_horizon(fixed, k)
    reached = k ** np.arange(1, n + 1)
    assert held.turns == pytest.approx(reached.sum())
    assert held.second == pytest.approx((np.arange(1, n + 1) * reached).sum())
    assert held.p_any == pytest.approx(k)


def test_they_agree_with_a_simulation_of_both_lengths() -> None:
    rng = np.random.default_rng(0)
    horizon = PRIOR.horizon(StepType.TOOL_RESULT, 5)
    points = turns_of(horizon, horizon.turns).points
    lengths = np.array([0.0] + [round(n) for _, n in points])
    weights = np.array([0.0] + [weight for weight, _ in points])
    weights[0] = 1.0 - weights.sum()
    drawn = rng.choice(lengths, size=200_000, p=weights)
    held = np.minimum(drawn, rng.geometric(0.3, size=200_000) - 1)
    found = choice_horizon(horizon, 0.7)
    assert found.turns == pytest.approx(held.mean(), rel=0.02)
    assert found.second == pytest.approx((held * (held + 1) / 2).mean(), rel=0.03)


@pytest.mark.parametrize("step", [StepType.MAIN, StepType.TOOL_RESULT])
@pytest.mark.parametrize("turn", [0, 3, 40])
def test_a_choice_holds_no_longer_than_the_session(step: StepType, turn: int) -> None:
    horizon = PRIOR.horizon(step, turn)
    before = 0.0
    for k in (0.1, 0.5, 0.9, 0.999):
        held = choice_horizon(horizon, k)
        assert before < held.turns < horizon.turns
        assert held.low <= held.turns <= held.high
        assert held.second >= 0.5 * held.turns * (held.turns + 1) * (1 - 1e-9)
        before = held.turns


def test_where_nothing_comes_nothing_is_held() -> None:
    assert choice_horizon(NO_HORIZON).turns == 0.0
    assert choice_horizon(NO_HORIZON).p_any == 0.0
