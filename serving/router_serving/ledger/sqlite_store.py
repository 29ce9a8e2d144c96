"""The ledger of one machine: an SQLite file that its processes share."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import msgspec

from router_serving.errors import LedgerError
from router_serving.ledger import sqlite_pace
from router_serving.ledger.sqlite_batch import carry_out
from router_serving.ledger.types import Balance, Batch, Committed, Pace, Switch

SCHEMA = 1
# How long one process waits for the others, and how often it asks.
BUSY_S = 5.0
POLL_S = 0.002
# What is old is deleted a bit at a time, so that no commit pauses for long.
PRUNED_AT_ONCE = 64

_BALANCES = """
select key, settled, held, leased from account where key in (select value from json_each(?))"""
_OLD_ACCOUNTS = "select key from account where kept_until_s < ? limit ?"
_SWITCHES = "select subject, reason, since_s from switch order by subject"
_SWITCH_ON = "insert or replace into switch (subject, reason, since_s) values (?, ?, ?)"
_SWITCH_OFF = "delete from switch where subject = ?"
_CLAIM = "insert or ignore into claim (notice, until_s) values (?, ?)"


class SqliteStore:
    """A LedgerStore in a file; one instance may be shared by threads.

    Every batch is one transaction, on the disk when `commit` returns (WAL, synchronous=FULL).
    After an error nothing of it is done, the file is opened anew, and the next call works if the
    cause is gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        with self._transaction():  # a file that can't be used is told at start
            pass

    def commit(self, batch: Batch) -> Committed:
        """Carry out a batch, durably, or not at all."""
        with self._transaction() as connection:
            answer = carry_out(connection, batch)
            sqlite_pace.prune(connection, now_s=batch.now_s, limit=PRUNED_AT_ONCE)
            _prune_accounts(connection, now_s=batch.now_s)
            return answer

    def balances(self, keys: Sequence[str]) -> Mapping[str, Balance]:
        """The accounts as they are; all zero for one that was never used."""
        encoded = msgspec.json.encode(list(keys)).decode()
        with self._transaction(writes=False) as connection:
            rows = connection.execute(_BALANCES, (encoded,)).fetchall()
        found = {key: Balance(settled=s, held=h, leased=n) for key, s, h, n in rows}
        return {key: found.get(key, Balance()) for key in keys}

    def pace(self, subject: str, *, now_s: float) -> Pace:
        """How a subject's last 60 seconds compare with the same hour of the weeks before."""
        with self._transaction(writes=False) as connection:
            return sqlite_pace.pace(connection, subject, now_s=now_s)

    def switches(self) -> Sequence[Switch]:
        """The switches that are on."""
        with self._transaction(writes=False) as connection:
            rows = connection.execute(_SWITCHES).fetchall()
        return [Switch(subject=subject, reason=why, since_s=since) for subject, why, since in rows]

    def switch_on(self, switch: Switch) -> None:
        """Stop a subject, for every process, until it is switched off."""
        with self._transaction() as connection:
            connection.execute(_SWITCH_ON, (switch.subject, switch.reason, switch.since_s))

    def switch_off(self, subject: str) -> bool:
        """Let a subject go on; False when it was not stopped."""
        with self._transaction() as connection:
            return connection.execute(_SWITCH_OFF, (subject,)).rowcount > 0

    def claim(self, notice: str, *, until_s: float) -> bool:
        """True for the first to claim a notice, until a time of the clock: it is sent once."""
        with self._transaction() as connection:
            connection.execute("delete from claim where until_s <= ?", (time.time(),))
            return connection.execute(_CLAIM, (notice, until_s)).rowcount > 0

    def close(self) -> None:
        """Give back the connection; leases lapse by themselves."""
        with self._lock:
            self._disconnect()

    @contextmanager
    def _transaction(self, *, writes: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction that is committed at the end, or leaves no trace."""
        with self._lock:
            is_done = False
            try:
                if self._connection is None:
                    self._connection = _connected(self.path)
                if writes:
                    _begin_writing(self._connection)
                else:
                    self._connection.execute("begin")
                yield self._connection
                self._connection.execute("commit")
                is_done = True
            # The message of an error in a damaged file may quote what is no text any more.
            except (sqlite3.Error, UnicodeDecodeError, msgspec.MsgspecError) as error:
                raise LedgerError(f"{self.path}: {error}; nothing was written") from error
            finally:
                if not is_done:
                    self._disconnect()

    def _disconnect(self) -> None:
        """Close the connection, which rolls back what is not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connected(path: Path) -> sqlite3.Connection:
    """A connection to the ledger in a file, which is made or brought up to date if need be."""
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        (schema,) = connection.execute("pragma user_version").fetchone()
        if schema > SCHEMA:
            raise LedgerError(
                f"{path}: schema {schema}, expected at most {SCHEMA}: a newer version wrote it"
            )
        if schema < SCHEMA:
            connection.executescript(
                resources.files("router_serving.ledger").joinpath("ledger.sql").read_text("utf-8")
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_writing(connection: sqlite3.Connection) -> None:
    """Begin a transaction as the only one that writes.

    SQLite's own waiting asks less and less often, so that some of many processes wait for
    seconds; asking evenly serves them about in turn.
    """
    deadline = time.monotonic() + BUSY_S
    connection.execute("pragma busy_timeout = 0")
    while True:
        try:
            connection.execute("begin immediate")
            break
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline:
                raise
        time.sleep(POLL_S)
    connection.execute(f"pragma busy_timeout = {BUSY_S * 1000:.0f}")


def _prune_accounts(connection: sqlite3.Connection, *, now_s: float) -> None:
    """Delete some of the accounts that are too old for anything, and what is leased of them."""
    old = connection.execute(_OLD_ACCOUNTS, (now_s, PRUNED_AT_ONCE)).fetchall()
    connection.executemany("delete from lease where account = ?", old)
    connection.executemany("delete from account where key = ?", old)
