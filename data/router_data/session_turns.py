"""The calls of the main loop of every logged session, in order."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data.store import Store

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.object_]

# Side calls are no turns. Imported outcomes are single requests, not sessions. Of several
# attempts the last one with a bill counts, which is the one that answered.
_TURNS = """
    with calls as (
        select d.tenant, d."session", d.decision_id, d.ts_ms, d.input_tokens,
               coalesce(d.step_type, 'main') as step_type, d.model, d.snapshot, d.candidates,
               d.requested_model, d.policy, d.reason
        from decisions_until($1) d
        anti join (from quarantine_until($1) where kind = 'decision') q
            on q.tenant = d.tenant and q.decision_id = d.decision_id
        where d.dataset is null and d."session" is not null and d.ts_ms is not null
            and coalesce(d.step_type, 'main') in ('main', 'tool_result')
            and d.tenant = coalesce($2, d.tenant)
    ),
    bills as (
        select o.tenant, o.decision_id, arg_max(o.model, o.attempt) as model,
               arg_max(o."usage", o.attempt) as used
        from outcomes_until($1) o
        where o."usage".input_tokens > 0
        group by o.tenant, o.decision_id
    ),
    billed as (
        select c.*, b.used,
               coalesce(
                   model_served(
                       b.model, c.model, c.snapshot, c.requested_model, c.policy, c.reason
                   ),
                   c.model
               ) as served,
               from_json(c.candidates, '[{"model": "VARCHAR", "cached_tokens": "DOUBLE"}]')
                   as options
        from calls c
        left join bills b on b.tenant = c.tenant and b.decision_id = c.decision_id
    )
    select tenant, "session", step_type, served as model, ts_ms,
           input_tokens::double as input_tokens, used.input_tokens::double as billed_tokens,
           used.cached_tokens::double as cached_tokens,
           list_filter(options, lambda x: x.model = billed.served)[1].cached_tokens::double
               as expected_tokens
    from billed
    order by tenant, "session", ts_ms, decision_id
"""
_LATEST = "select max(ts_ms) as latest from decisions_until(?) where dataset is null"


@dataclass(frozen=True)
class SessionTurns:
    """Columns of length n, ordered by session and time; NaN is "not known".

    `session` is a number, `turn` counts its calls from 0 on, `remaining` those that came after.
    `model` is the one that answered. `input_tokens` are as estimated before the call,
    `billed_tokens` and `cached_tokens` as billed, `expected_tokens` what the model was expected to
    have in its cache. `latest_ms` is the time of the last live decision of any kind.
    """

    session: Ints
    turn: Ints
    remaining: Ints
    step_type: Texts
    model: Texts
    ts_ms: Ints
    input_tokens: Floats
    billed_tokens: Floats
    cached_tokens: Floats
    expected_tokens: Floats
    latest_ms: int

    @property
    def n(self) -> int:
        """How many calls there are."""
        return len(self.session)

    @property
    def n_sessions(self) -> int:
        """How many sessions there are."""
        return int(self.session[-1]) + 1 if self.n else 0


def load_session_turns(
    state: Path, *, tenant: str | None = None, until_ms: int | None = None
) -> SessionTurns:
    """The turns of a state or log folder written before `until_ms`; what is quarantined is out."""
    with Store(state) as store:
        found = store.arrays(_TURNS, (until_ms, tenant))
        latest = store.query(_LATEST, (until_ms,))[0]["latest"]
    session, turn, remaining = _counted(found["tenant"], found["session"])
    amounts: dict[str, Any] = {
        name: found[name].astype(np.float64)
        for name in ("input_tokens", "billed_tokens", "cached_tokens", "expected_tokens")
    }
    return SessionTurns(
        session=session,
        turn=turn,
        remaining=remaining,
        step_type=found["step_type"].astype(object),
        model=found["model"].astype(object),
        ts_ms=found["ts_ms"].astype(np.int64),
        latest_ms=int(latest or 0),
        **amounts,
    )


def _counted(tenant: Texts, session: Texts) -> tuple[Ints, Ints, Ints]:
    """Number of the session, turn, and turns to come, of rows that are ordered by session."""
    n = len(session)
    is_first = np.ones(n, dtype=bool)
    if n:
        is_first[1:] = (tenant[1:] != tenant[:-1]) | (session[1:] != session[:-1])
    number = np.cumsum(is_first) - 1
    starts = np.flatnonzero(is_first)
    ends = np.append(starts[1:], n) - 1
    place = np.arange(n)
    turn = place - starts[number] if n else place
    remaining = ends[number] - place if n else place
    return number.astype(np.int64), turn.astype(np.int64), remaining.astype(np.int64)
