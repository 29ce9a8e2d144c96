"""Twice as many calls as the service can answer: it sheds, decides the rest, and recovers."""

import asyncio
import time
from pathlib import Path

from router_battery.client import BrokenError, Connection
from router_battery.figures import quantile
from router_battery.open_loop import Seen, at_rate, closed_loop
from router_battery.servers import serving
from router_battery.trial import Scale, Tried, not_zero
from router_bench.bodies import conversation
from router_bench.servers import FLOOR, started

BODY_BYTES = 40_000
SETTLED_MS = 50.0
RECOVERY_S = 60.0
GOOD_SHARE = 0.9
TARGET_RECOVERY_S = 1.0


def run(scale: Scale, folder: Path) -> Tried:
    """Measure what the service can do, offer twice that, then see how soon it is quick again."""
    bodies = [conversation(BODY_BYTES, seed=scale.seed + number) for number in range(16)]
    seconds = float(scale.of(60, 5))
    with started(FLOOR, log=folder / "floor.log") as floor:
        client = asyncio.run(closed_loop(floor.port, n=16, seconds=seconds / 10, bodies=bodies))
    with serving(folder / "state") as server:
        able = asyncio.run(closed_loop(server.port, n=16, seconds=seconds / 4, bodies=bodies))
        scale.say(f"{able.goodput:.0f} a second; now twice that")
        over, recovery_s = asyncio.run(
            _overloaded(server.port, per_s=2 * able.goodput, seconds=seconds, bodies=bodies)
        )
        n_failed = server.events("request.failed")
        exit_code = server.stop()
    return _judged(
        client, able, over, recovery_s=recovery_s, n_failed=n_failed, exit_code=exit_code
    )


async def _overloaded(
    port: int, *, per_s: float, seconds: float, bodies: list[bytes]
) -> tuple[Seen, float]:
    seen = await at_rate(port, per_s=per_s, seconds=seconds, bodies=bodies)
    ended = time.monotonic()
    connection = Connection(port)
    while time.monotonic() < ended + RECOVERY_S:
        began = time.monotonic()
        try:
            answer = await connection.call("POST", "/route", bodies[0])
        except BrokenError:
            continue
        if answer.status == 200 and 1000 * (time.monotonic() - began) < SETTLED_MS:
            break
    connection.close()
    return seen, time.monotonic() - ended


def _judged(
    client: Seen, able: Seen, over: Seen, *, recovery_s: float, n_failed: int, exit_code: int
) -> Tried:
    statuses = dict(over.statuses)
    n_broken = sum(statuses.get(how, 0) for how in ("half", "unanswered", "refused"))
    others = sum(n for status, n in statuses.items() if status not in ("200", "503", "client full"))
    n_predicted = over.policies["cheapest_adequate"]
    missed = []
    if over.goodput < GOOD_SHARE * able.goodput:
        missed.append(f"goodput of {GOOD_SHARE:.0%} of capacity")
    if recovery_s > TARGET_RECOVERY_S:
        missed.append(f"recovery within {TARGET_RECOVERY_S:.0f} s")
    return Tried(
        tried={
            "seconds": round(over.seconds, 1),
            "calls": over.n_sent,
            "offered a second": round(2 * able.goodput),
            "bytes a body": BODY_BYTES,
            "the client alone can, a second": round(client.goodput),
            "client late p99 ms": quantile(over.late_ms, 0.99),
            "calls it could not send": statuses.get("client full", 0),
        },
        seen={
            "capacity a second": round(able.goodput),
            "decisions a second": round(over.goodput),
            "of them predicted, a second": round(n_predicted / over.seconds),
            "share of capacity": round(over.goodput / max(able.goodput, 1e-9), 3),
            **{f"status {status}": n for status, n in sorted(statuses.items())},
            **{f"decided by {policy}": n for policy, n in sorted(over.policies.items())},
            "decision p50 ms": quantile(over.good_ms, 0.5),
            "decision p99 ms": quantile(over.good_ms, 0.99),
            "shed p50 ms": quantile(over.shed_ms, 0.5),
            "shed p99 ms": quantile(over.shed_ms, 0.99),
            "recovery s": round(recovery_s, 3),
        },
        failed=[
            *not_zero(
                broken_calls=n_broken,
                other_answers=others - n_broken,
                unexpected_errors=n_failed,
                exit_code=exit_code,
            ),
            *(["no recovery"] if recovery_s >= RECOVERY_S else []),
        ],
        missed=missed,
    )
