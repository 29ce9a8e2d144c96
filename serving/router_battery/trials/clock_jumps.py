"""The clock jumps by hours and months, over midnight and the change of clocks, while bills come."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec import Struct

from router_battery.client import Connection
from router_battery.faketime import NOTICED_S, Clock, clock
from router_battery.servers import serving
from router_battery.spenders import Account, Spenders, account_when_there, request, tenants_file
from router_battery.trial import Scale, Tried, not_zero
from router_model.artifact import STARTER
from router_model.catalog import load_catalog
from router_serving.ledger.windows import window_of

BERLIN = ZoneInfo("Europe/Berlin")
TIMES = 10
CAP_USD = 5.0
# From, and by how much the clock jumps then.
JUMPS = (
    (datetime(2027, 6, 15, 23, 58, 0, tzinfo=BERLIN), timedelta(minutes=3)),
    (datetime(2027, 6, 30, 23, 58, 0, tzinfo=BERLIN), timedelta(hours=2)),
    (datetime(2027, 3, 28, 1, 58, 0, tzinfo=BERLIN), timedelta(minutes=3)),
    (datetime(2027, 10, 31, 2, 58, 0, tzinfo=BERLIN), timedelta(hours=30)),
    (datetime(2027, 6, 20, 12, 0, 0, tzinfo=BERLIN), timedelta(hours=-2)),
    (datetime(2027, 7, 20, 12, 0, 0, tzinfo=BERLIN), timedelta(days=-40)),
)


class Seen(Struct, frozen=True):
    """What came of one jump."""

    statuses: Counter[int]
    reported: int
    settled: int
    settled_elsewhere: int


def run(scale: Scale, folder: Path) -> Tried:
    """Decide, jump, report every outcome ten times in any order, jump back and look."""
    ticking = clock(folder)
    state = folder / "state"
    state.mkdir()
    (state / "tenants.toml").write_text(tenants_file(CAP_USD, timezone="Europe/Berlin"))
    jumps = JUMPS[: scale.of(6, 1)]
    settings = {"hold_s": "604800"}
    with serving(state, settings=settings, variables=ticking.variables) as server:
        found = []
        for number, (start, step) in enumerate(jumps):
            scale.say(f"{start:%d %B}")
            jump = _jump(server.port, ticking, start, step, seed=scale.seed + number)
            found.append(asyncio.run(jump))
        n_failed = server.events("request.failed")
        exit_code = server.stop()
    statuses = sum((each.statuses for each in found), Counter[int]())
    amiss = sum(abs(each.settled - each.reported) for each in found)
    elsewhere = sum(each.settled_elsewhere for each in found)
    return Tried(
        tried={
            "jumps": 2 * len(jumps),
            "times each outcome was sent": TIMES,
            **{f"status {status}": n for status, n in sorted(statuses.items())},
        },
        seen={
            "micro-dollars reported": sum(each.reported for each in found),
            "settled amiss in the window of the decision": amiss,
            "settled in the window of the report": elsewhere,
            "unexpected errors": n_failed,
        },
        failed=not_zero(
            micro_dollars_settled_amiss=amiss,
            micro_dollars_in_the_wrong_window=elsewhere,
            calls_failed=sum(n for status, n in statuses.items() if status != 200),
            unexpected_errors=n_failed,
            exit_code=exit_code,
        ),
    )


async def _jump(port: int, ticking: Clock, start: datetime, step: timedelta, *, seed: int) -> Seen:
    rng = random.Random(seed)
    spenders = Spenders([port], load_catalog(STARTER / "catalog.toml"), seed=seed)
    began_s = start.timestamp()
    connection = Connection(port)
    before = (await _account_at(port, ticking, began_s)).settled
    allowed = []
    for number in range(10):
        one = await spenders.ask(connection, f"j{seed}-{number}", request(seed=seed))
        if one is not None:
            allowed.append(one)
    await asyncio.sleep(1.0)  # the holds are written
    elsewhere = await _account_at(port, ticking, began_s + step.total_seconds())
    statuses = Counter[int]()
    reports = [one for one in allowed for _ in range(TIMES)]
    rng.shuffle(reports)
    for one in reports:
        statuses[int(await spenders.report(connection, one))] += 1
    moved = (await account_when_there(port)).settled - elsewhere.settled
    found = await _account_at(port, ticking, began_s)
    connection.close()
    reported = sum(spenders.cost(one) for one in allowed)
    moved = 0 if found.ends == elsewhere.ends else moved
    return Seen(statuses, reported, found.settled - before, moved)


async def _account_at(port: int, ticking: Clock, moment_s: float) -> Account:
    """Set the clock, and look at the budget of the day once the server knows."""
    ticking.set(moment_s)
    ends_s = window_of("day", BERLIN, moment_s).ends_s
    expected = f"{datetime.fromtimestamp(ends_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    await asyncio.sleep(NOTICED_S)
    async with asyncio.timeout(60.0):
        while (account := await account_when_there(port)).ends != expected:
            await asyncio.sleep(0.1)
    return account
