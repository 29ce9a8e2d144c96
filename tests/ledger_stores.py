"""The stores of the ledger, each as a way to open it several times over, and who talks to them."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from valkey_server import ValkeyServer, shared_server

from router_serving.ledger.sqlite_store import SqliteStore
from router_serving.ledger.types import (
    Account,
    Balance,
    Batch,
    Bill,
    Charge,
    Committed,
    Grant,
    Hold,
    LedgerStore,
    Unit,
)
from router_serving.ledger.valkey_store import ValkeyStore

# Opens one more store on the same ledger, as another process would.
Opener = Callable[[], LedgerStore]
# A new, empty ledger for one test; the folder is the test's own. Skips where it is not available.
Ledger = Callable[[Path], AbstractContextManager[Opener]]

NOW = 1_800_000_000.0
HOLD_S = 900.0
DAY = NOW + 86_400.0


@contextmanager
def opening(make: Callable[[], LedgerStore]) -> Iterator[Opener]:
    """Opens stores, and closes all of them at the end."""
    with ExitStack() as stack:

        def opened() -> LedgerStore:
            store = make()
            stack.callback(store.close)
            return store

        yield opened


def sqlite_ledger(folder: Path) -> AbstractContextManager[Opener]:
    """A file that several stores open."""
    return opening(lambda: SqliteStore(folder / "ledger.sqlite"))


def valkey_ledger(folder: Path) -> AbstractContextManager[Opener]:
    """A prefix of its own on a server that several stores talk to; the folder is not needed."""
    url = f"{shared_server().url}?prefix={secrets.token_hex(8)}"
    return opening(lambda: ValkeyStore(url))


LEDGERS: Mapping[str, Ledger] = {"sqlite": sqlite_ledger, "valkey": valkey_ledger}


class Process:
    """One serving process as the ledger sees it: what it says, batch by batch."""

    def __init__(self, opener: Opener, name: str) -> None:
        self.name = name
        self.store = opener()
        self.number = 0

    def say(self, *, at: float = NOW, **parts: Any) -> Committed:
        """The answer to one batch."""
        return self.store.commit(self.batch(at=at, **parts))

    def batch(self, *, at: float = NOW, **parts: Any) -> Batch:
        """The next batch, not sent yet."""
        self.number += 1
        return Batch(worker=self.name, now_s=at, hold_s=HOLD_S, number=self.number, **parts)

    def lease(self, account: Account, amount: int, *, at: float = NOW) -> int:
        """What was granted."""
        (granted,) = self.say(at=at, grants=(Grant(account=account, amount=amount),)).granted
        return granted

    def reserve(
        self, decision_id: str, *charges: Charge, at: float = NOW, expires_s: float | None = None
    ) -> Committed:
        """Lease what a decision needs and hold it, in two batches."""
        self.say(at=at, grants=tuple(Grant(account=c.account, amount=c.amount) for c in charges))
        return self.say(at=at, holds=(hold(decision_id, *charges, at=at, expires_s=expires_s),))

    def balance(self, account: Account) -> Balance:
        """The account as this process reads it."""
        return self.store.balances([account.key])[account.key]


def valkey_process(server: ValkeyServer, name: str = "a", *, query: str = "") -> Process:
    """A process that talks to a server of the test's own."""
    return Process(lambda: ValkeyStore(server.url + query), name)


def account(name: str = "day", *, cap: int = 100, unit: Unit = "microusd", **rest: Any) -> Account:
    """An account of tenant acme."""
    rest = {"ends_s": DAY} | rest
    return Account(key=f"{unit}|tenant:acme|{name}", unit=unit, cap=cap, **rest)


def hold(
    decision_id: str, *charges: Charge, at: float = NOW, expires_s: float | None = None
) -> Hold:
    """A hold of tenant acme."""
    ends = at + HOLD_S if expires_s is None else expires_s
    return Hold(tenant="acme", decision_id=decision_id, charges=charges, expires_s=ends)


def bill(
    decision_id: str,
    microusd: int,
    *,
    attempt: int = 0,
    is_final: bool = True,
    unreserved: tuple[Account, ...] = (),
    **amounts: int,
) -> Bill:
    """A bill of tenant acme."""
    return Bill(
        tenant="acme",
        decision_id=decision_id,
        attempt=attempt,
        amounts={"microusd": microusd, **amounts},  # type: ignore[dict-item]  # names of units
        is_final=is_final,
        unreserved=unreserved,
    )
