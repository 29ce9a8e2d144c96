"""Mixed traffic for minutes, with reloads and compactions: memory and descriptors stay flat."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from router_battery.client import BrokenError, Connection
from router_battery.figures import quantile, slope
from router_battery.log_checks import check_log
from router_battery.servers import Server, n_descriptors, rss_kb, serving
from router_battery.traffic import Callers, Memory
from router_battery.trial import Scale, Tried, not_zero
from router_data.compact import compact

SHORT_S = 8.0
# Caches fill first: growth is measured after this share of the time.
WARM_SHARE = 0.4
TARGET_KB_PER_MINUTE = 512.0
# Small caches are full early, so that what grows is a leak.
SETTINGS = {"recent_decisions": "2000", "session_entries": "2000", "reload_poll_s": "0.5"}


class Sample(Struct, frozen=True):
    """Memory and descriptors at a time."""

    seconds: float
    kb: float
    descriptors: float


def run(scale: Scale, folder: Path) -> Tried:
    """Routes, outcomes, explanations, spend, metrics; tenants' file rewritten; compactions."""
    seconds = SHORT_S if scale.is_short else 60 * scale.minutes
    with serving(folder / "state", settings=SETTINGS) as server:
        memory, samples, problems = asyncio.run(_soaked(server, scale, seconds=seconds))
        n_failed = server.events("request.failed")
        exit_code = server.stop()
    check = check_log(folder / "state", memory)
    warm = [sample for sample in samples if sample.seconds > WARM_SHARE * seconds]
    growth = slope([s.seconds for s in warm], [s.kb for s in warm])
    descriptors = slope([s.seconds for s in warm], [s.descriptors for s in warm])
    counts = {
        "failed calls": memory.n_errors + sum(memory.broken.values()) + len(problems),
        "unexpected errors": n_failed,
        "outcomes lost": check.outcomes_lost,
        "decisions lost": check.decisions_lost,
        "rows twice": check.rows_twice,
        "exit code": exit_code,
    }
    is_growing = growth > TARGET_KB_PER_MINUTE and not scale.is_short
    return Tried(
        tried={
            "minutes": round(seconds / 60, 2),
            "decisions": len(memory.answered),
            "outcomes": len(memory.acknowledged),
        },
        seen={
            **counts,
            "memory MB": round(samples[-1].kb / 1024),
            "memory kB a minute": round(growth, 1),
            "descriptors": round(samples[-1].descriptors),
            "descriptors a minute": round(descriptors, 2),
            "answer p50 ms": quantile(memory.latencies_ms, 0.5),
            "answer p99 ms": quantile(memory.latencies_ms, 0.99),
        },
        failed=[
            *problems[:3],
            *not_zero(**{name.replace(" ", "_"): count for name, count in counts.items()}),
        ],
        missed=[f"less than {TARGET_KB_PER_MINUTE:.0f} kB a minute"] if is_growing else [],
    )


async def _soaked(
    server: Server, scale: Scale, *, seconds: float
) -> tuple[Memory, list[Sample], list[str]]:
    samples: list[Sample] = []
    problems: list[str] = []
    began = time.monotonic()
    connection = Connection(server.port)
    async with Callers(server.port, seed=scale.seed, n=2, headers=_caller()).calling() as memory:
        tasks = [
            asyncio.create_task(_every(each_s, move, until=began + seconds))
            for each_s, move in _moves(server, connection, memory, problems)
        ]
        while (passed := time.monotonic() - began) < seconds:
            pid = server.pids[0]
            samples.append(Sample(passed, rss_kb(pid), n_descriptors(pid)))
            scale.say(f"{passed / 60:.1f} of {seconds / 60:.1f} minutes")
            await asyncio.sleep(min(1.0, seconds / 20))
        await asyncio.gather(*tasks)
        connection.close()
    return memory, samples, problems


def _caller() -> str:
    return "x-router-tenant: acme\r\nx-router-user: kim\r\nx-router-session: soak\r\n"


Move = Callable[[], Awaitable[None]]


def _moves(
    server: Server, connection: Connection, memory: Memory, problems: list[str]
) -> list[tuple[float, Move]]:
    """What is done beside routing, and every how many seconds."""

    async def look() -> None:
        decision_id = next(reversed(memory.answered), "")
        explained = [f"/decisions/{decision_id}"] if decision_id else []
        for path in [*explained, "/spend?group_by=user", "/models", "/metrics", "/readyz"]:
            problems.extend(await _problem(connection, path))

    async def rewrite() -> None:
        share = 0.01 + time.time_ns() % 7 / 1000
        temporary = server.state / "tenants.toml.new"
        temporary.write_text(f"[default]\nexploration = {share}\n")
        temporary.replace(server.state / "tenants.toml")

    async def fold() -> None:
        await asyncio.to_thread(compact, server.state, grace_s=20.0)

    return [(1.0, look), (3.0, rewrite), (7.0, fold)]


async def _problem(connection: Connection, path: str) -> list[str]:
    try:
        answer = await connection.call("GET", path)
    except BrokenError as error:
        return [f"{path}: {error}"]
    return [] if answer.status == 200 else [f"{path}: {answer.status} {answer.body[:200]!r}"]


async def _every(each_s: float, move: Move, *, until: float) -> None:
    while time.monotonic() + each_s < until:
        await asyncio.sleep(each_s)
        await move()
