"""What a canary shows of a challenger: sessions were dealt out by chance, so outcomes compare."""

import math

import numpy as np
from numpy.typing import NDArray

from router_data.logged import LoggedDecisions
from router_model.policy import CheapestAdequate
from router_training.changes import Floats, Ratio, ratio_of
from router_training.gate import Finding, Limits
from router_training.gate_checks import judged_gain
from router_training.intervals import Interval
from router_training.log_columns import session_numbers

MIN_SESSIONS = 50
_Z = 1.959964


def check_canary(
    logged: LoggedDecisions,
    *,
    challenger: str,
    champion: str,
    policy: CheapestAdequate,
    limits: Limits,
) -> Finding | None:
    """The challenger's mean net utility less the champion's, while both had a part of sessions.

    `challenger` and `champion` are the versions of their artifacts. None where either has fewer
    than 50 sessions. Needs no overlap, as each side shows its own choices; the interval is the
    normal one of a difference of two means with sessions as units. Decisions without an outcome
    are left out, as if they were like the others of their side.
    """
    is_ours = logged.artifact == challenger
    if not is_ours.any():
        return None
    began, ended = logged.ts_ms[is_ours].min(), logged.ts_ms[is_ours].max()
    is_theirs = (logged.artifact == champion) & (logged.ts_ms >= began) & (logged.ts_ms <= ended)
    failure = np.where(
        logged.is_side_call, policy.side_call_failure_cost_usd, policy.failure_cost_usd
    )
    utility = -(logged.cost_usd + (1.0 - logged.adequate) * failure)
    ours, theirs = (_mean(logged, rows, utility) for rows in (is_ours, is_theirs))
    if min(ours.n_sessions, theirs.n_sessions) < MIN_SESSIONS:
        return None
    gain = ours.value - theirs.value
    half = _Z * math.hypot(ours.standard_error, theirs.standard_error)
    return judged_gain(
        Interval(gain, gain - half, gain + half),
        margin=limits.margin * float(failure[is_ours | is_theirs].mean()),
        code="utility.canary",
        on=f"{ours.n_sessions} sessions of the canary, {theirs.n_sessions} of the champion",
        figures={
            "n_canary_sessions": float(ours.n_sessions),
            "n_champion_sessions": float(theirs.n_sessions),
        },
        is_deciding=False,
    )


def _mean(logged: LoggedDecisions, rows: NDArray[np.bool_], utility: Floats) -> Ratio:
    seen = rows & np.isfinite(utility)
    return ratio_of(utility[seen], np.ones(int(seen.sum())), session_numbers(logged)[seen])
