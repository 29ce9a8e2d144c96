"""Counts of calls and spending by minute and hour in SQLite, and the pace they show."""

import json
import sqlite3
from collections.abc import Sequence

from router_serving.ledger.types import Count, Pace

HOUR_MINUTES = 60
WEEK_MINUTES = 7 * 24 * HOUR_MINUTES
WEEKS = 8
# Minutes are only asked for at once; hours as long as their weeks are compared with.
KEPT_MINUTES = {1: HOUR_MINUTES, HOUR_MINUTES: (WEEKS + 1) * WEEK_MINUTES}

_ADD = """
insert into tally (subject, minutes, start, calls, microusd) values (?, ?, ?, ?, ?)
on conflict do update set calls = calls + excluded.calls, microusd = microusd + excluded.microusd"""
# By their exact starts: a subject has over a thousand hours, of which eight are compared with.
_GET = """
select start, calls, microusd from tally
where subject = ? and minutes = ? and start in (select value from json_each(?))"""
_PRUNE = """
delete from tally where rowid in
(select rowid from tally where minutes = ? and start < ? limit ?)"""


def add(connection: sqlite3.Connection, counts: Sequence[Count]) -> None:
    """Add counts to their minutes and hours."""
    rows = []
    for count in counts:
        for minutes in KEPT_MINUTES:
            start = count.minute // minutes * minutes
            rows.append((count.subject, minutes, start, count.calls, count.microusd))
    connection.executemany(_ADD, rows)


def prune(connection: sqlite3.Connection, *, now_s: float, limit: int) -> None:
    """Delete some of the counts that nothing is compared with any more."""
    for minutes, kept in KEPT_MINUTES.items():
        connection.execute(_PRUNE, (minutes, int(now_s // 60) - kept, limit))


def pace(connection: sqlite3.Connection, subject: str, *, now_s: float) -> Pace:
    """A subject's last 60 seconds and its usual minute in this hour of the week."""
    minute = int(now_s // 60)
    recent = _found(connection, subject, 1, [minute - 1, minute])
    hour = minute // HOUR_MINUTES * HOUR_MINUTES
    earlier = [hour - week * WEEK_MINUTES for week in range(1, WEEKS + 1)]
    usual = _found(connection, subject, HOUR_MINUTES, earlier).values()
    past_s = now_s - 60 * minute
    calls, microusd = (
        now + int(before * (60 - past_s) / 60)
        for now, before in zip(
            recent.get(minute, (0, 0)), recent.get(minute - 1, (0, 0)), strict=True
        )
    )
    n = len(usual)
    return Pace(
        calls=calls,
        microusd=microusd,
        usual_calls=sum(calls for calls, _ in usual) / HOUR_MINUTES / max(1, n),
        usual_microusd=sum(microusd for _, microusd in usual) / HOUR_MINUTES / max(1, n),
        n_weeks=n,
    )


def _found(
    connection: sqlite3.Connection, subject: str, minutes: int, starts: Sequence[int]
) -> dict[int, tuple[int, int]]:
    rows = connection.execute(_GET, (subject, minutes, json.dumps(starts)))
    return {start: (calls, microusd) for start, calls, microusd in rows}
