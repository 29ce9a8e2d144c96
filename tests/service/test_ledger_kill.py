"""A ledger whose processes are killed in the middle of a commit."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from kept_ledgers import ROUTER, balance_of, call, ledger_in
from ledger_spender import BUDGET, COST
from ledger_stores import HOLD_S, NOW, Process, bill
from ledger_victim import one_call
from paths import REPO

from router_model.types import Outcome
from router_serving.errors import LimitExceededError
from router_serving.ledger.sqlite_store import SqliteStore
from router_serving.ledger.types import Balance

pytestmark = pytest.mark.service

N_KILLS = 10


def spender(path: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(REPO / "tests" / "ledger_spender.py"), str(path), name]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def acknowledged(process: subprocess.Popen[str], *, kill_after: int) -> list[str]:
    """What the process said before it was killed, and in the moment of it."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(kill_after)]
    process.kill()
    lines += process.stdout.readlines()
    process.stdout.close()
    process.wait(30)
    return [line.strip() for line in lines if line.endswith("\n")]


def test_nothing_acknowledged_is_lost_when_processes_are_killed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    said: list[str] = []
    other = spender(path, "other")  # lives through all of it
    for i in range(N_KILLS):
        said += acknowledged(spender(path, f"p{i}"), kill_after=5 + 7 * i)
        witness = Process(lambda: SqliteStore(path), f"witness {i}")
        balance = witness.balance(BUDGET)
        assert balance.used <= BUDGET.cap
        assert balance.settled >= COST * len(said)
        witness.store.close()
    said += acknowledged(other, kill_after=1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    witness = Process(lambda: SqliteStore(path), "witness")
    again = witness.say(bills=tuple(bill(decision, COST) for decision in said))
    assert {billed.status for billed in again.billed} == {"repeated"}
    witness.say(at=NOW + 2 * HOLD_S)
    balance = witness.balance(BUDGET)
    # each of the killed may have had one bill that it could not tell of any more
    assert len(said) <= balance.settled / COST <= len(said) + N_KILLS + 1
    assert balance == Balance(settled=balance.settled)
    witness.store.close()


def test_a_bill_that_comes_as_its_unwritten_hold_would_expire_is_still_covered(
    tmp_path: Path,
) -> None:
    hold_s = 3.0
    victim = str(REPO / "tests" / "ledger_victim.py")
    subprocess.run([sys.executable, victim, str(tmp_path), str(hold_s)], check=False)
    killed_s = time.monotonic()

    async def test() -> None:
        limits = one_call()
        cap = limits.microusd_per_month
        assert cap is not None
        async with ledger_in(tmp_path, workers=2, hold_s=hold_s) as ledger:
            assert (await balance_of(ledger, "microusd_per_month", limits=limits)).leased == cap
            await asyncio.sleep(max(0.0, hold_s - 1.0 - (time.monotonic() - killed_s)))
            outcome = Outcome(decision_id="d1", model="large", cost_usd=cap / 1e6)
            await ledger.settle(
                [(outcome, "acme")], limits_of=lambda _: limits, catalog=ROUTER.catalog
            )
            balance = Balance()
            while not balance.settled:
                with pytest.raises(LimitExceededError):
                    await call(ledger, "d2", limits=limits)
                balance = await balance_of(ledger, "microusd_per_month", limits=limits)
                assert balance.used <= cap
            assert balance == Balance(settled=cap)

    asyncio.run(test())
