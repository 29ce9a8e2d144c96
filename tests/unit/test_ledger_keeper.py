"""The keeper over stores that fail: what is in doubt is said again, and nothing twice."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from router_serving.errors import LedgerError
from router_serving.ledger.keeper import MAX_COUNTS, Keeper
from router_serving.ledger.sqlite_store import SqliteStore
from router_serving.ledger.types import (
    Account,
    Balance,
    Batch,
    Bill,
    Charge,
    Committed,
    Count,
    Grant,
    Hold,
)

DAY = Account(key="microusd|tenant:acme|day|x", unit="microusd", cap=1_000, ends_s=4e9)


class Faulty(SqliteStore):
    """A real store whose answers get lost, or that fails beforehand, as often as is said."""

    n_lost = 0
    n_failing = 0
    is_poisoned = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[Batch] = []

    def commit(self, batch: Batch) -> Committed:
        self.batches.append(batch)
        if self.is_poisoned:
            self.is_poisoned = False
            raise ZeroDivisionError
        if self.n_failing:
            self.n_failing -= 1
            raise LedgerError("can't be reached")
        answer = super().commit(batch)
        if self.n_lost:
            self.n_lost -= 1
            raise LedgerError("the answer was lost")
        return answer


class Kept:
    """A keeper at work, and what it was told."""

    def __init__(self, folder: Path) -> None:
        self.store = Faulty(folder / "ledger.sqlite")
        self.granted = 0
        self.failures: list[str] = []
        self.keeper = Keeper(
            self.store,
            hold_s=60.0,
            clock=lambda: 1_000.0,
            committed=self._committed,
            failed=lambda error: self.failures.append(str(error)),
        )

    def _committed(self, batch: Batch, committed: Committed) -> None:
        self.granted += sum(committed.granted)

    async def __aenter__(self) -> "Kept":
        self._task = asyncio.create_task(self.keeper.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.keeper.close()
        await self._task
        await self.keeper.shut()

    async def balance(self) -> Balance:
        def ask(store: object) -> Mapping[str, Balance]:
            keys: Sequence[str] = [DAY.key]
            return self.store.balances(keys)

        return (await self.keeper.off_loop(ask))[DAY.key]


def hold(decision_id: str, amount: int) -> Hold:
    charges = (Charge(DAY, amount),)
    return Hold(tenant="acme", decision_id=decision_id, charges=charges, expires_s=5_000.0)


def bill(decision_id: str, amount: int) -> Bill:
    return Bill(
        tenant="acme",
        decision_id=decision_id,
        attempt=0,
        amounts={"microusd": amount},
        is_final=True,
    )


def test_a_grant_whose_answer_was_lost_is_taken_in_when_it_is_said_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with Kept(tmp_path) as kept:
            kept.store.n_lost = 1
            with pytest.raises(LedgerError, match="lost"):
                await kept.keeper.grant((Grant(account=DAY, amount=100),))
            assert kept.keeper.last_error is not None
            assert await kept.keeper.grant((Grant(account=DAY, amount=50),)) == (50,)
            assert kept.keeper.last_error is None
            assert kept.granted == 150  # the first 100 as well
            assert (await kept.balance()).leased == 150

    asyncio.run(test())


def test_holds_outlive_a_store_that_can_not_be_reached(tmp_path: Path) -> None:
    async def test() -> None:
        async with Kept(tmp_path) as kept:
            await kept.keeper.grant((Grant(account=DAY, amount=100),))
            kept.store.n_failing = 3
            for n in range(3):
                kept.keeper.hold(hold(f"d{n}", 10))
                await asyncio.sleep(0.05)
            kept.keeper.hold(hold("d3", 10))
            kept.keeper.look()
            for _ in range(500):
                balance = await kept.balance()
                if balance.held == 40:
                    break
                await asyncio.sleep(0.02)
            assert balance == Balance(held=40, leased=60)
            assert len(kept.failures) == 3

    asyncio.run(test())


def test_a_bill_that_was_told_to_have_failed_is_settled_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with Kept(tmp_path) as kept:
            await kept.keeper.grant((Grant(account=DAY, amount=100),))
            kept.keeper.hold(hold("d", 80))
            kept.store.n_lost = 1
            with pytest.raises(LedgerError):
                await kept.keeper.bill((bill("d", 30),))
            (billed,) = await kept.keeper.bill((bill("d", 30),))
            assert billed.status == "repeated"
            assert (await kept.balance()).settled == 30

    asyncio.run(test())


def test_a_batch_that_nobody_foresaw_is_lost_and_the_next_one_is_not(tmp_path: Path) -> None:
    async def test() -> None:
        async with Kept(tmp_path) as kept:
            kept.store.is_poisoned = True
            with pytest.raises(LedgerError, match="ZeroDivisionError"):
                await kept.keeper.grant((Grant(account=DAY, amount=100),))
            assert await kept.keeper.grant((Grant(account=DAY, amount=100),)) == (100,)

    asyncio.run(test())


def test_after_its_end_nothing_is_taken_any_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with Kept(tmp_path) as kept:
            kept.keeper.hold(hold("d", 0))
            kept.keeper.close()
            with pytest.raises(LedgerError, match="shutting down"):
                await kept.keeper.grant((Grant(account=DAY, amount=100),))

    asyncio.run(test())


def test_of_the_counts_that_wait_for_a_store_the_newest_are_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with Kept(tmp_path) as kept:
            kept.store.n_failing = 1
            kept.keeper.look()
            while not kept.failures:
                await asyncio.sleep(0.01)
            for minute in range(MAX_COUNTS + 10):
                kept.keeper.count([Count(subject="all", minute=minute, calls=1)])
            await kept.keeper.grant((Grant(account=DAY, amount=1),))
            said = kept.store.batches[-1].counts
            assert len(said) == MAX_COUNTS
            assert said[-1].minute == MAX_COUNTS + 9

    asyncio.run(test())
