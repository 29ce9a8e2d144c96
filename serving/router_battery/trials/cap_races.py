"""64 clients race four workers on one cap, with kills and hang-ups: it is never overspent."""

import asyncio
import os
import random
import signal
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from router_battery.servers import Server, serving
from router_battery.spenders import Spenders, account_of, account_when_there, poked, tenants_file
from router_battery.trial import Scale, Tried, not_zero
from router_model.artifact import STARTER
from router_model.catalog import load_catalog

N_CLIENTS = 64
SHORT_HOLD_S = 4.0
KILL_EVERY_S = 3.0


@dataclass
class Watched:
    """What a look at the account now and then saw."""

    n_looks: int = 0
    n_over: int = 0
    most_used: int = 0
    n_kills: int = 0
    problems: list[str] = field(default_factory=list)


def run(scale: Scale, folder: Path) -> Tried:
    """Race with holds that outlast everything; then abandon calls and see every hold given back."""
    workers = scale.of(4, 2)
    seconds = float(scale.of(60, 6))
    cap_usd = scale.of(100, 10) / 100
    catalog = load_catalog(STARTER / "catalog.toml")
    ports: list[int] = []
    spenders = Spenders(
        ports, catalog, n=scale.of(N_CLIENTS, 16), seed=scale.seed, hang_up_share=0.02
    )
    with _capped(folder / "race", cap_usd, workers=workers, hold_s=900.0) as server:
        ports.append(server.port)
        watched = asyncio.run(_race(server, spenders, seconds=seconds))
        after = asyncio.run(account_when_there(server.port))
    scale.say("abandoned calls")
    left = Spenders(ports=[], catalog=catalog, n=8, seed=scale.seed + 1, report_share=0.3)
    with _capped(folder / "left", cap_usd, workers=workers, hold_s=SHORT_HOLD_S) as server:
        left.ports.append(server.port)
        held_before, held, leased = asyncio.run(_abandoned(server, left, seconds=seconds / 6))
    spent = spenders.spent
    overspent = max(0, spent.paid - after.cap)
    return Tried(
        tried={
            "clients": spenders.n,
            "workers": workers,
            "workers killed": watched.n_kills,
            "calls allowed": spent.n_allowed,
            "calls refused (429)": spent.routes["429"],
            "calls hung up": spent.n_hung_up,
            "calls broken by a kill": sum(spent.routes[h] for h in ("unanswered", "half")),
            "abandoned calls": left.spent.n_allowed - left.spent.n_reported,
        },
        seen={
            "cap, micro-dollars": after.cap,
            "really spent": spent.paid,
            "overspent": overspent,
            "settled": after.settled,
            "settled beside what was reported": after.settled - spent.reported,
            "most settled + held + leased": watched.most_used,
            "looks over the cap": watched.n_over,
            "outcomes never taken": spent.n_open,
            "held while calls were abandoned": held_before,
            "held after their time": held,
            "leased after their time": leased,
        },
        failed=[
            *watched.problems[:3],
            *not_zero(
                micro_dollars_overspent=overspent,
                micro_dollars_settled_amiss=after.settled - spent.reported,
                looks_over_the_cap=watched.n_over,
                outcomes_never_taken=spent.n_open,
                micro_dollars_held_for_ever=held,
                micro_dollars_leased_for_ever=leased,
            ),
            *([] if spent.routes["429"] else ["the cap was never reached"]),
        ],
    )


def _capped(
    state: Path, cap_usd: float, *, workers: int, hold_s: float
) -> AbstractContextManager[Server]:
    state.mkdir()
    (state / "tenants.toml").write_text(tenants_file(cap_usd))
    settings = {"hold_s": str(hold_s)}
    return serving(state, "--workers", str(workers), settings=settings)


async def _race(server: Server, spenders: Spenders, *, seconds: float) -> Watched:
    watched = Watched()
    watching = asyncio.create_task(_watch(server, watched, kills=seconds))
    await spenders.spend(seconds)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await asyncio.sleep(1.0)
    return watched


async def _watch(server: Server, watched: Watched, *, kills: float) -> None:
    rng = random.Random(1)
    began = asyncio.get_running_loop().time()
    while True:
        account = await account_of(server.port)
        if account is not None:
            watched.n_looks += 1
            watched.n_over += account.used > account.cap
            watched.most_used = max(watched.most_used, account.used)
        passed = asyncio.get_running_loop().time() - began
        if passed > KILL_EVERY_S * (watched.n_kills + 1) and passed < kills:
            os.kill(rng.choice(server.pids), signal.SIGKILL)
            watched.n_kills += 1
        await asyncio.sleep(0.05)


async def _abandoned(server: Server, spenders: Spenders, *, seconds: float) -> tuple[int, int, int]:
    """What is held while calls are abandoned, and what is held and leased after their time."""
    await spenders.spend(seconds)
    before = (await account_when_there(server.port)).held
    os.kill(server.pids[0], signal.SIGKILL)
    for _ in range(120):
        await asyncio.sleep(0.5)
        await poked(server.port)
        account = await account_of(server.port)
        if account is not None and account.held == account.leased == 0:
            break
    account = await account_when_there(server.port)
    return before, account.held, account.leased
