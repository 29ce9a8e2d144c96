"""The ledger of two machines is slow, stands still, is killed and comes back: no overspending."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from router_battery.figures import quantile
from router_battery.servers import Server, ended, launched, wait_ready
from router_battery.spenders import Spenders, account_when_there, tenants_file
from router_battery.traffic import Callers, Memory
from router_battery.trial import NotRunError, Scale, Tried, not_zero
from router_battery.valkeys import Valkey, Way, valkey, way_to
from router_model.artifact import STARTER
from router_model.catalog import load_catalog

# About half of what the clients would spend if nothing were wrong.
CAP_USD_PER_S = 0.3
PAUSE_S = 0.3
SLOW_S = 0.3
# The longest that a call may take while the store stands still.
BOUND_MS = 10_000.0
N_SERVERS = 2


class Phase(Struct, frozen=True):
    """A time with one fault: calls of the capped tenant by status, and the slowest of them."""

    name: str
    routes: Counter[str]
    outcomes: Counter[str]
    slowest_ms: float


class Result(Struct, frozen=True):
    """Everything that was seen."""

    phases: list[Phase]
    paid: int
    reported: int
    settled: int
    cap: int
    n_open: int
    free: Memory


def run(scale: Scale, folder: Path) -> Tried:
    """Two servers with one store; callers with a cap and callers without one."""
    try:
        import valkey as client
    except ImportError:
        raise NotRunError("the client of Valkey is not installed") from None
    del client
    with valkey(folder / "valkey") as store:
        result = asyncio.run(_with_way(store, scale, folder))
    return _judged(result)


async def _with_way(store: Valkey, scale: Scale, folder: Path) -> Result:
    async with way_to(store.port) as way:
        settings = {"ledger_url": f"valkey://127.0.0.1:{way.port}/0", "hold_s": "900"}
        with ExitStack() as stack:
            cap_usd = CAP_USD_PER_S * 5 * _seconds(scale)
            servers = []
            for number in range(N_SERVERS):
                state = folder / f"state{number}"
                state.mkdir()
                (state / "tenants.toml").write_text(tenants_file(cap_usd))
                servers.append(launched(state, settings=settings))
                stack.callback(ended, servers[-1])
            for server in servers:
                await asyncio.to_thread(wait_ready, server)
            return await _phases(servers, store, way, scale)


async def _phases(servers: list[Server], store: Valkey, way: Way, scale: Scale) -> Result:
    async def nothing() -> None:
        """Leave everything as it is."""

    async def slow() -> None:
        way.delay_s = SLOW_S

    async def standstill() -> None:
        way.delay_s = 0.0
        store.send(signal.SIGSTOP)

    async def gone() -> None:
        store.send(signal.SIGCONT)
        store.kill()

    async def back() -> None:
        await asyncio.to_thread(store.start)

    faults: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        *(("sound", nothing), ("slow", slow), ("standing still", standstill)),
        *(("killed", gone), ("back", back)),
    ]
    catalog = load_catalog(STARTER / "catalog.toml")
    ports = [server.port for server in servers]
    spenders = Spenders(ports, catalog, n=16, seed=scale.seed, pause_s=PAUSE_S)
    phases: list[Phase] = []
    seconds = _seconds(scale)
    async with Callers(ports[0], seed=scale.seed, n=2, report_share=0.0).calling() as free:
        spending = asyncio.create_task(spenders.spend(len(faults) * seconds))
        for name, fault in faults:
            scale.say(name)
            await fault()
            phases.append(await _phase(name, spenders, seconds=seconds))
        await spending
    account = await account_when_there(servers[0].port)
    spent = spenders.spent
    return Result(
        phases, spent.paid, spent.reported, account.settled, account.cap, spent.n_open, free
    )


def _seconds(scale: Scale) -> float:
    """The length of a phase."""
    return float(scale.of(20, 3))


async def _phase(name: str, spenders: Spenders, *, seconds: float) -> Phase:
    spent = spenders.spent
    routes, outcomes = Counter(spent.routes), Counter(spent.outcomes)
    spent.slowest_ms = 0.0
    await asyncio.sleep(seconds)
    return Phase(name, spent.routes - routes, spent.outcomes - outcomes, spent.slowest_ms)


def _judged(result: Result) -> Tried:
    odd = Counter[str]()
    for phase in result.phases:
        odd += phase.routes + phase.outcomes
    for right in ("200", "429", "503"):
        del odd[right]
    slowest = max(phase.slowest_ms for phase in result.phases)
    n_free_failed = result.free.n_errors + sum(result.free.broken.values())
    return Tried(
        tried={
            "servers": N_SERVERS,
            **{
                f"{phase.name}: {kind}": _listed(counts)
                for phase in result.phases
                for kind, counts in (("decisions", phase.routes), ("outcomes", phase.outcomes))
            },
        },
        seen={
            "cap, micro-dollars": result.cap,
            "really spent": result.paid,
            "settled beside what was reported": result.settled - result.reported,
            "outcomes never taken": result.n_open,
            **{f"slowest when {p.name}, ms": round(p.slowest_ms) for p in result.phases},
            "calls without a cap": len(result.free.answered),
            "of them failed": n_free_failed,
            "of them p99 ms": quantile(result.free.latencies_ms, 0.99),
        },
        failed=[
            *([f"a call took {slowest:.0f} ms"] if slowest > BOUND_MS else []),
            *([] if result.phases[-1].routes["200"] else ["no decision after the store was back"]),
            *not_zero(
                micro_dollars_overspent=max(0, result.paid - result.cap),
                micro_dollars_settled_amiss=result.settled - result.reported,
                outcomes_never_taken=result.n_open,
                odd_answers=sum(odd.values()),
                calls_without_a_cap_failed=n_free_failed,
            ),
        ],
    )


def _listed(counts: Counter[str]) -> str:
    return " ".join(f"{status}×{n}" for status, n in sorted(counts.items())) or "none"
