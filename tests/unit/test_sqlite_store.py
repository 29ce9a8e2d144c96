import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledger_stores import NOW, Process, account, bill, hold

from router_serving.errors import LedgerError
from router_serving.ledger.sqlite_batch import DUE_AT_ONCE
from router_serving.ledger.sqlite_store import SCHEMA, SqliteStore
from router_serving.ledger.types import KEPT_S, Balance, Charge, Count

DAY = account()
DAY_S = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def a(path: Path) -> Iterator[Process]:
    process = Process(lambda: SqliteStore(path), "a")
    yield process
    process.store.close()


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(sql).fetchall()
        connection.commit()
        return found


def until_full(process: Process) -> tuple[int, str]:
    """How many holds were acknowledged before one was refused, and why it was."""
    for n in range(1000):
        try:
            process.say(holds=(hold(f"d{n}", Charge(DAY, 1)),))
        except LedgerError as error:
            return n, str(error)
    raise AssertionError("never full")


def test_every_commit_waits_for_the_disk(path: Path) -> None:
    store = SqliteStore(path)
    with store._transaction() as connection:
        assert connection.execute("pragma synchronous").fetchone() == (2,)
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    store.close()


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    SqliteStore(path).close()
    rows(path, f"pragma user_version = {SCHEMA + 1}")
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: schema 2, expected at most 1"):
        SqliteStore(path)
    assert rows(path, "pragma user_version") == [(SCHEMA + 1,)]


def test_a_file_that_is_no_ledger_is_refused_by_name(path: Path) -> None:
    path.write_text("this is not a database, but long enough to be taken for one" * 100)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: file is not a database"):
        SqliteStore(path)


def test_a_file_whose_schema_is_no_text_any_more_is_refused(path: Path) -> None:
    # SQLite quotes the damaged statement in its message, which then is no UTF-8.
    SqliteStore(path).close()
    content = path.read_bytes()
    at = content.index(b"CREATE TABLE") + 1
    path.write_bytes(content[:at] + b"\xe4" + content[at + 1 :])
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: "):
        SqliteStore(path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="unable to open database file"):
        SqliteStore(tmp_path / "nowhere" / "ledger.sqlite")


def test_a_failed_commit_leaves_nothing_and_the_next_one_works(a: Process, path: Path) -> None:
    a.lease(DAY, 50)
    rows(path, "create trigger t before insert on decision begin select raise(fail, 'no'); end")
    batch = a.batch(returns=(Charge(DAY, 10),), holds=(hold("d", Charge(DAY, 20)),))
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: no; nothing was written"):
        a.store.commit(batch)
    assert a.balance(DAY) == Balance(leased=50)
    rows(path, "drop trigger t")
    a.store.commit(batch)
    assert a.balance(DAY) == Balance(leased=20, held=20)


def test_a_full_disk_refuses_and_heals(a: Process, path: Path) -> None:
    a.lease(account(cap=10**9), 10**6)
    store = a.store
    assert isinstance(store, SqliteStore)
    with store._transaction() as connection:
        (pages,) = connection.execute("pragma page_count").fetchone()
        connection.execute(f"pragma max_page_count = {pages + 2}")
    n, why = until_full(a)
    assert n > 0
    assert why.endswith("ledger.sqlite: database or disk is full; nothing was written")
    assert a.balance(DAY).held == n
    # the bound was the connection's, which is a new one by now
    a.say(holds=(hold("healed", Charge(DAY, 1)),))
    assert a.balance(DAY).held == n + 1


def test_a_full_file_system_refuses_and_heals(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system may not be mounted here")
    try:
        a = Process(lambda: SqliteStore(folder / "ledger.sqlite"), "a")
        a.lease(account(cap=10**9), 10**6)
        filler = folder / "filler"
        filler.write_bytes(b"x" * 100_000)
        n, why = until_full(a)
        assert why.endswith("full; nothing was written")
        assert a.balance(DAY).held == n
        filler.unlink()
        a.say(holds=(hold("healed", Charge(DAY, 1)),))
        assert a.balance(DAY).held == n + 1
        a.store.close()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_ledger_that_stays_locked_is_told(
    a: Process, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_serving.ledger.sqlite_store.BUSY_S", 0.05)
    a.say()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(LedgerError, match="locked"):
            a.say()
        assert a.balance(DAY) == Balance()
        other.execute("rollback")
    assert a.lease(DAY, 5) == 5


def test_a_record_that_is_not_understood_is_an_error_of_the_ledger(a: Process, path: Path) -> None:
    a.reserve("d", Charge(DAY, 20))
    rows(path, "update decision set record = '{'")
    with pytest.raises(LedgerError, match=r"ledger\.sqlite"):
        a.say(bills=(bill("d", 1),))
    assert a.balance(DAY) == Balance(held=20)


def test_a_closed_store_opens_again_when_it_is_used(a: Process) -> None:
    a.lease(DAY, 5)
    a.store.close()
    assert a.balance(DAY) == Balance(leased=5)


def test_settled_decisions_are_deleted_after_a_week_a_bit_at_a_time(a: Process, path: Path) -> None:
    n = DUE_AT_ONCE + 10
    a.lease(account(cap=10**6), n)
    names = [f"d{i}" for i in range(n)]
    holds = tuple(hold(name, Charge(account(cap=10**6), 1)) for name in names)
    a.say(holds=holds, bills=tuple(bill(name, 1) for name in names))
    a.say(at=NOW + KEPT_S - 1)
    assert rows(path, "select count(*) from decision") == [(n,)]
    a.say(at=NOW + KEPT_S + 1)
    assert rows(path, "select count(*) from decision") == [(10,)]
    a.say(at=NOW + KEPT_S + 1)
    assert rows(path, "select count(*) from decision") == [(0,)]
    assert a.balance(DAY) == Balance(settled=n)


def test_accounts_are_deleted_when_nothing_can_ask_for_them(a: Process, path: Path) -> None:
    kinds = [account(unit=unit, cap=100) for unit in ("requests", "tokens", "microusd")]
    for one in kinds:
        a.lease(one, 10)

    def kept(at: float) -> list[str]:
        a.say(at=at)
        units = rows(path, "select key from account order by key")
        assert rows(path, "select account from lease order by account") == units
        return [key.partition("|")[0] for (key,) in units]

    end = DAY.ends_s
    # the process says something often enough for its leases to live on
    for at in range(int(NOW), int(end), 800):
        a.say(at=float(at))
    assert kept(end + 59) == ["microusd", "requests", "tokens"]
    assert kept(end + 61) == ["microusd", "tokens"]
    for day in range(60):
        rows(path, f"update worker set lapses_s = {end + (day + 3) * DAY_S}")
        expected = ["microusd", "tokens"] if day < 1 else ["microusd"]
        assert kept(end + day * DAY_S + 62) == expected
    assert kept(end + 59 * DAY_S + 100) == ["microusd"]
    rows(path, f"update worker set lapses_s = {end + 99 * DAY_S}")
    assert kept(end + 60 * DAY_S + 1) == []


def test_a_bill_for_an_account_that_was_deleted_does_no_harm(a: Process) -> None:
    minute = account("minute", unit="tokens", cap=100, ends_s=NOW)
    a.reserve("d", Charge(minute, 20), expires_s=NOW + 9 * DAY_S)
    a.say(at=NOW + 2 * DAY_S)
    assert a.balance(minute) == Balance()
    (billed,) = a.say(at=NOW + 2 * DAY_S, bills=(bill("d", 0, tokens=15),)).billed
    assert billed.status == "settled"
    assert a.balance(minute) == Balance()


def test_counts_are_deleted_after_an_hour_or_nine_weeks(a: Process, path: Path) -> None:
    minute = int(NOW // 60)
    a.say(counts=(Count(subject="all", minute=minute, calls=1),))

    def kept(at: float) -> list[int]:
        a.say(at=at)
        return [minutes for (minutes,) in rows(path, "select minutes from tally order by 1")]

    assert kept(NOW + 3600) == [1, 60]
    assert kept(NOW + 3660) == [60]
    assert kept(NOW + 63 * DAY_S) == [60]
    assert kept(NOW + 63 * DAY_S + 60) == []


def test_leased_and_held_are_the_sums_of_their_rows(a: Process, path: Path) -> None:
    a.reserve("d", Charge(DAY, 20))
    a.reserve("e", Charge(DAY, 30))
    a.lease(DAY, 13)
    a.say(bills=(bill("d", 5, is_final=False), bill("e", 30)))
    assert rows(path, "select sum(amount) from lease") == [(13,)]
    held = "select sum(value ->> 'held') from decision, json_each(record, '$.lines')"
    assert rows(path, held) == [(15,)]
    assert a.balance(DAY) == Balance(settled=35, held=15, leased=13)


def test_threads_may_share_a_store(a: Process) -> None:
    def ask() -> None:
        for _ in range(20):
            assert a.store.balances([DAY.key])
            a.store.claim("notice", until_s=4e9)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        a.lease(DAY, 1)
    for thread in threads:
        thread.join()
    assert a.balance(DAY) == Balance(leased=20)


def _lease_one_by_one(path: Path, name: str) -> None:
    process = Process(lambda: SqliteStore(path), name)
    for _ in range(20):
        process.lease(DAY, 1)
    process.store.close()


def test_processes_may_open_a_new_file_at_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_lease_one_by_one, args=(path, f"p{i}")) for i in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 6
    store = SqliteStore(path)
    assert store.balances([DAY.key]) == {DAY.key: Balance(leased=100)}
    store.close()


def test_the_tables_come_with_the_package() -> None:
    code = "import router_serving.ledger.sqlite_store as s; print(s.__file__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert (Path(found.stdout.strip()).parent / "ledger.sql").is_file()
