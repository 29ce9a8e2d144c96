"""Processes that lease, decide, bill, die and have wrong clocks never spend more than a cap."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_stores import HOLD_S, LEDGERS, NOW, Ledger, Process, account, bill, hold

from router_serving.ledger.types import Balance, Batch, Bill, Charge, Committed, Grant, Hold

ACCOUNTS = (account("day", cap=100), account("month", cap=150))
which = st.integers(0, 2)
amounts = st.integers(1, 60)


@dataclass
class Worker:
    """A process, with what it may give away from memory and what it has not written yet."""

    process: Process
    free: dict[str, int] = field(default_factory=lambda: {one.key: 0 for one in ACCOUNTS})
    unwritten: list[Hold] = field(default_factory=list)


class Laws(RuleBasedStateMachine):
    """Every bill stays within its hold, so that only what the contract names may exceed a cap.

    That is counted in `excess`: bills that are late or without a hold, corrections upwards after
    the end, and holds out of a lease that had lapsed. A tidy run bills only what was written,
    corrects nothing upwards after the end, and its clock stays near enough for nothing to expire.
    """

    def __init__(self, ledger: Ledger, *, is_tidy: bool) -> None:
        super().__init__()
        self.is_tidy = is_tidy
        self.stack = ExitStack()
        folder = self.stack.enter_context(TemporaryDirectory())
        self.opener = self.stack.enter_context(ledger(Path(folder)))
        self.n_born = 0
        self.workers = [self.born() for _ in range(3)]
        self.now_s = self.latest_s = NOW
        self.reserved: dict[str, int] = {}
        self.written: dict[str, int] = {}
        self.ended = set[str]()
        self.bills: dict[str, dict[int, Bill]] = {}
        self.excess = 0

    def born(self) -> Worker:
        self.n_born += 1
        return Worker(Process(self.opener, f"worker {self.n_born}"))

    @rule(i=which, amount=amounts)
    def lease(self, i: int, amount: int) -> None:
        worker = self.workers[i]
        grants = tuple(Grant(account=one, amount=amount) for one in ACCOUNTS)
        self.sent(worker, worker.process.batch(at=self.now_s, grants=grants))

    @rule(i=which, amount=amounts, pick=st.none() | st.integers(0, 3), is_written=st.booleans())
    def decide(self, i: int, amount: int, pick: int | None, is_written: bool) -> None:
        """Reserve for a new decision, or for a recent one again."""
        worker = self.workers[i]
        amount = min(amount, *worker.free.values())
        if not amount:
            return
        known = list(self.reserved)[-4:]
        name = f"d{len(self.reserved)}" if pick is None or not known else known[pick % len(known)]
        for one in ACCOUNTS:
            worker.free[one.key] -= amount
        self.reserved[name] = min(amount, self.reserved.get(name, amount))
        charges = (Charge(one, amount) for one in ACCOUNTS)
        worker.unwritten.append(hold(name, *charges, at=self.now_s))
        if is_written:
            self.write(i, 0, is_lost=False)

    @rule(i=which, returned=st.integers(0, 30), is_lost=st.booleans())
    def write(self, i: int, returned: int, is_lost: bool) -> None:
        worker = self.workers[i]
        returned = min(returned, *worker.free.values())
        for one in ACCOUNTS:
            worker.free[one.key] -= returned
        batch = worker.process.batch(
            at=self.now_s,
            returns=tuple(Charge(one, returned) for one in ACCOUNTS if returned),
            holds=tuple(worker.unwritten),
        )
        worker.unwritten = []
        self.sent(worker, batch, is_lost=is_lost)

    @precondition(lambda self: self.reserved)
    @rule(
        i=which,
        pick=st.integers(0, 99),
        attempt=st.integers(0, 2),
        amount=st.one_of(st.just(60), st.integers(0, 60)),
        is_final=st.booleans(),
        is_lost=st.booleans(),
    )
    def bill(
        self, i: int, pick: int, attempt: int, amount: int, is_final: bool, is_lost: bool
    ) -> None:
        name = sorted(self.reserved)[pick % len(self.reserved)]
        if self.is_tidy and name not in self.written:
            return
        bills = self.bills.setdefault(name, {})
        reserved = self.written[name] if self.is_tidy else self.reserved[name]
        others = sum(self.cost(old) for n, old in bills.items() if n != attempt)
        amount = min(amount, max(0, reserved - others))
        one = bill(name, amount, attempt=attempt, is_final=is_final, unreserved=ACCOUNTS)
        if name in self.ended:  # also where the bill that ended it was corrected since
            more = amount - (self.cost(bills[attempt]) if attempt in bills else 0)
            if self.is_tidy and more > 0:
                return
            self.excess += max(0, more)
        bills[attempt] = one
        if is_final:
            self.ended.add(name)
        worker = self.workers[i]
        self.sent(worker, worker.process.batch(at=self.now_s, bills=(one,)), is_lost=is_lost)

    @rule(i=which)
    def die(self, i: int) -> None:
        self.workers[i] = self.born()

    @rule(seconds=st.one_of(st.integers(-10, 10), st.integers(-2000, 2000)))
    def jump(self, seconds: int) -> None:
        self.now_s += max(-3, min(seconds, 3)) if self.is_tidy else seconds
        self.latest_s = max(self.latest_s, self.now_s)

    def spend_all(self) -> None:
        """Let every process give away and bill whatever it thinks that it has."""
        for i, worker in enumerate(self.workers):
            self.lease(i, 1000)
            self.decide(i, min(worker.free.values()), pick=None, is_written=True)
        for pick in range(len(self.reserved)):
            self.bill(0, pick, 2, 1000, is_final=True, is_lost=False)
        self.no_cap_is_exceeded()

    def sent(self, worker: Worker, batch: Batch, *, is_lost: bool = False) -> Committed:
        answer = worker.process.store.commit(batch)
        for one in batch.holds:
            self.was_written(one)
        if is_lost:
            assert worker.process.store.commit(batch) == answer
        if answer.is_new:
            worker.free = dict.fromkeys(worker.free, 0)
            self.excess += sum(one.charges[0].amount for one in batch.holds)
            self.excess += sum(one.charges[0].amount for one in worker.unwritten)
        else:
            for charge in answer.kept:
                worker.free[charge.account.key] += charge.amount
        for grant, granted in zip(batch.grants, answer.granted, strict=True):
            worker.free[grant.account.key] += granted
        for billed in answer.billed:
            if billed.status in ("late", "unmatched"):
                self.excess += self.cost(self.bills[billed.decision_id][billed.attempt])
        return answer

    def was_written(self, one: Hold) -> None:
        """Remember what may be billed: after the final bill nothing more is held."""
        before = self.written.setdefault(one.decision_id, 0)
        if not any(old.is_final for old in self.bills.get(one.decision_id, {}).values()):
            self.written[one.decision_id] = max(before, one.charges[0].amount)

    @staticmethod
    def cost(one: Bill) -> int:
        return one.amounts["microusd"]

    @invariant()
    def no_cap_is_exceeded(self) -> None:
        balances = self.workers[0].process.store.balances([one.key for one in ACCOUNTS])
        for one in ACCOUNTS:
            balance = balances[one.key]
            assert min(balance.settled, balance.held, balance.leased) >= 0
            assert balance.used <= one.cap + self.excess

    def teardown(self) -> None:
        """In the end nothing is held or leased, and each bill is settled, once."""
        with self.stack:
            self.spend_all()
            last = self.born().process
            last.say(at=self.latest_s + 3 * HOLD_S)
            total = sum(self.cost(one) for bills in self.bills.values() for one in bills.values())
            for one in ACCOUNTS:
                assert last.balance(one) == Balance(settled=total)


@pytest.mark.parametrize("is_tidy", [True, False], ids=["tidy", "untidy"])
@pytest.mark.parametrize("name", sorted(LEDGERS))
def test_no_cap_is_exceeded_whatever_processes_and_clocks_do(name: str, is_tidy: bool) -> None:
    class Here(Laws):
        def __init__(self) -> None:
            super().__init__(LEDGERS[name], is_tidy=is_tidy)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=40 if name == "sqlite" else 20,  # the other syncs each batch apart
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
