"""The accounts, leases and decisions that one batch touches, inside one SQLite transaction."""

import sqlite3
from collections.abc import Sequence

import msgspec

from router_serving.ledger.reckoning import Decision
from router_serving.ledger.types import Account, Unit

# Beyond the end of its window an account is kept for corrections and reports; requests are never
# settled, so that nothing is left to correct.
ACCOUNT_KEPT_S: dict[Unit, float] = {
    "requests": 60.0,
    "tokens": 86_400.0,
    "microusd": 60 * 86_400.0,
}

_ACCOUNT = "select settled, held, leased from account where key = ?"
_PUT_ACCOUNT = """
insert into account (key, settled, held, leased, kept_until_s) values (?, ?, ?, ?, ?)
on conflict do update
set settled = excluded.settled, held = excluded.held, leased = excluded.leased"""
_LEASE = "select amount from lease where account = ? and worker = ?"
_PUT_LEASE = """
insert into lease (account, worker, amount) values (?, ?, ?)
on conflict do update set amount = excluded.amount"""
_END_LEASE = "delete from lease where account = ? and worker = ?"
_GRANTED_WISH = "update lease set wanted_s = 0 where account = ? and worker = ?"
_WISH = "update lease set wanted_s = ? where account = ? and worker <> ?"
_SILENT = """
select worker, amount from lease join worker using (worker)
where account = ? and worker <> ? and seen_s < ? order by seen_s, worker"""
_DECISION = "select record from decision where tenant = ? and decision_id = ?"
_PUT_DECISION = """
insert into decision (tenant, decision_id, due_s, record) values (?, ?, ?, ?)
on conflict do update set due_s = excluded.due_s, record = excluded.record"""
_FORGET = "delete from decision where tenant = ? and decision_id = ?"
_DUE = """
select tenant, decision_id, record from decision where due_s < ? order by due_s limit ?"""

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Decision).decode


class Entry(msgspec.Struct):
    """An account's amounts, changed in memory and written with the batch."""

    kept_until_s: float
    settled: int = 0
    held: int = 0
    leased: int = 0


class Books:
    """Reads each row once, changes it in memory, and writes what changed at the end.

    Needs a transaction that keeps other writers out from the first read to the last write.
    """

    def __init__(self, connection: sqlite3.Connection, worker: str) -> None:
        self._connection = connection
        self._worker = worker
        self._accounts: dict[str, Entry] = {}
        self._leases: dict[str, int] = {}
        self._returned: set[str] = set()
        self._decisions: dict[tuple[str, str], Decision | None] = {}
        self._changed: set[tuple[str, str]] = set()

    def free(self, account: Account) -> int:
        """What nobody has of an account."""
        entry = self._entry(account)
        return max(0, account.cap - entry.settled - entry.held - entry.leased)

    def lease(self, account: Account, amount: int) -> None:
        """Add to the lease of the batch's process; a negative amount ends a part of it."""
        self._leases[account.key] = self.leased(account) + amount
        self._entry(account).leased += amount

    def leased(self, account: Account) -> int:
        """The lease of the batch's process."""
        if account.key not in self._leases:
            row = self._connection.execute(_LEASE, (account.key, self._worker)).fetchone()
            self._leases[account.key] = row[0] if row else 0
        return self._leases[account.key]

    def returned(self, account: Account, amount: int) -> None:
        """End a part of the lease, and the wish that others had for it."""
        self.lease(account, -min(amount, self.leased(account)))
        self._returned.add(account.key)

    def wish(self, account: Account, *, until_s: float) -> None:
        """Let all others that have a lease of the account know that it is wanted."""
        self._connection.execute(_WISH, (until_s, account.key, self._worker))

    def draw(self, account: Account, amount: int, *, silent_since_s: float) -> None:
        """End leases of processes that said nothing since, up to an amount."""
        found = self._connection.execute(_SILENT, (account.key, self._worker, silent_since_s))
        for worker, leased in found.fetchall():
            drawn = min(amount, leased)
            amount -= drawn
            self._entry(account).leased -= drawn
            self._put_leases([(account.key, worker, leased - drawn)])

    def decision(self, tenant: str, decision_id: str) -> Decision | None:
        """What is recorded of a decision."""
        name = (tenant, decision_id)
        if name not in self._decisions:
            row = self._connection.execute(_DECISION, name).fetchone()
            self._decisions[name] = _decode(row[0]) if row else None
        return self._decisions[name]

    def due(self, now_s: float, *, limit: int) -> list[tuple[str, str, Decision]]:
        """Decisions whose time has come, the earliest first; ask before any is changed."""
        found = []
        for tenant, decision_id, record in self._connection.execute(_DUE, (now_s, limit)):
            decision = _decode(record)
            self._decisions[tenant, decision_id] = decision
            found.append((tenant, decision_id, decision))
        return found

    def record(self, tenant: str, decision_id: str, decision: Decision | None) -> None:
        """Replace a decision, None forgets it; accounts follow the difference of its lines."""
        before = self.decision(tenant, decision_id)
        for line in before.lines if before and decision else ():
            entry = self._entry(line.account)
            # a row that was deleted for its age begins anew at zero
            entry.settled = max(0, entry.settled - line.settled)
            entry.held = max(0, entry.held - line.held)
        for line in decision.lines if decision else ():
            entry = self._entry(line.account)
            entry.settled += line.settled
            entry.held += line.held
        self._decisions[tenant, decision_id] = decision
        self._changed.add((tenant, decision_id))

    def write(self) -> None:
        """Write everything that changed."""
        accounts = [
            (key, entry.settled, entry.held, entry.leased, entry.kept_until_s)
            for key, entry in self._accounts.items()
        ]
        self._connection.executemany(_PUT_ACCOUNT, accounts)
        self._put_leases([(key, self._worker, n) for key, n in self._leases.items()])
        self._connection.executemany(_GRANTED_WISH, [(key, self._worker) for key in self._returned])
        for name in self._changed:
            decision = self._decisions[name]
            if decision is None:
                self._connection.execute(_FORGET, name)
            else:
                row = (*name, decision.due_s, _encode(decision))
                self._connection.execute(_PUT_DECISION, row)

    def _put_leases(self, rows: Sequence[tuple[str, str, int]]) -> None:
        self._connection.executemany(_PUT_LEASE, [row for row in rows if row[2]])
        self._connection.executemany(_END_LEASE, [row[:2] for row in rows if not row[2]])

    def _entry(self, account: Account) -> Entry:
        entry = self._accounts.get(account.key)
        if entry is None:
            kept_until_s = account.ends_s + ACCOUNT_KEPT_S[account.unit]
            row = self._connection.execute(_ACCOUNT, (account.key,)).fetchone()
            entry = Entry(kept_until_s, *(row or ()))
            self._accounts[account.key] = entry
        return entry
