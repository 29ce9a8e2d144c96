"""What a session's end says about its steps.

A session's last report of `session_succeeded` (failure wins a tie in time) is shared among its
steps that have no evidence of their own: the k-th step from the end (the last is 0) gets weight
`session_succeeded x session_discount^k`. A success credits all steps, a failure blames the last
`session_blame_steps` only. Side calls (titles, summaries, ...) don't carry the task: they are
neither counted as steps nor credited.
"""

import numpy as np
from numpy.typing import NDArray

from router_data.rewards import AdequacyRule, Judged

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def steps_from_end(session: Ints, *, ts_ms: Ints, is_side_call: Bools) -> Ints:
    """How many later steps the session of each context has; -1 for side calls.

    Steps of the same millisecond keep their order in the arrays.

    >>> steps_from_end(np.array([0, 0, 1, 0]), ts_ms=np.array([5, 9, 1, 7]),
    ...                is_side_call=np.array([False, False, False, True])).tolist()
    [1, 0, 0, -1]
    """
    result = np.full(len(session), -1, dtype=np.int64)
    steps = np.flatnonzero(~is_side_call)
    order = steps[np.lexsort((steps, ts_ms[steps], session[steps]))]
    ordered = session[order]
    last = np.searchsorted(ordered, ordered, side="right") - 1
    result[order] = last - np.arange(len(order))
    return result


def session_ends(session: Ints, *, succeeded: Floats, ts_ms: Floats, n_sessions: int) -> Floats:
    """1, 0 or NaN (not reported) for each session, by its latest report.

    `session`, `succeeded` and `ts_ms` are of outcomes.

    >>> session_ends(np.array([0, 0, 1]), succeeded=np.array([1.0, 0.0, np.nan]),
    ...              ts_ms=np.array([9.0, 5.0, 3.0]), n_sessions=2)
    array([ 1., nan])
    """
    ends = np.full(n_sessions, np.nan)
    reports = np.flatnonzero(~np.isnan(succeeded))
    is_success = succeeded[reports] >= 0.5
    # Later entries overwrite earlier ones: the latest, and at the same time the failure, stays.
    order = np.lexsort((~is_success, ts_ms[reports]))
    ends[session[reports][order]] = is_success[order]
    return ends


def with_session_credit(
    judged: Judged, *, end: Floats, steps_left: Ints, rule: AdequacyRule
) -> Judged:
    """The labels, and where there is none the one that the session's end gives.

    `end` is the session's end and `steps_left` the steps after this one, both for each row.

    >>> no, unknown = np.zeros(2, bool), np.full(2, np.nan)
    >>> nothing = Judged(unknown, unknown, no, no, np.zeros(2))
    >>> with_session_credit(nothing, end=np.ones(2), steps_left=np.array([0, 1]),
    ...                     rule=AdequacyRule()).weight
    array([0.5, 0.4])
    """
    steps = np.maximum(steps_left, 0)
    weight = rule.session_succeeded * rule.session_discount**steps
    is_blamed = (end == 0) & (steps < rule.session_blame_steps)
    counts = (steps_left >= 0) & ((end == 1) | is_blamed)
    counts &= (weight > 0) & (weight >= rule.min_weight)
    speaks = counts & (judged.signal == 0.0)
    counts &= np.isnan(judged.adequate)
    return judged._replace(
        adequate=np.where(counts, end, judged.adequate),
        weight=np.where(counts, weight, judged.weight),
        signal=np.where(speaks, np.where(end == 1, weight, -weight), judged.signal),
    )
