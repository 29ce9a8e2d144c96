"""SIGTERM and SIGINT under load: what was accepted is answered, and what was answered is logged."""

import asyncio
import random
import signal
from pathlib import Path

from msgspec import Struct

from router_battery.log_checks import LogCheck, check_log
from router_battery.servers import serving, wait_for
from router_battery.traffic import Callers, Memory
from router_battery.trial import Scale, Tried, not_zero


class Round(Struct, frozen=True):
    """One stop: what the callers were told, what the log holds, and how the process ended."""

    memory: Memory
    check: LogCheck
    exit_code: int
    accepted_unanswered: int


# Workers, signal, and whether the whole group gets it, as from a terminal.
FORMS = (
    (1, signal.SIGTERM, False),
    (4, signal.SIGINT, True),
    (4, signal.SIGTERM, False),
    (1, signal.SIGINT, False),
)


def run(scale: Scale, folder: Path) -> Tried:
    """Stop one process and four, by either signal, while callers go on."""
    rounds = []
    forms = FORMS[: scale.of(4, 2)]
    n_each = scale.of(4, 1)
    for number in range(n_each * len(forms)):
        scale.say(f"stop {number + 1} of {n_each * len(forms)}")
        rounds.append(_round(folder / f"state{number}", scale, number, forms[number % len(forms)]))
    counts = {
        "half answers": sum(each.memory.broken["half"] for each in rounds),
        "accepted calls without an answer": sum(each.accepted_unanswered for each in rounds),
        "error answers": sum(each.memory.n_errors for each in rounds),
        "answered decisions not in the log": sum(each.check.decisions_lost for each in rounds),
        "acknowledged outcomes lost": sum(each.check.outcomes_lost for each in rounds),
        "rows twice": sum(each.check.rows_twice for each in rounds),
        "exit codes that are not 0": sum(each.exit_code != 0 for each in rounds),
    }
    return Tried(
        tried={
            "stops": len(rounds),
            "decisions answered": sum(len(each.memory.answered) for each in rounds),
            "outcomes acknowledged": sum(len(each.memory.acknowledged) for each in rounds),
        },
        seen={
            **counts,
            "kept connections closed before a new call was read": sum(
                each.memory.broken["unanswered"] for each in rounds
            ),
        },
        failed=not_zero(**{name.replace(" ", "_"): count for name, count in counts.items()}),
    )


def _round(state: Path, scale: Scale, number: int, form: tuple[int, signal.Signals, bool]) -> Round:
    workers, sent, to_all = form
    workers = min(workers, scale.of(workers, 2))
    # The queue would keep decisions for 10 s: what is in the log was flushed at the end.
    arguments = ("--workers", str(workers))
    with serving(state, *arguments, settings={"log_flush_ms": "10000"}) as server:
        wait_for(lambda: server.n_started() >= workers)

        async def stopped() -> tuple[Memory, int]:
            callers = Callers(server.port, seed=scale.seed * 1000 + number, n=6)
            async with callers.calling() as memory:
                await asyncio.sleep(0.5 + random.Random(number).random())
                (server.kill_all if to_all else server.send)(sent)
                exit_code = await asyncio.to_thread(server.process.wait, 60)
            return memory, exit_code

        memory, exit_code = asyncio.run(stopped())
    logged = {row["decision_id"] for row in server.rows("select decision_id from decisions")}
    unanswered = len(memory.unanswered & logged)
    return Round(memory, check_log(state, memory), exit_code, unanswered)
