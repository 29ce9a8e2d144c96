"""Asks more of a model where the agent is stuck, a little less where its work goes smoothly.

The predictor sees the same trajectory and says how likely a failure is. What is weighed here is
what a failure costs: where calls have failed, one more failure is followed by more of them, so

    failure factor f = 1 + slope x level

is the ratio of the failed calls that are expected, if this one fails too, to those in a session
without errors (measured in `router_training.escalation_check`). A threshold on P(adequate)
moves so that the expected cost of failing stays what it was,

    (1 - threshold') f = 1 - threshold,

which is threshold' = threshold + shift (1 - threshold) with shift = 1 - 1 / f.

All is read from the logged features, so a logged decision can be replayed. There is no state: the
level falls as failed calls leave the last four, and is gone three successes after the last error.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.features import SCHEMA, Context
from router_model.types import StepType

Vector = NDArray[np.float32]

STUCK_SLOPE: Final = 0.5
"""f is 1.5 where three calls failed in a row; recorded sessions say 1.1 to 1.6."""

EASY_SLOPE: Final = 0.05
"""f is 0.95 at least: recorded sessions hardly tell a smooth stretch from any other call, and in
simulated ones a larger discount lost adequacy at equal bill."""

IN_A_ROW: Final = (0.0, 0.25, 0.5, 1.0)
"""Level by failed calls at the end (more count as three): the log-odds of success, halved."""

OF_LAST_FOUR: Final = (0.0, 0.0, 0.25, 0.6, 1.0)
"""Level by failed calls among the last four, which holds on when one succeeds in between."""

REPEATED: Final = 0.15
"""Added where the call that failed had been made before. Repetition alone says nothing."""

CHURNING: Final = 0.1
"""Added where a file is edited again and again without getting there."""

FAILING: Final = 0.1
"""Added where tests still fail after edits."""

EASY_AFTER: Final = 4
"""Successful calls in a row from which on a stretch is smooth."""

SMALL_RESULT_TOKENS: Final = 500.0
_MANY_EDITS = 3
_SOME_EDITS = 2
_NAMES = (
    "n_tool_calls",
    "n_errors_in_a_row",
    "n_errors_last_4",
    "is_last_call_repeated",
    "n_edits_of_one_file",
    "n_last_tests_failed",
    "is_last_read",
    "is_last_search",
    "last_result_tokens",
)
_PLACES = np.array([SCHEMA.index(name) for name in _NAMES], dtype=np.intp)


class Escalation(Struct, frozen=True, kw_only=True):
    """How hard the session looks: `level` from -1 (smooth) over 0 to +1 (stuck), and why.

    `failure_factor` multiplies the cost of a failure, where that is weighed; `adequacy_shift`
    moves a threshold, see `threshold`.
    """

    level: float = 0.0
    reasons: tuple[str, ...] = ()
    failure_factor: float = 1.0
    adequacy_shift: float = 0.0

    def threshold(self, least: float, *, is_certified: bool = False) -> float:
        """The least P(adequate) that is asked in place of `least`.

        One that a contract was certified for may rise, and never falls. No threshold (0), and
        one above 1 that nothing keeps, stay.

        >>> stuck = Escalation(level=1.0, failure_factor=1.5, adequacy_shift=1 / 3)
        >>> round(stuck.threshold(0.8), 3), stuck.threshold(0.0)
        (0.867, 0.0)
        """
        if not 0.0 < least < 1.0:
            return least
        shift = max(0.0, self.adequacy_shift) if is_certified else self.adequacy_shift
        # A threshold of 0 would mean something else: that cost alone decides.
        return max(least + shift * (1.0 - least), least / 2.0)


NO_ESCALATION: Final = Escalation()


def escalation_of(context: Context) -> Escalation:
    """What the history of a call says about how hard it is to go on."""
    return escalation_from(context.values, context.step_type)


def escalation_from(values: Vector, step_type: StepType) -> Escalation:
    """The same from logged features, in the order of `SCHEMA`.

    Side calls do not carry the task: nothing is asked of them beyond their own failure cost.
    """
    if step_type.is_side_call:
        return NO_ESCALATION
    known = [value if isfinite(value) else 0.0 for value in values[_PLACES].tolist()]
    n_calls, in_a_row, of_four, is_repeated, edits, failing, *ease = known
    if not n_calls:
        return NO_ESCALATION
    level, reasons = _stuck(int(in_a_row), int(of_four), is_repeated > 0.0)
    more, why = _no_progress(edits, failing, is_failing=of_four > 0.0)
    level, reasons = min(1.0, level + more), [*reasons, *why]
    if reasons:
        return _escalation(level, reasons)
    if of_four or n_calls < EASY_AFTER or step_type is not StepType.TOOL_RESULT:
        return NO_ESCALATION
    return _easy(*ease)


def _stuck(in_a_row: int, of_four: int, is_repeated: bool) -> tuple[float, list[str]]:
    """The level that failed calls give, the stronger sign deciding, and what the signs are."""
    row = IN_A_ROW[min(in_a_row, len(IN_A_ROW) - 1)]
    recent = OF_LAST_FOUR[min(of_four, len(OF_LAST_FOUR) - 1)]
    level, reasons = max(row, recent), []
    if row:
        reasons.append(f"{in_a_row} failed {'call' if in_a_row == 1 else 'calls in a row'}")
    if recent > row:
        reasons.append(f"{of_four} of the last 4 calls failed")
    if row and is_repeated:
        level += REPEATED
        reasons.append("the failed call had been made before")
    return level, reasons


def _no_progress(edits: float, failing: float, *, is_failing: bool) -> tuple[float, list[str]]:
    """What editing in circles and tests that still fail add."""
    more, reasons = 0.0, []
    if edits >= _MANY_EDITS and (is_failing or failing):
        more += CHURNING
        reasons.append(f"one file edited {edits:.0f} times")
    if edits >= _SOME_EDITS and failing:
        more += FAILING
        reasons.append(f"after edits {failing:.0f} {'test' if failing == 1 else 'tests'} failing")
    return more, reasons


def _easy(is_read: float, is_search: float, result_tokens: float) -> Escalation:
    """A smooth stretch; the smoother if it was read or searched, or little came back."""
    level, reasons = -0.5, [f"{EASY_AFTER} calls or more without an error"]
    if is_read or is_search:
        level -= 0.25
        reasons.append("the last call looked something up")
    if result_tokens < SMALL_RESULT_TOKENS:
        level -= 0.25
        reasons.append("its result is small")
    return _escalation(level, reasons)


def _escalation(level: float, reasons: Sequence[str]) -> Escalation:
    factor = 1.0 + level * (STUCK_SLOPE if level > 0.0 else EASY_SLOPE)
    return Escalation(
        level=level,
        reasons=tuple(reasons),
        failure_factor=factor,
        adequacy_shift=1.0 - 1.0 / factor,
    )
