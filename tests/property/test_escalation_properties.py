"""Laws of the escalation: bounded, monotone in failures, certified thresholds never fall."""

import numpy as np
import pytest
from conversations import SHELL_TOOLS, ask, bash, user
from hypothesis import given
from hypothesis import strategies as st

from router_model.escalation import escalation_from, escalation_of
from router_model.features import SCHEMA, extract
from router_model.types import StepType

NAMES = (
    "n_tool_calls",
    "n_errors_in_a_row",
    "n_errors_last_4",
    "is_last_call_repeated",
    "n_edits_of_one_file",
    "n_last_tests_failed",
    "last_result_tokens",
)
rows = st.fixed_dictionaries({name: st.integers(0, 60) for name in NAMES})
steps = st.sampled_from(list(StepType))
outputs = st.text(alphabet=".x", max_size=12)


def vector(row: dict[str, int]) -> np.ndarray:
    values = np.zeros(SCHEMA.n, dtype=np.float32)
    for name, value in row.items():
        values[SCHEMA.index(name)] = value
    return values


@given(rows, steps, st.floats(0.0, 1.2))
def test_levels_factors_and_thresholds_are_bounded(
    row: dict[str, int], step: StepType, least: float
) -> None:
    found = escalation_from(vector(row), step)
    assert -1.0 <= found.level <= 1.0
    assert 0.95 - 1e-9 <= found.failure_factor <= 1.5 + 1e-9
    assert np.sign(found.level) == np.sign(found.failure_factor - 1.0)
    assert np.sign(found.level) == np.sign(found.adequacy_shift)
    assert bool(found.reasons) == (found.level != 0.0)
    moved = found.threshold(least, is_certified=True)
    assert moved >= least
    assert moved <= max(least, 1.0)
    assert (found.threshold(least) > 0.0) == (least > 0.0)


@given(rows, st.floats(0.05, 0.99))
def test_a_threshold_keeps_the_expected_cost_of_failing(row: dict[str, int], least: float) -> None:
    found = escalation_from(vector(row), StepType.TOOL_RESULT)
    moved = found.threshold(least)
    if moved > least / 2.0:
        assert (1.0 - moved) * found.failure_factor == pytest.approx(1.0 - least)


@given(rows, st.sampled_from(["n_errors_in_a_row", "n_errors_last_4"]))
def test_one_more_failure_never_lowers_the_level(row: dict[str, int], sign: str) -> None:
    before = escalation_from(vector(row), StepType.TOOL_RESULT).level
    after = escalation_from(vector({**row, sign: row[sign] + 1}), StepType.TOOL_RESULT).level
    assert after >= before


@given(outputs)
def test_whatever_happened_three_successes_bring_the_level_back(history: str) -> None:
    turns = [(f"step{n}", "bash: x: command not found" if s == "x" else "fine")
             for n, s in enumerate(history + "...")]  # fmt: skip
    request = ask(user("Fix it."), *bash(*turns), tools=SHELL_TOOLS)
    context = extract(request)
    assert escalation_of(context).level <= 0.0
    assert escalation_of(context) == escalation_from(context.values, context.step_type)
