"""A ledger whose processes are killed in the middle of a commit."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ledger_spender import BUDGET, COST
from ledger_stores import HOLD_S, NOW, Process, bill
from paths import REPO

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
