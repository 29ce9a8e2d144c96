"""What recorded sessions teach of sessions: turns to come, growth of the prefix, gaps.

`router_training.session_economics` learns the same from the log, hits of the cache included,
which recorded sessions of one model don't show for others; here those stay as they were known.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from msgspec.structs import replace

from router_model.economics import GAP_EDGES_S, PRIOR, TURN_EDGES, Economics, Horizon
from router_model.types import StepType
from router_training.recorded_sessions import RecordedSession
from router_training.session_policies import RouterPolicy
from router_training.session_replay import Floats, Policy

PRIOR_SESSIONS: Final = 10.0
"""As how many sessions the horizon counts that was known before."""
_Z: Final = 1.96


def economics_of(sessions: Sequence[RecordedSession], *, known: Economics = PRIOR) -> Economics:
    """`known`, moved towards what these sessions show; caches stay those of `known`."""
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
        n_sessions=len(sessions),
    )


def cross_fitted(
    sessions: Sequence[RecordedSession], *, known: Economics = PRIOR, seed: int = 0
) -> list[Policy]:
    """The router's policy for every session, with what the other half of the sessions taught.

    Sessions of one task stay in one half.
    """
    tasks = sorted({session.request_id for session in sessions})
    order = np.random.default_rng(seed).permutation(len(tasks))
    half = {tasks[int(task)]: place % 2 for place, task in enumerate(order)}
    halves = [half[session.request_id] for session in sessions]
    learned = [
        RouterPolicy(
            economics_of(
                [s for s, own in zip(sessions, halves, strict=True) if own != number], known=known
            )
        )
        for number in (0, 1)
    ]
    return [learned[own] for own in halves]


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
