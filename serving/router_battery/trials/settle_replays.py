"""Bills come ten times, out of order, and after their window's end: each is settled once, there."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec import Struct

from router_battery.trial import NotRunError, Scale, Tried, not_zero
from router_battery.valkeys import valkey
from router_model.types import Caller
from router_serving.ledger.limits import AccountBook, Limits
from router_serving.ledger.sqlite_store import SqliteStore
from router_serving.ledger.types import Batch, Bill, Charge, Grant, Hold, LedgerStore

BERLIN = ZoneInfo("Europe/Berlin")
LIMITS = Limits(
    microusd_per_hour=10**12, microusd_per_day=10**12, microusd_per_month=10**12, zone=BERLIN
)
TIMES = 10
HOLD_S = 10 * 86_400.0
# A few seconds before each, decisions are made; bills come until a day after.
BOUNDARIES = (
    datetime(2026, 6, 16, tzinfo=BERLIN),  # midnight
    datetime(2026, 7, 1, tzinfo=BERLIN),  # the end of a month
    datetime(2027, 1, 1, tzinfo=BERLIN),  # and of a year
    datetime(2026, 3, 29, 3, tzinfo=BERLIN),  # clocks are put forward
    datetime(2026, 10, 25, 2, fold=1, tzinfo=BERLIN),  # and back
)
Opener = Callable[[], LedgerStore]


class Call(Struct, frozen=True):
    """A decision with its accounts and the bills of its attempts."""

    decided_s: float
    hold: Hold
    bills: tuple[Bill, ...]


def run(scale: Scale, folder: Path) -> Tried:
    """Both stores of the ledger, with several processes and reopened now and then."""
    n_calls = scale.of(200, 30)
    rng = random.Random(scale.seed)
    rounds = [
        [_call(f"d{boundary:%m%d}-{n}", boundary.timestamp(), rng) for n in range(n_calls)]
        for boundary in sorted(BOUNDARIES)
    ]
    calls = [call for some in rounds for call in some]
    tried: dict[str, int | float | str] = {
        "decisions": len(calls),
        "bills": sum(len(call.bills) for call in calls),
        "times each": TIMES,
        "boundaries": len(BOUNDARIES),
    }
    seen: dict[str, int | float | str] = {}
    amiss = {}
    for name, ledger in (("sqlite", _sqlite), ("valkey", _valkey)):
        scale.say(name)
        try:
            with ledger(folder) as opener:
                wrong = _replayed(opener, rounds, random.Random(scale.seed + 1))
        except NotRunError as reason:
            seen[f"{name}: not run"] = str(reason)
            continue
        seen[f"{name}: accounts"] = wrong.n_accounts
        seen[f"{name}: accounts settled amiss"] = wrong.n_amiss
        seen[f"{name}: accounts with something held"] = wrong.n_held
        amiss[f"accounts_of_{name}_amiss"] = wrong.n_amiss + wrong.n_held
    return Tried(tried=tried, seen=seen, failed=not_zero(**amiss))


class Wrong(Struct, frozen=True):
    """How many accounts there are, and how many of them are not as they should be."""

    n_accounts: int
    n_amiss: int
    n_held: int


def _call(decision_id: str, boundary_s: float, rng: random.Random) -> Call:
    decided_s = boundary_s + rng.uniform(-30.0, 5.0)
    limited = AccountBook().of(Caller(tenant="acme"), LIMITS, now_s=decided_s)
    amount = rng.randrange(100, 10_000)
    failed = rng.randrange(0, amount // 2) if rng.random() < 0.3 else None
    hold = Hold(
        tenant="acme",
        decision_id=decision_id,
        charges=tuple(Charge(one.account, amount) for one in limited),
        expires_s=decided_s + HOLD_S,
    )
    last = Bill(
        tenant="acme",
        decision_id=decision_id,
        attempt=0 if failed is None else 1,
        amounts={"microusd": rng.randrange(0, amount // 2)},
        is_final=True,
    )
    if failed is None:
        return Call(decided_s, hold, (last,))
    first = Bill(
        tenant="acme",
        decision_id=decision_id,
        attempt=0,
        amounts={"microusd": failed},
        is_final=False,
    )
    return Call(decided_s, hold, (first, last))


def _replay(opener: Opener, calls: list[Call], rng: random.Random) -> None:
    for call in sorted(calls, key=lambda call: call.decided_s):
        store = opener()
        grants = tuple(Grant(account=c.account, amount=c.amount) for c in call.hold.charges)
        store.commit(_batch(call.decided_s, grants=grants))
        store.commit(_batch(call.decided_s, holds=(call.hold,)))
    events = [bill for call in calls for bill in call.bills for _ in range(TIMES)]
    rng.shuffle(events)
    last_s = max(call.decided_s for call in calls)
    for start in range(0, len(events), 50):
        bills = tuple(events[start : start + 50])
        opener().commit(_batch(last_s + rng.uniform(0.0, 86_400.0), bills=bills))


def _replayed(opener: Opener, rounds: list[list[Call]], rng: random.Random) -> Wrong:
    """Each round is looked at before the next: accounts that ended long ago are forgotten."""
    expected: Counter[str] = Counter()
    n_accounts = n_amiss = n_held = 0
    for calls in rounds:
        _replay(opener, calls, rng)
        keys = {charge.account.key for call in calls for charge in call.hold.charges}
        for call in calls:
            total = sum(bill.amounts["microusd"] for bill in call.bills)
            expected.update({charge.account.key: total for charge in call.hold.charges})
        found = opener().balances(sorted(keys))
        n_accounts += len(keys)
        n_amiss += sum(found[key].settled != expected[key] for key in keys)
        n_held += sum(found[key].held != 0 for key in keys)
    return Wrong(n_accounts, n_amiss, n_held)


def _batch(
    now_s: float,
    *,
    grants: tuple[Grant, ...] = (),
    holds: tuple[Hold, ...] = (),
    bills: tuple[Bill, ...] = (),
) -> Batch:
    return Batch(
        worker="battery", now_s=now_s, hold_s=HOLD_S, grants=grants, holds=holds, bills=bills
    )


@contextmanager
def _sqlite(folder: Path) -> Iterator[Opener]:
    with _reopened(lambda: SqliteStore(folder / "ledger.sqlite")) as opener:
        yield opener


@contextmanager
def _valkey(folder: Path) -> Iterator[Opener]:
    from router_serving.ledger.valkey_store import ValkeyStore

    with valkey(folder / "valkey") as server:
        url = f"valkey://127.0.0.1:{server.port}/0"
        with _reopened(lambda: ValkeyStore(url)) as opener:
            yield opener


@contextmanager
def _reopened(make: Opener) -> Iterator[Opener]:
    """An opener that gives the same store for a while, then closes it and opens another."""
    stores = [make()]
    count = 0

    def opened() -> LedgerStore:
        nonlocal count
        count += 1
        if count % 100 == 0:
            stores.pop().close()
            stores.append(make())
        return stores[-1]

    try:
        yield opened
    finally:
        stores.pop().close()
