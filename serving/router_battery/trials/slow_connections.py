"""Thousands of connections that dribble headers or bodies, while normal calls go on."""

import asyncio
import resource
from collections import Counter
from pathlib import Path

from router_battery.figures import quantile
from router_battery.servers import n_descriptors, rss_kb, serving
from router_battery.traffic import Callers, Memory
from router_battery.trial import NotRunError, Scale, Tried, not_zero

HEADER_S = 3.0
BODY_S = 5.0
# Much longer than both: whoever is still connected then was not closed.
SLACK_S = 30.0
HEADER = b"POST /route HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"


def run(scale: Scale, folder: Path) -> Tried:
    """Half of the slow ones never finish their headers, the other half never their bodies."""
    n_slow = scale.of(2000, 200)
    _allow_descriptors(n_slow + 500)
    settings = {"header_timeout_s": str(HEADER_S), "body_timeout_s": str(BODY_S)}
    with serving(folder / "state", settings=settings) as server:
        pid = server.pids[0]
        quiet = asyncio.run(_normal(server.port, seconds=3.0))
        before, before_kb = n_descriptors(pid), rss_kb(pid)
        during, ends = asyncio.run(_besides(server.port, n_slow, scale))
        asyncio.run(asyncio.sleep(1.0))
        left, growth_kb = n_descriptors(pid) - before, rss_kb(pid) - before_kb
        exit_code = server.stop()
    return Tried(
        tried={
            "slow connections": n_slow,
            "time for headers s": HEADER_S,
            "time for bodies s": BODY_S,
            "normal decisions meanwhile": len(during.answered),
        },
        seen={
            **{f"slow ones {how}": count for how, count in sorted(ends.items())},
            "normal calls failed": during.n_errors + sum(during.broken.values()),
            "normal p50 ms before": quantile(quiet.latencies_ms, 0.5),
            "normal p50 ms meanwhile": quantile(during.latencies_ms, 0.5),
            "normal p99 ms before": quantile(quiet.latencies_ms, 0.99),
            "normal p99 ms meanwhile": quantile(during.latencies_ms, 0.99),
            "descriptors left over": left,
            "memory per slow connection kB": round(growth_kb / n_slow, 1),
        },
        failed=not_zero(
            normal_calls_failed=during.n_errors + sum(during.broken.values()),
            slow_connections_never_closed=ends["never closed"],
            descriptors_left_over=max(0, left - 10),
            exit_code=exit_code,
        ),
    )


async def _normal(port: int, *, seconds: float) -> Memory:
    async with Callers(port, seed=1, n=2).calling() as memory:
        await asyncio.sleep(seconds)
    return memory


async def _besides(port: int, n_slow: int, scale: Scale) -> tuple[Memory, Counter[str]]:
    async with Callers(port, seed=2, n=2).calling() as memory:
        tasks = []
        for number in range(n_slow):
            tasks.append(asyncio.create_task(_dribble(port, is_header=number % 2 == 0)))
            if number % 50 == 0:
                scale.say(f"{number} slow connections")
                await asyncio.sleep(0.02)
        ends = Counter(await asyncio.gather(*tasks))
    return memory, ends


async def _dribble(port: int, *, is_header: bool) -> str:
    """How a slow connection ended: by a status, closed, or never."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return "refused"
    writer.write(b"POST /route HTTP/1.1\r\nx-slow: " if is_header else HEADER)
    answer = asyncio.create_task(reader.read(64))
    try:
        for _ in range(int(BODY_S + SLACK_S)):
            done, _ = await asyncio.wait([answer], timeout=1.0)
            if done:
                return _named(answer)
            writer.write(b"x")
    finally:
        answer.cancel()
        writer.close()
    return "never closed"


def _named(answer: asyncio.Task[bytes]) -> str:
    if answer.exception() is not None:
        return "reset"
    status = answer.result()[9:12].decode()
    return f"answered {status}" if status else "closed"


def _allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise NotRunError(f"{wanted} descriptors are needed, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
