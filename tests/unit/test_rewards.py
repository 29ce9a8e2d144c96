import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_data.rewards import (
    NEGATIVE_SIGNALS,
    SIGNALS,
    STEP_SIGNALS,
    AdequacyRule,
    Judged,
    adequacy,
    judge,
    rewards,
)
from router_model.errors import DatasetError
from router_model.types import Outcome

flags = st.none() | st.booleans()
shares = st.floats(0.0, 1.0)
values = st.booleans() | st.integers(0, 3) | shares | st.sampled_from(["true", "1"])
signals = st.dictionaries(st.sampled_from([*SIGNALS, "edits"]), values)
outcomes = st.builds(
    Outcome,
    decision_id=st.just("d"),
    model=st.just("m"),
    adequate=flags,
    reward=st.none() | shares,
    tool_call_valid=flags,
    error=st.none() | st.just("timeout"),
    signals=signals,
)
rules = st.builds(
    AdequacyRule,
    min_reward=shares,
    min_weight=st.floats(0.0, 0.5),
    error_is_inadequate=st.booleans(),
    **dict.fromkeys(SIGNALS, shares),
)


def make(**fields: object) -> Outcome:
    return Outcome(decision_id="d", model="m", **fields)  # type: ignore[arg-type] # any field


def number(value: float | bool | None) -> float:
    return float("nan") if value is None else float(value)


def judged(several: list[Outcome], rule: AdequacyRule) -> Judged:
    def signal(outcome: Outcome, name: str) -> float:
        value = outcome.signals.get(name)
        return float("nan") if isinstance(value, str) else number(value)

    return judge(
        np.array([number(outcome.adequate) for outcome in several]),
        reward=np.array([number(outcome.reward) for outcome in several]),
        is_error=np.array([outcome.error is not None for outcome in several], dtype=bool),
        tool_call_valid=np.array([number(outcome.tool_call_valid) for outcome in several]),
        signals={
            name: np.array([signal(outcome, name) for outcome in several]) for name in STEP_SIGNALS
        },
        rule=rule,
    )


def expected(outcome: Outcome, rule: AdequacyRule) -> tuple[bool | None, float | None]:
    """The documented rules once more, in the plainest way: label and weight of one outcome."""
    if outcome.adequate is not None:
        return outcome.adequate, 1.0
    if outcome.reward is not None:
        return outcome.reward >= rule.min_reward, 1.0
    if outcome.error is not None and rule.error_is_inadequate:
        return False, 1.0
    if outcome.tool_call_valid is False and rule.invalid_tool_call_is_inadequate:
        return False, 1.0
    said = [said_by(name, value, rule) for name, value in outcome.signals.items()]
    heard = [(weight, label) for weight, label in said if weight and weight >= rule.min_weight]
    if not heard:
        return None, None
    strongest = max(weight for weight, _ in heard)
    return all(label for weight, label in heard if weight == strongest), strongest


def said_by(name: str, value: float | bool | str, rule: AdequacyRule) -> tuple[float, bool]:
    if name not in STEP_SIGNALS or isinstance(value, str):
        return 0.0, False
    is_true = float(value) >= 0.5
    speaks = is_true or name == "test_passed"
    return (getattr(rule, name) if speaks else 0.0), is_true and name == "test_passed"


@pytest.mark.parametrize(
    ("outcome", "label"),
    [
        (make(adequate=True, reward=0.0, error="timeout", tool_call_valid=False), True),
        (make(adequate=False, reward=1.0), False),
        (make(reward=0.5), True),
        (make(reward=0.49), False),
        (make(reward=0.9, error="timeout"), True),
        (make(error="timeout"), False),
        (make(tool_call_valid=False), False),
        (make(error="timeout", signals={"test_passed": True}), False),
        (make(adequate=True, signals={"user_corrected": True}), True),
        (make(signals={"test_passed": True}), True),
        (make(signals={"test_passed": False}), False),
        (make(signals={"test_passed": 0.4}), False),
        (make(signals={"retried": 2}), False),
        (make(signals={"test_passed": True, "user_corrected": True}), True),
        (make(signals={"test_passed": True, "schema_error": True}), False),
        (make(signals={"truncated": True}), False),
        (make(signals={"refused": True}), False),
        (make(signals={"empty_answer": True}), False),
        (make(signals={"test_passed": True, "empty_answer": True}), True),
        (make(signals={"truncated": False, "refused": False, "empty_answer": False}), None),
        (make(tool_call_valid=True), None),
        (make(signals=dict.fromkeys(NEGATIVE_SIGNALS, False)), None),
        (make(signals={"session_succeeded": True, "edits": 3}), None),
        (make(signals={"test_passed": "true"}), None),
        (make(), None),
    ],
)
def test_the_first_rule_that_applies_decides(outcome: Outcome, label: bool | None) -> None:
    assert adequacy(outcome) is label


def test_rules_can_be_switched_off_and_the_threshold_moved() -> None:
    rule = AdequacyRule(
        min_reward=0.8,
        error_is_inadequate=False,
        invalid_tool_call_is_inadequate=False,
        retried=0.0,
    )
    assert adequacy(make(reward=0.7), rule) is False
    assert adequacy(make(error="timeout"), rule) is None
    assert adequacy(make(tool_call_valid=False), rule) is None
    assert adequacy(make(signals={"retried": True}), rule) is None


def test_signals_of_the_same_weight_that_disagree_speak_against() -> None:
    rule = AdequacyRule(test_passed=0.7, escalated=0.7)
    assert adequacy(make(signals={"test_passed": True, "escalated": True}), rule) is False


def test_a_label_is_as_sure_as_its_strongest_signal() -> None:
    several = [
        make(adequate=True),
        make(reward=0.2),
        make(signals={"retried": True}),
        make(signals={"retried": True, "user_corrected": True}),
        make(),
    ]
    found = judged(several, AdequacyRule())
    np.testing.assert_array_equal(found.weight, [1.0, 1.0, 0.6, 0.8, np.nan])
    assert found.is_explicit.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    "fields",
    [
        {"min_reward": -0.1},
        {"min_reward": 1.1},
        {"retried": 1.5},
        {"session_discount": float("nan")},
        {"outcome_window_s": -1.0},
        {"session_blame_steps": -1},
    ],
)
def test_a_value_out_of_range_is_refused_by_name(fields: dict[str, float]) -> None:
    with pytest.raises(DatasetError, match=next(iter(fields))):
        AdequacyRule(**fields)  # type: ignore[arg-type] # any field


@given(outcomes, shares, shares)
def test_a_stricter_threshold_never_makes_an_outcome_adequate(
    outcome: Outcome, first: float, second: float
) -> None:
    loose, strict = sorted((first, second))
    if adequacy(outcome, AdequacyRule(min_reward=strict)):
        assert adequacy(outcome, AdequacyRule(min_reward=loose))


@given(outcomes, rules)
def test_an_explicit_verdict_is_never_overruled(outcome: Outcome, rule: AdequacyRule) -> None:
    if outcome.adequate is not None:
        assert adequacy(outcome, rule) is outcome.adequate


@given(st.lists(outcomes, max_size=6), rules)
def test_arrays_follow_the_same_rules_as_single_outcomes(
    several: list[Outcome], rule: AdequacyRule
) -> None:
    found = judged(several, rule)
    wanted = [expected(outcome, rule) for outcome in several]
    np.testing.assert_array_equal(found.adequate, [number(label) for label, _ in wanted])
    np.testing.assert_array_equal(found.weight, [number(weight) for _, weight in wanted])
    assert [adequacy(outcome, rule) for outcome in several] == [label for label, _ in wanted]


@given(outcomes, rules)
def test_only_a_verdict_a_reward_or_a_passed_test_makes_an_outcome_adequate(
    outcome: Outcome, rule: AdequacyRule
) -> None:
    if adequacy(outcome, rule) and outcome.adequate is None and outcome.reward is None:
        assert float(outcome.signals["test_passed"]) >= 0.5


def test_a_reward_is_the_logged_one_and_otherwise_the_adequacy() -> None:
    nan = np.nan
    found = rewards(np.array([1.0, 0.0, nan]), reward=np.array([0.3, nan, nan]))
    np.testing.assert_array_equal(found, [0.3, 0.0, nan])
