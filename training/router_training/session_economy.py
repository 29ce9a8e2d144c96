"""What recorded sessions teach of sessions: turns to come, growth of the prefix, gaps.

`router_training.session_economics` learns the same from the log. Recorded sessions don't show how
often the caches of other models than the recorded one are hit; in a replay they keep what they
promise, so that is what its bills would teach.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from router_model.choice_horizon import P_STAYS_FIT
from router_model.economics import GAP_EDGES_S, PRIOR, TURN_EDGES, CacheFacts, Economics, Horizon
from router_model.types import StepType
from router_training.recorded_sessions import RecordedSession
from router_training.session_policies import RouterPolicy, greedy_with_caches, within_locks
from router_training.session_replay import Floats, Policy, Prepared, play

PRIOR_SESSIONS: Final = 10.0
"""As how many sessions the horizon counts that was known before."""
_Z: Final = 1.96


def economics_of(sessions: Sequence[RecordedSession], *, known: Economics = PRIOR) -> Economics:
    """`known`, moved towards what these sessions show; their caches keep what they promise."""
    remaining: dict[tuple[str, int], dict[int, list[int]]] = {}
    gaps: list[float] = []
    growth: list[int] = []
    for number, session in enumerate(sessions):
        calls = [call for call in session.calls if not call.step_type.is_side_call]
        for turn, call in enumerate(calls):
            place = (call.step_type.value, bisect_right(TURN_EDGES, turn))
            left = remaining.setdefault(place, {}).setdefault(number, [])
            left.append(len(calls) - 1 - turn)
        pairs = list(pairwise(calls))
        gaps += [after.gap_s for _, after in pairs]
        growth += [b.input_tokens - a.input_tokens for a, b in pairs if not b.is_rewritten]
    horizons = {
        step: tuple(
            _moved(horizon, list(remaining.get((step, bucket), {}).values()))
            for bucket, horizon in enumerate(known.horizons[step])
        )
        for step in (StepType.MAIN.value, StepType.TOOL_RESULT.value)
    }
    if not gaps:
        return replace(known, horizons=horizons)
    return replace(
        known,
        horizons=horizons,
        growth_tokens=max(0.0, float(np.mean(growth))) if growth else known.growth_tokens,
        gaps=_gap_shares(np.array(gaps)),
        any_cache=CacheFacts(p_hit=1.0, n=len(gaps)),
        n_sessions=len(sessions),
    )


def cross_fitted(prepared: Prepared, *, known: Economics = PRIOR, seed: int = 0) -> list[Policy]:
    """The router's policy for every session, with what the other half of the sessions taught.

    That is `economics_of`, and how often a choice that is judged call by call stays the same.
    Sessions of one task stay in one half.
    """
    sessions = prepared.sessions
    tasks = sorted({session.request_id for session in sessions})
    order = np.random.default_rng(seed).permutation(len(tasks))
    half = {tasks[int(task)]: place % 2 for place, task in enumerate(order)}
    halves = np.array([half[session.request_id] for session in sessions])
    by_call = play(prepared, within_locks(greedy_with_caches))
    learned = []
    for number in (0, 1):
        others = [s for s, own in zip(sessions, halves, strict=True) if own != number]
        is_other = halves[by_call.session] != number
        learned.append(
            RouterPolicy(
                economics_of(others, known=known),
                p_stays_fit=_stay_share(by_call.is_switch[is_other], len(others)),
            )
        )
    return [learned[own] for own in halves]


def _stay_share(is_switch: NDArray[np.bool_], n_sessions: int) -> float:
    """Share of the calls after a session's first that did not switch; the known value counts too.

    It counts as `PRIOR_SESSIONS` such calls.
    """
    n_after = max(0, len(is_switch) - n_sessions)
    n_stayed = max(0, n_after - int(is_switch.sum()))
    return (PRIOR_SESSIONS * P_STAYS_FIT + n_stayed) / (PRIOR_SESSIONS + n_after)


def _moved(known: Horizon, by_session: Sequence[Sequence[int]]) -> Horizon:
    """A horizon shrunk to the known one; every session counts once, by its mean."""
    n = len(by_session)
    if n == 0:
        return known
    means = np.array([np.mean(left) for left in by_session])
    seconds = np.array([np.mean([t * (t + 1) / 2 for t in left]) for left in by_session])
    anys = np.array([np.mean([t >= 1 for t in left]) for left in by_session])
    weight = n / (n + PRIOR_SESSIONS)

    def shrunk(values: Floats, before: float) -> float:
        return weight * float(values.mean()) + (1.0 - weight) * before

    turns = shrunk(means, known.turns)
    error = _Z * float(means.std(ddof=1)) / n**0.5 if n > 1 else turns
    return Horizon(
        turns=turns,
        low=max(0.0, turns - error),
        high=turns + error,
        second=shrunk(seconds, known.second),
        p_any=shrunk(anys, known.p_any),
        n=n,
    )


def _gap_shares(gaps: Floats) -> tuple[float, ...]:
    return tuple(float(np.mean(gaps <= edge)) for edge in GAP_EDGES_S)
