import numpy as np
import pytest
from conversations import SHELL_TOOLS, ask, bash, call, result, user

from router_model.escalation import NO_ESCALATION, Escalation, escalation_from, escalation_of
from router_model.features import SCHEMA, extract
from router_model.types import Message, StepType

BAD, GOOD = "bash: x: command not found", "fine"


def of(*messages: Message) -> Escalation:
    return escalation_of(extract(ask(user("Fix it."), *messages, tools=SHELL_TOOLS)))


def after(outputs: str) -> Escalation:
    """After calls that succeeded (.) or failed (x), each with arguments of its own."""
    turns = [(f"step{n}", BAD if sign == "x" else GOOD) for n, sign in enumerate(outputs)]
    return of(*bash(*turns))


def values(**known: float) -> np.ndarray:
    row = np.zeros(SCHEMA.n, dtype=np.float32)
    for name, value in known.items():
        row[SCHEMA.index(name)] = value
    return row


def test_a_session_that_begins_is_neither_stuck_nor_easy() -> None:
    assert of() == NO_ESCALATION
    assert after("...") == NO_ESCALATION


def test_every_failed_call_in_a_row_raises_the_level() -> None:
    levels = [after("." + "x" * n).level for n in range(4)]
    assert levels == [0.0, 0.25, 0.5, 1.0]
    assert after(".xxx").reasons == ("3 failed calls in a row",)


def test_a_success_between_failures_does_not_clear_the_level_at_once() -> None:
    found = after(".xxx.")
    assert 0.25 < found.level < 1.0
    assert found.reasons == ("3 of the last 4 calls failed",)


def test_three_successes_bring_the_level_back_and_the_fourth_makes_it_easy() -> None:
    levels = [after("xxx" + "." * n).level for n in range(5)]
    assert levels[0] == 1.0
    assert levels == sorted(levels, reverse=True)
    assert levels[3] == 0.0
    assert levels[4] < 0.0


def test_a_failed_call_that_had_been_made_before_counts_for_more() -> None:
    again = of(*bash(("make", BAD), ("ls", GOOD), ("make", BAD)))
    other = of(*bash(("make", BAD), ("ls", GOOD), ("cc", BAD)))
    assert again.level > other.level
    assert "the failed call had been made before" in again.reasons


def test_repetition_without_a_failure_is_no_sign() -> None:
    assert of(*bash(("make", GOOD), ("ls", GOOD), ("make", GOOD))).level == 0.0


def test_edits_in_circles_count_only_while_something_fails() -> None:
    edits = [
        message
        for n in range(3)
        for message in (
            call("edit", f"e{n}", path="a.py", text=str(n)),
            result("ok", f"e{n}"),
        )
    ]
    assert of(*edits).level == 0.0
    found = of(*edits, *bash(("pytest -q", "2 failed, 5 passed")))
    assert found.level > 0.0
    assert found.reasons[-2:] == ("one file edited 3 times", "after edits 2 tests failing")


def test_a_smooth_stretch_is_easier_after_looking_something_up_with_a_small_result() -> None:
    plain = after("....")
    big = of(*bash(*[(f"step{n}", "word " * 4_000) for n in range(4)]))
    read = of(*bash(*[(f"cat {n}.py", GOOD) for n in range(4)]))
    assert [read.level, plain.level, big.level] == [-1.0, -0.75, -0.5]
    assert read.failure_factor < plain.failure_factor < big.failure_factor < 1.0


def test_a_new_turn_of_the_user_is_never_easy() -> None:
    turns = bash(*[(f"cat {n}.py", GOOD) for n in range(6)])
    assert of(*turns).level < 0.0
    assert of(*turns, user("Now write the release notes.")) == NO_ESCALATION


@pytest.mark.parametrize("step", [step for step in StepType if step.is_side_call])
def test_side_calls_are_never_escalated(step: StepType) -> None:
    row = values(n_tool_calls=9, n_errors_in_a_row=5, n_errors_last_4=4)
    assert escalation_from(row, step) == NO_ESCALATION
    assert escalation_from(row, StepType.TOOL_RESULT).level == 1.0


def test_a_threshold_keeps_the_expected_cost_of_failing() -> None:
    stuck = after(".xxx")
    moved = stuck.threshold(0.8)
    assert moved > 0.8
    assert (1.0 - moved) * stuck.failure_factor == pytest.approx(1.0 - 0.8)


def test_a_certified_threshold_rises_but_never_falls() -> None:
    stuck, easy = after(".xxx"), after("......")
    assert stuck.threshold(0.9, is_certified=True) == stuck.threshold(0.9) > 0.9
    assert easy.threshold(0.9) < 0.9
    assert easy.threshold(0.9, is_certified=True) == 0.9


@pytest.mark.parametrize("least", [0.0, 1.0, 1.01, 2.0])
def test_no_threshold_and_one_that_nothing_keeps_stay(least: float) -> None:
    assert after(".xxx").threshold(least) == after("....").threshold(least) == least


def test_a_small_threshold_does_not_fall_to_none() -> None:
    assert after("......").threshold(0.01) > 0.0


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_say_nothing(unknown: float) -> None:
    values = np.full(SCHEMA.n, unknown, dtype=np.float32)
    assert escalation_from(values, StepType.TOOL_RESULT) == NO_ESCALATION
    values[SCHEMA.index("n_tool_calls")] = 9.0
    assert escalation_from(values, StepType.MAIN) == NO_ESCALATION
