"""What recorded sessions say about being stuck; the constants of escalation rest on this.

Two questions. Which signs go with sessions that fail: the odds ratio of
success, a sign against none, at equal numbers of calls and with an intercept for each model. And
what a failed call costs where calls have failed before: how many failed calls in a row are
expected if this one fails too. Intervals are clustered by session. What escalation gains is
measured on simulated sessions in `escalation_gain`: no record shows what another model would have
done.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import logit

from router_model.escalation import Escalation, escalation_from
from router_model.features import SCHEMA
from router_model.types import StepType
from router_training.glm import fit_glm
from router_training.intervals import (
    Interval,
    Resampling,
    group_index,
    weighted_interval,
)
from router_training.recorded_sessions import Recording

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_DEEPEST: Final = 3
_RIDGE: Final = 0.1
_LEAST_P: Final = 1e-4


class Turns(Struct, frozen=True, kw_only=True):
    """Calls of the main conversations in order, one entry a call.

    `values` has the columns of `SCHEMA`; `is_success` is that of the whole session.
    """

    session: NDArray[np.int64]
    model: NDArray[np.str_]
    step_type: tuple[StepType, ...]
    values: NDArray[np.float32]
    is_success: Floats

    def of(self, name: str) -> Floats:
        """The values of one feature."""
        return self.values[:, SCHEMA.index(name)].astype(np.float64)

    @property
    def escalations(self) -> list[Escalation]:
        """What escalation says of every call."""
        return [
            escalation_from(row, step)
            for row, step in zip(self.values, self.step_type, strict=True)
        ]


SIGNS: Final[Mapping[str, Callable[[Turns], Flags]]] = {
    "1 failed call at the end": lambda t: t.of("n_errors_in_a_row") == 1,
    "2 failed calls in a row": lambda t: t.of("n_errors_in_a_row") == 2,
    "3 or more in a row": lambda t: t.of("n_errors_in_a_row") >= 3,
    "2 of the last 4 failed": lambda t: t.of("n_errors_last_4") == 2,
    "3 or more of the last 4": lambda t: t.of("n_errors_last_4") >= 3,
    "last call repeated": lambda t: t.of("is_last_call_repeated") > 0,
    "last call repeated, failed": lambda t: (
        (t.of("is_last_call_repeated") > 0) & (t.of("is_last_error") > 0)
    ),
    "a file edited 3 times, a failure": lambda t: (
        (t.of("n_edits_of_one_file") >= 3) & (t.of("n_errors_last_4") > 0)
    ),
    "tests fail after 2 edits": lambda t: (
        (t.of("n_edits_of_one_file") >= 2) & (t.of("n_last_tests_failed") > 0)
    ),
    "10 calls since an edit": lambda t: t.of("n_calls_since_edit") >= 10,
    "last result empty": lambda t: t.of("is_last_empty") > 0,
    "last result cut": lambda t: t.of("is_last_truncated") > 0,
    "smooth stretch": lambda t: np.array([e.level < 0 for e in t.escalations]),
    "escalated at all": lambda t: np.array([e.level > 0 for e in t.escalations]),
    "escalated by half or more": lambda t: np.array([e.level >= 0.5 for e in t.escalations]),
}


class SignFigures(Struct, frozen=True):
    """How a sign goes with success; `odds_ratio` below 1: sessions that show it fail more."""

    sign: str
    n_calls: int
    n_sessions: int
    odds_ratio: Interval


class FailureFigures(Struct, frozen=True):
    """After `depth` failed calls in a row (the last entry: that many or more).

    `p_next` is P(the next call fails), `success` the share of sessions that end well, `run` the
    failed calls expected, this one included, if this one fails too, `factor` that over the same
    without a failure before.
    """

    depth: int
    n_calls: int
    success: float
    p_next: float
    run: float
    factor: Interval


def turns_of(recording: Recording) -> Turns:
    """The calls of a recording's main conversations whose session's outcome is known."""
    rows = []
    for number, session in enumerate(recording.sessions):
        total, n = recording.successes.get((session.request_id, session.model), (np.nan, 1))
        if np.isfinite(total):
            rows += [
                (number, session.model, call.step_type, call.context.values, total / n >= 0.5)
                for call in session.calls
                if not call.step_type.is_side_call
            ]
    sessions, models, steps, values, successes = zip(*rows, strict=True)
    return Turns(
        session=np.array(sessions, dtype=np.int64),
        model=np.array(models),
        step_type=tuple(steps),
        values=np.stack(values),
        is_success=np.array(successes, dtype=np.float64),
    )


def sign_figures(
    turns: Turns,
    *,
    signs: Sequence[str] = tuple(SIGNS),
    p_known: Floats | None = None,
    least_calls: int = 20,
) -> tuple[SignFigures, ...]:
    """The odds ratio of every sign that enough calls show.

    With `p_known`, a predictor's P(adequate) of every call, it is that of what the sign says
    beyond the prediction: 1 where a predictor has seen all of it.
    """
    found = []
    for name in signs:
        flag = SIGNS[name](turns)
        if least_calls <= flag.sum() <= len(flag) - least_calls:
            ratio = _odds_ratio(turns, flag, p_known)
            n_sessions = len(np.unique(turns.session[flag]))
            found.append(SignFigures(name, int(flag.sum()), n_sessions, ratio))
    return tuple(found)


def _odds_ratio(turns: Turns, flag: Flags, p_known: Floats | None) -> Interval:
    """exp of the sign's coefficient in a logistic regression of the session's success.

    The standard error is the sandwich of Liang and Zeger (1986), sessions being the clusters:
    V = H^-1 (sum of s s' over sessions) H^-1, s the session's sum of scores, H the information.
    """
    length = np.log1p(turns.of("n_tool_calls"))
    models = np.unique(turns.model)[1:]
    dummies = (turns.model[:, None] == models[None, :]).astype(np.float64)
    rows = np.column_stack([flag, length, length**2, dummies])
    if p_known is not None:
        rows = np.column_stack([rows, logit(np.clip(p_known, _LEAST_P, 1.0 - _LEAST_P))])
    fitted = fit_glm(rows, turns.is_success, ridge=_RIDGE)
    p = fitted.predict(rows)
    table = np.column_stack([rows, np.ones(len(rows))])
    ridge = np.diag([_RIDGE] * rows.shape[1] + [0.0])
    bread = np.linalg.inv(table.T @ (table * (p * (1.0 - p))[:, None]) + ridge)
    session, n_sessions = group_index(turns.session)
    scores = np.zeros((n_sessions, table.shape[1]))
    np.add.at(scores, session, table * (turns.is_success - p)[:, None])
    error = float(np.sqrt((bread @ scores.T @ scores @ bread)[0, 0]))
    low, middle, high = np.exp(fitted.coef[0] + np.array([-1.96, 0.0, 1.96]) * error).tolist()
    return Interval(middle, low, high)


def failure_figures(
    turns: Turns, *, resampling: Resampling | None = None
) -> tuple[FailureFigures, ...]:
    """What one more failure is followed by, by the number of failed calls in a row before it.

    With q(k) = P(the next call fails | k failed in a row), the failed calls expected from a
    failure at k on are R(k) = 1 + q(k+1) R(k+1); beyond the deepest k it is 1 / (1 - q).
    """
    depth = np.minimum(turns.of("n_errors_in_a_row"), _DEEPEST).astype(np.int64)
    calls = turns.of("n_tool_calls")
    # Two calls in a row of one session with a tool call between them.
    goes_on = np.append((np.diff(turns.session) == 0) & (np.diff(calls) > 0), False)
    fails = np.append(turns.of("is_last_error")[1:], 0.0)
    options = resampling or Resampling()
    runs = _runs(np.ones(len(depth)), depth, goes_on, fails)
    chances = _chances(np.ones(len(depth)), depth, goes_on, fails)
    found = []
    for k in range(_DEEPEST + 1):

        def factor(weight: Floats, k: int = k) -> float:
            drawn = _runs(weight, depth, goes_on, fails)
            return float(drawn[k] / drawn[0])

        ratio = weighted_interval(turns.session, factor, resampling=options)
        at = depth == k
        success = float(turns.is_success[at].mean()) if at.any() else float("nan")
        found.append(
            FailureFigures(k, int(at.sum()), success, float(chances[k]), float(runs[k]), ratio)
        )
    return tuple(found)


def _chances(weight: Floats, depth: NDArray[np.int64], goes_on: Flags, fails: Floats) -> Floats:
    """P(the next call fails) by failed calls in a row; half a failure and half a success added."""
    used = weight * goes_on
    n = np.bincount(depth, weights=used, minlength=_DEEPEST + 1)
    failed = np.bincount(depth, weights=used * fails, minlength=_DEEPEST + 1)
    chances: Floats = (failed + 0.5) / (n + 1.0)
    return chances


def _runs(weight: Floats, depth: NDArray[np.int64], goes_on: Flags, fails: Floats) -> Floats:
    """R(k) for every k; see `failure_figures`."""
    chances = _chances(weight, depth, goes_on, fails)
    run = np.full(_DEEPEST + 1, 1.0 / (1.0 - chances[-1]))
    for k in range(_DEEPEST - 1, -1, -1):
        run[k] = 1.0 + chances[k + 1] * run[k + 1]
    return run
