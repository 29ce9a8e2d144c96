import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_data.rewards import AdequacyRule, adequacies, adequacy, rewards
from router_model.errors import DatasetError
from router_model.types import Outcome

flags = st.none() | st.booleans()
outcomes = st.builds(
    Outcome,
    decision_id=st.just("d"),
    model=st.just("m"),
    adequate=flags,
    reward=st.none() | st.floats(0.0, 1.0),
    tool_call_valid=flags,
    error=st.none() | st.just("timeout"),
)


def make(**values: object) -> Outcome:
    return Outcome(decision_id="d", model="m", **values)  # type: ignore[arg-type] # any field


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (make(adequate=True, reward=0.0, error="timeout", tool_call_valid=False), True),
        (make(adequate=False, reward=1.0), False),
        (make(reward=0.5), True),
        (make(reward=0.49), False),
        (make(reward=0.9, error="timeout"), True),
        (make(error="timeout"), False),
        (make(tool_call_valid=False), False),
        (make(tool_call_valid=True), None),
        (make(), None),
    ],
)
def test_the_first_rule_that_applies_decides(outcome: Outcome, expected: bool | None) -> None:
    assert adequacy(outcome) is expected


def test_rules_can_be_switched_off_and_the_threshold_moved() -> None:
    rule = AdequacyRule(
        min_reward=0.8, error_is_inadequate=False, invalid_tool_call_is_inadequate=False
    )
    assert adequacy(make(reward=0.7), rule) is False
    assert adequacy(make(error="timeout"), rule) is None
    assert adequacy(make(tool_call_valid=False), rule) is None


@pytest.mark.parametrize("min_reward", [-0.1, 1.1])
def test_a_threshold_outside_zero_to_one_is_refused(min_reward: float) -> None:
    with pytest.raises(DatasetError, match="min_reward"):
        AdequacyRule(min_reward=min_reward)


@given(outcomes, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_stricter_threshold_never_makes_an_outcome_adequate(
    outcome: Outcome, first: float, second: float
) -> None:
    loose, strict = sorted((first, second))
    if adequacy(outcome, AdequacyRule(min_reward=strict)):
        assert adequacy(outcome, AdequacyRule(min_reward=loose))


@given(outcomes)
def test_an_explicit_verdict_is_never_overruled(outcome: Outcome) -> None:
    if outcome.adequate is not None:
        assert adequacy(outcome) is outcome.adequate


@given(st.lists(outcomes, max_size=6))
def test_arrays_follow_the_same_rules_as_single_outcomes(several: list[Outcome]) -> None:
    def numbers(values: list[float | bool | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([np.nan if value is None else float(value) for value in values])

    found = adequacies(
        numbers([outcome.adequate for outcome in several]),
        reward=numbers([outcome.reward for outcome in several]),
        is_error=np.array([outcome.error is not None for outcome in several], dtype=bool),
        tool_call_valid=numbers([outcome.tool_call_valid for outcome in several]),
    )
    expected = numbers([adequacy(outcome) for outcome in several])
    np.testing.assert_array_equal(found, expected)


def test_a_reward_is_the_logged_one_and_otherwise_the_adequacy() -> None:
    nan = np.nan
    found = rewards(np.array([1.0, 0.0, nan]), reward=np.array([0.3, nan, nan]))
    np.testing.assert_array_equal(found, [0.3, 0.0, nan])
