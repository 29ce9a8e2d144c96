"""One batch carried out inside one SQLite transaction, in the order of its steps."""

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from router_serving.errors import LedgerError
from router_serving.ledger import reckoning, sqlite_pace
from router_serving.ledger.reckoning import Decision
from router_serving.ledger.sqlite_books import Books
from router_serving.ledger.types import (
    GRACE_S,
    WANTED_S,
    Batch,
    Bill,
    Billed,
    Charge,
    Committed,
    Grant,
    Hold,
)

# What becomes due is worked off a bit at a time, so that no commit pauses for long.
DUE_AT_ONCE = 256

_WORKER = "select number, answer, lapses_s from worker where worker = ?"
_PUT_WORKER = """
insert into worker (worker, seen_s, lapses_s, number, answer) values (?, ?, ?, ?, ?)
on conflict do update set seen_s = excluded.seen_s, lapses_s = excluded.lapses_s,
number = excluded.number, answer = excluded.answer"""
_LAPSED = "select worker from worker where lapses_s < ?"
_LAPSED_LEASES = "select account, amount from lease where worker = ?"
_GIVE_BACK = "update account set leased = max(0, leased - ?) where key = ?"
_END_LEASES = "delete from lease where worker = ?"
_END_WORKER = "delete from worker where worker = ?"
_WANTED = "select account from lease where worker = ? and wanted_s > 0 and wanted_s > ?"


def carry_out(connection: sqlite3.Connection, batch: Batch) -> Committed:
    """The answer to a batch; the last one again where its number says that it was lost."""
    row = connection.execute(_WORKER, (batch.worker,)).fetchone()
    if row and batch.number and batch.number <= row[0]:
        if batch.number == row[0]:
            return msgspec.json.decode(row[1], type=Committed)
        raise LedgerError(f"batch: number {batch.number} of {batch.worker} came after {row[0]}")
    _lapse(connection, batch.now_s)
    answer = _Carrying(connection, batch).answered()
    sqlite_pace.add(connection, batch.counts)
    wanted = connection.execute(_WANTED, (batch.worker, batch.now_s)).fetchall()
    answer = replace(
        answer,
        wanted=frozenset(key for (key,) in wanted),
        is_new=row is None or row[2] < batch.now_s,
    )
    lapses_s = batch.now_s + batch.hold_s
    encoded = msgspec.json.encode(answer) if batch.number else b""
    connection.execute(_PUT_WORKER, (batch.worker, batch.now_s, lapses_s, batch.number, encoded))
    return answer


def _lapse(connection: sqlite3.Connection, now_s: float) -> None:
    """End the leases of processes that were silent for too long."""
    for (worker,) in connection.execute(_LAPSED, (now_s,)).fetchall():
        leases = connection.execute(_LAPSED_LEASES, (worker,)).fetchall()
        connection.executemany(_GIVE_BACK, [(amount, key) for key, amount in leases])
        connection.execute(_END_LEASES, (worker,))
        connection.execute(_END_WORKER, (worker,))


class _Carrying:
    """The steps of one batch."""

    def __init__(self, connection: sqlite3.Connection, batch: Batch) -> None:
        self._batch = batch
        self._books = Books(connection, batch.worker)
        self._kept: list[Charge] = []
        self._waited: list[Billed] = []
        self._n_expired = 0

    def answered(self) -> Committed:
        batch = self._batch
        self._work_off()
        for charge in batch.returns:
            self._books.returned(charge.account, charge.amount)
        for hold in batch.holds:
            self._hold(hold)
        billed = [self._bill(bill) for bill in batch.bills]
        granted = [self._grant(grant) for grant in batch.grants]
        self._books.write()
        return Committed(
            granted=tuple(granted),
            kept=tuple(self._kept),
            billed=(*billed, *self._waited),
            n_expired=self._n_expired,
        )

    def _work_off(self) -> None:
        """Do what happens by itself: holds expire, bills have waited, the old is forgotten."""
        now_s = self._batch.now_s
        limit = DUE_AT_ONCE + 2 * len(self._batch.holds)
        for tenant, decision_id, decision in self._books.due(now_s, limit=limit):
            after: Decision | None = None
            if decision.state == "open":
                after = reckoning.expired(decision, now_s=now_s)
                self._n_expired += 1
            elif decision.state == "waiting":
                after = reckoning.unmatched(decision, now_s=now_s)
                self._waited += [reckoning.answer(after, bill) for bill in after.bills]
                for line in after.lines:
                    self._books.draw(line.account, line.settled, silent_since_s=now_s - GRACE_S)
            self._books.record(tenant, decision_id, after)

    def _hold(self, hold: Hold) -> None:
        before = self._books.decision(hold.tenant, hold.decision_id)
        if before is None or before.state == "waiting":
            self._reserve(Decision(state="open", due_s=hold.expires_s), hold)
            bills = before.bills if before else ()
            self._waited += [self._bill(bill) for bill in bills]
        elif before.is_billed:
            self._keep(hold.charges)
        else:
            self._reserve(before, hold)

    def _reserve(self, before: Decision, hold: Hold) -> None:
        """Move what the decision needs from the lease, and keep what it does not."""
        decision = reckoning.raised(reckoning.reopened(before, hold), hold.charges)
        amounts = {charge.account.key: charge for charge in hold.charges}
        lines = []
        for line in decision.lines:
            charge = amounts.get(line.account.key)
            if charge is not None:
                needed = reckoning.needed(line)
                self._keep([Charge(charge.account, charge.amount - needed)])
                line = reckoning.secured(line, self._secure(charge, needed))
            lines.append(line)
        after = replace(decision, lines=tuple(lines))
        self._books.record(hold.tenant, hold.decision_id, after)

    def _secure(self, charge: Charge, needed: int) -> int:
        """What may be held: out of the lease, then as far as the cap allows."""
        account = charge.account
        if account.is_soft:
            return needed
        free = self._books.free(account)
        leased = min(needed, charge.amount, self._books.leased(account))
        self._books.lease(account, -leased)
        return leased + min(needed - leased, free)

    def _keep(self, charges: Sequence[Charge]) -> None:
        self._kept += [c for c in charges if c.amount > 0 and not c.account.is_soft]

    def _bill(self, bill: Bill) -> Billed:
        now_s = self._batch.now_s
        before = self._books.decision(bill.tenant, bill.decision_id)
        if before is None:
            before = reckoning.waiting(now_s=now_s)
        elif before.state != "waiting" and reckoning.is_repeated(before, bill):
            return Billed(
                tenant=bill.tenant,
                decision_id=bill.decision_id,
                attempt=bill.attempt,
                status="repeated",
            )
        after = reckoning.with_bill(before, bill, now_s=now_s)
        self._books.record(bill.tenant, bill.decision_id, after)
        return reckoning.answer(after, bill)

    def _grant(self, grant: Grant) -> int:
        account = grant.account
        if account.is_soft:
            return 0
        granted = min(grant.amount, self._books.free(account))
        self._books.lease(account, granted)
        if granted < grant.amount:
            self._books.wish(account, until_s=self._batch.now_s + WANTED_S)
        return granted
