"""Calls at a fixed rate, whether or not the ones before were answered."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from router_battery.client import BrokenError, Connection

# More callers than this at once and the client, not the server, is what is measured.
MAX_CONNECTIONS = 1500


class Brief(msgspec.Struct, frozen=True):
    """The policy that decided: a fallback says so."""

    policy: str = ""


@dataclass
class Seen:
    """What came back, and when."""

    seconds: float = 0.0
    n_sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)
    good_ms: list[float] = field(default_factory=list)
    shed_ms: list[float] = field(default_factory=list)
    # How late the client itself was with its calls.
    late_ms: list[float] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Decisions a second."""
        return len(self.good_ms) / self.seconds if self.seconds else 0.0


async def at_rate(port: int, *, per_s: float, seconds: float, bodies: list[bytes]) -> Seen:
    """Send calls on a schedule for some seconds, then wait for the last answers."""
    seen, idle = Seen(), [Connection(port) for _ in range(MAX_CONNECTIONS)]
    running: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        due = int((now - began) * per_s)
        while seen.n_sent < due:
            seen.late_ms.append(1000 * (now - began - seen.n_sent / per_s))
            body = bodies[seen.n_sent % len(bodies)]
            seen.n_sent += 1
            if not idle:
                seen.statuses["client full"] += 1
                continue
            task = asyncio.create_task(_one(seen, idle, idle.pop(), body))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.sleep(0.001)
    await asyncio.gather(*running)
    seen.seconds = time.monotonic() - began
    for connection in idle:
        connection.close()
    return seen


async def closed_loop(port: int, *, n: int, seconds: float, bodies: list[bytes]) -> Seen:
    """Callers that each wait for their answer: what the server can do at most."""
    seen = Seen()
    began = time.monotonic()

    async def caller(number: int) -> None:
        connection = Connection(port)
        while time.monotonic() < began + seconds:
            await _one(seen, [], connection, bodies[seen.n_sent % len(bodies)])
            seen.n_sent += 1
        connection.close()

    await asyncio.gather(*(caller(number) for number in range(n)))
    seen.seconds = time.monotonic() - began
    return seen


async def _one(seen: Seen, idle: list[Connection], connection: Connection, body: bytes) -> None:
    began = time.monotonic()
    try:
        answer = await connection.call("POST", "/route", body)
    except BrokenError as error:
        seen.statuses[error.how] += 1
    else:
        taken_ms = 1000 * (time.monotonic() - began)
        seen.statuses[str(answer.status)] += 1
        if answer.status == 200:
            seen.good_ms.append(taken_ms)
            seen.policies[msgspec.json.decode(answer.body, type=Brief).policy] += 1
        else:
            seen.shed_ms.append(taken_ms)
    idle.append(connection)
