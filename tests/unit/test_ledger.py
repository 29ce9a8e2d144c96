"""Calls admitted, decided and settled by ledgers on a real file."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from kept_ledgers import (
    ACME,
    DAY,
    ROUTER,
    balance_of,
    call,
    deciding,
    ledger_in,
    worst,
)
from msgspec import structs

from router_model.terms import Allowance
from router_model.types import Caller, Outcome, Usage
from router_serving.errors import LedgerError, LimitExceededError
from router_serving.ledger.ledger import Ledger
from router_serving.ledger.limits import Limits
from router_serving.ledger.sqlite_store import SqliteStore
from router_serving.ledger.types import Balance, Batch, Bill, Committed, Switch, Unit


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


async def settle(ledger: Ledger, *outcomes: Outcome, limits: Limits = DAY) -> None:
    await ledger.settle(
        [(outcome, "acme") for outcome in outcomes],
        limits_of=lambda _: limits,
        catalog=ROUTER.catalog,
    )


async def held(ledger: Ledger, amount: int) -> Balance:
    """The day's balance, once so much is written as held."""
    for _ in range(500):
        balance = await balance_of(ledger, "microusd_per_day")
        if balance.held == amount:
            return balance
        await asyncio.sleep(0.02)
    raise AssertionError(f"held {balance.held}, expected {amount}")


def test_a_call_reserves_the_worst_case_of_its_model_and_its_outcome_settles_the_cost(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            decision = await call(ledger, "d1")
            before = await held(ledger, worst(decision))
            assert before.settled == 0
            await settle(ledger, Outcome(decision_id="d1", model=decision.model, cost_usd=0.0001))
            after = await balance_of(ledger, "microusd_per_day")
            assert (after.settled, after.held) == (100, 0)
        async with ledger_in(tmp_path) as ledger:
            left = await balance_of(ledger, "microusd_per_day")
            assert left == Balance(settled=100)

    run(test)


def test_calls_are_rerouted_while_something_fits_and_then_refused_with_a_time(
    tmp_path: Path,
) -> None:
    first = deciding("d")(None)
    cap = worst(first) * 7 // 2
    limits = structs.replace(DAY, microusd_per_day=cap)

    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            reserved, models = 0, []
            with pytest.raises(LimitExceededError) as caught:  # noqa: PT012  # the last of many
                for n in range(1_000):
                    decision = await call(ledger, f"d{n}", limits=limits)
                    reserved += worst(decision)
                    models.append(decision.model)
            assert caught.value.limit == "microusd_per_day"
            assert caught.value.retry_after_s is not None
            assert 1 <= caught.value.retry_after_s <= 5  # what is held may come back
            assert "tenant acme: budget of the day" in str(caught.value)
            assert reserved <= cap
            assert models[0] == first.model
            assert len(set(models)) > 1

    run(test)


def test_after_an_outcome_gives_money_back_the_next_call_has_it(tmp_path: Path) -> None:
    async def test() -> None:
        first = deciding("d")(None)
        limits = structs.replace(DAY, microusd_per_day=worst(first))
        async with ledger_in(tmp_path) as ledger:
            decision = await call(ledger, "d1", limits=limits)
            assert decision.model == first.model
            with pytest.raises(LimitExceededError):
                await call(ledger, "d2", limits=limits)
            outcome = Outcome(decision_id="d1", model=first.model, cost_usd=0.0)
            await settle(ledger, outcome, limits=limits)
            assert (await call(ledger, "d3", limits=limits)).model == first.model

    run(test)


def test_calls_a_minute_and_tokens_a_minute_are_refused_until_it_ends(tmp_path: Path) -> None:
    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            rpm = Limits(rpm=2)
            for n in range(2):
                await call(ledger, f"r{n}", limits=rpm)
            with pytest.raises(LimitExceededError) as caught:
                await call(ledger, "r3", limits=rpm)
            assert caught.value.limit == "rpm"
            assert caught.value.retry_after_s is not None
            assert 1 <= caught.value.retry_after_s <= 60
            with pytest.raises(LimitExceededError) as caught:
                await call(ledger, "t1", limits=Limits(tpm=1))
            assert caught.value.limit == "tpm"
            assert caught.value.retry_after_s is None  # it fits in no minute
            assert "of 1 are left" in str(caught.value)

    run(test)


def test_processes_share_a_cap_and_what_one_does_not_need_goes_to_the_other(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        limits = Limits(rpm=6)
        async with (
            ledger_in(tmp_path, workers=2) as one,
            ledger_in(tmp_path, workers=2) as other,
        ):
            n_admitted = 0
            for n in range(10):
                try:
                    await call((one, other)[n % 2], f"d{n}", limits=limits)
                except LimitExceededError:
                    continue
                n_admitted += 1
            assert n_admitted == 6

    run(test)


def test_a_user_over_the_soft_cap_is_known_as_such_and_never_stopped(tmp_path: Path) -> None:
    async def test() -> None:
        limits = Limits(user_microusd_per_month=100)
        async with ledger_in(tmp_path) as ledger:
            admission = await ledger.admitted(ACME, limits)
            assert not admission.is_over_soft_cap
            await admission.decided(deciding("d1"))
            await settle(ledger, Outcome(decision_id="d1", model="m", cost_usd=1.0), limits=limits)
            for _ in range(500):
                if (await ledger.admitted(ACME, limits)).is_over_soft_cap:
                    break
                await asyncio.sleep(0.02)
            else:
                pytest.fail("never over the cap")
            assert (await call(ledger, "d2", limits=limits)).model

    run(test)


def test_a_switch_stops_a_caller_and_nobody_else(tmp_path: Path) -> None:
    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            switch = Switch(subject="tenant:acme", reason="a loop", since_s=1.0)
            await ledger.ask(lambda store: store.switch_on(switch))
            await ledger.ask(ledger.switches.refresh)
            with pytest.raises(LimitExceededError, match="a loop"):
                await ledger.admitted(ACME, Limits())
            await ledger.admitted(Caller(tenant="other"), Limits())

    run(test)


def test_a_store_that_fails_refuses_what_has_hard_caps_and_recovers(tmp_path: Path) -> None:
    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            decision = await call(ledger, "d1")
            await held(ledger, worst(decision))
            blocking = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
            blocking.execute("drop table account")  # what no process does
            with pytest.raises(LedgerError):
                await call(ledger, "d2", limits=structs.replace(DAY, microusd_per_day=5_000_000))
            with pytest.raises(LedgerError):
                await settle(ledger, Outcome(decision_id="d1", model="m", cost_usd=0.1))
            assert ledger.last_error is not None
            assert (await call(ledger, "d3", limits=Limits())).model
            blocking.close()

    run(test)


def test_usage_settles_tokens_too(tmp_path: Path) -> None:
    limits = Limits(tpm=100_000)

    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            decision = await call(ledger, "d1", limits=limits)
            usage = Usage(input_tokens=50, output_tokens=7)
            outcome = Outcome(decision_id="d1", model=decision.model, usage=usage)
            await settle(ledger, outcome, limits=limits)
            balance = await balance_of(ledger, "tpm", limits=limits)
            assert (balance.settled, balance.held) == (57, 0)

    run(test)


def test_calls_are_rerouted_while_bills_of_others_are_settled_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = SqliteStore.commit

    def with_a_bill(store: SqliteStore, batch: Batch) -> Committed:
        amounts: dict[Unit, int] = {"microusd": 0}
        bill = Bill(
            tenant="other", decision_id=str(batch.number), attempt=0, amounts=amounts, is_final=True
        )
        return commit(store, structs.replace(batch, bills=(*batch.bills, bill)))

    monkeypatch.setattr(SqliteStore, "commit", with_a_bill)
    cap = 2 * worst(deciding("d")(None)) - 1
    limits = structs.replace(DAY, microusd_per_day=cap)

    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            models = [(await call(ledger, f"d{n}", limits=limits)).model for n in range(3)]
            assert len(set(models)) > 1

    run(test)


def test_a_cap_that_was_lowered_holds_at_once_also_for_what_was_leased_before(
    tmp_path: Path,
) -> None:
    reserved = worst(deciding("d")(None))
    high = Limits(rpm=6_400, microusd_per_day=reserved * 640)

    async def test() -> None:
        async with ledger_in(tmp_path, workers=2) as ledger:
            await call(ledger, "d1", limits=high)
            low = Limits(rpm=6_400, microusd_per_day=reserved)
            with pytest.raises(LimitExceededError):
                await call(ledger, "d2", limits=low)
            await held(ledger, reserved)
            for n in range(9):  # and one that was raised at once, too
                assert (await call(ledger, f"r{n}", limits=high)).model
            with pytest.raises(LimitExceededError) as caught:
                await call(ledger, "d3", limits=structs.replace(high, rpm=5))
            assert caught.value.limit == "rpm"

    run(test)


@pytest.mark.parametrize("n_calls", range(1, 13))
def test_at_the_end_all_that_was_leased_is_returned_also_what_was_asked_for_last(
    tmp_path: Path, n_calls: int
) -> None:
    limits = Limits(microusd_per_day=worst(deciding("d")(None)) * 640)

    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            for n in range(n_calls):  # after some of these more is leased ahead
                await call(ledger, f"d{n}", limits=limits)
        async with ledger_in(tmp_path) as ledger:
            balance = await balance_of(ledger, "microusd_per_day", limits=limits)
            assert balance.held == n_calls * worst(deciding("d")(None))
            assert balance.leased == 0

    run(test)


def test_a_call_that_exceeds_the_whole_budget_is_never_tried_again(tmp_path: Path) -> None:
    cheapest = worst(deciding("d")(Allowance(left_microusd=600, budget="")))
    limits = Limits(microusd_per_day=cheapest - 1, microusd_per_month=10 * cheapest)

    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            with pytest.raises(LimitExceededError) as caught:
                await call(ledger, "d1", limits=limits)
            assert (caught.value.limit, caught.value.retry_after_s) == ("microusd_per_day", None)
            assert f"may cost up to ${cheapest / 1e6:.6f}" in str(caught.value)
            assert "max_tokens" in str(caught.value)

    run(test)


def test_the_next_try_is_far_off_where_nothing_can_come_back(tmp_path: Path) -> None:
    cheapest = worst(deciding("d")(Allowance(left_microusd=600, budget="")))
    limits = Limits(microusd_per_month=2 * cheapest - 1)

    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            model = (await call(ledger, "d1", limits=limits)).model
            outcome = Outcome(decision_id="d1", model=model, cost_usd=cheapest / 1e6)
            await settle(ledger, outcome, limits=limits)
            for n in range(2):  # what is left lies with this process, and is not enough
                with pytest.raises(LimitExceededError) as caught:
                    await call(ledger, f"e{n}", limits=limits)
                assert caught.value.retry_after_s is not None
                assert caught.value.retry_after_s > 5

    run(test)


def test_a_switch_is_obeyed_also_after_a_look_that_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with ledger_in(tmp_path) as ledger:
            with monkeypatch.context() as patch:
                looks: list[SqliteStore] = []

                def broken(store: SqliteStore) -> list[Switch]:
                    looks.append(store)
                    raise ZeroDivisionError

                patch.setattr(SqliteStore, "switches", broken)
                while not looks:
                    await asyncio.sleep(0.02)
            switch = Switch(subject="tenant:acme", reason="a loop", since_s=1.0)
            await ledger.ask(lambda store: store.switch_on(switch))
            for _ in range(500):
                if ledger.switches.stopped_by(ACME) is not None:
                    break
                await asyncio.sleep(0.02)
            else:
                pytest.fail("never stopped")

    run(test)
