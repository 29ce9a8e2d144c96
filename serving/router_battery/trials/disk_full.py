"""The disk fills up and is freed again: routing goes on, and no outcome is acknowledged in vain."""

import asyncio
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from router_battery.log_checks import check_log
from router_battery.servers import Server, ended, is_ready, launched, wait_ready
from router_battery.traffic import Callers, Memory
from router_battery.trial import Scale, Tried, not_zero

# Twice what the log of the longest trial takes, on a quick machine.
DISK_BYTES = 256 << 20
FULL_S = 1.0


class Disk(Struct, frozen=True):
    """A way to let a server's disk refuse, and to take that back."""

    kind: str
    fill: Callable[[Server], None]
    free: Callable[[Server], None]


def run(scale: Scale, folder: Path) -> Tried:
    """Fill and free the disk several times under load."""
    n_cycles = scale.of(20, 2)
    state = folder / "disk" / "state"
    with _disk(folder / "disk") as disk:
        server = launched(state)
        try:
            wait_ready(server)
            memory, problems = asyncio.run(_cycles(server, disk, scale, n_cycles=n_cycles))
            exit_code = server.stop()
        finally:
            ended(server)
        check = check_log(state, memory)
    refused = memory.statuses[503]
    return Tried(
        tried={
            "times full": n_cycles,
            "how": disk.kind,
            "decisions answered": len(memory.answered),
            "outcomes acknowledged": len(memory.acknowledged),
            "outcomes refused (503)": refused,
        },
        seen={
            "acknowledged outcomes lost": check.outcomes_lost,
            "rows twice": check.rows_twice,
            "corrupt lines": check.corrupt_lines,
            "decisions not in the log": check.decisions_lost,
            "other statuses": memory.n_errors - refused,
            "broken calls": sum(memory.broken.values()),
        },
        failed=[
            *problems,
            *not_zero(
                acknowledged_outcomes_lost=check.outcomes_lost,
                rows_twice=check.rows_twice,
                corrupt_lines=check.corrupt_lines,
                decisions_not_in_the_log=check.decisions_lost,
                other_statuses=memory.n_errors - refused,
                broken_calls=sum(memory.broken.values()),
                exit_code=exit_code,
            ),
            *([] if refused else ["the disk never refused"]),
        ],
    )


async def _cycles(
    server: Server, disk: Disk, scale: Scale, *, n_cycles: int
) -> tuple[Memory, list[str]]:
    problems = []
    async with Callers(server.port, seed=scale.seed, n=4).calling() as memory:
        for number in range(n_cycles):
            scale.say(f"full {number + 1} of {n_cycles}")
            await asyncio.sleep(FULL_S)
            await asyncio.to_thread(disk.fill, server)
            before = len(memory.answered)
            await asyncio.sleep(FULL_S)
            if len(memory.answered) == before:
                problems.append(f"no decision while the disk was full ({number + 1})")
            await asyncio.to_thread(disk.free, server)
            if not await _recovers(server.port, memory):
                problems.append(f"no outcome after the disk was freed ({number + 1})")
    return memory, problems


async def _recovers(port: int, memory: Memory) -> bool:
    before = len(memory.acknowledged)
    for _ in range(600):
        await asyncio.sleep(0.05)
        if len(memory.acknowledged) > before:
            return await asyncio.to_thread(is_ready, port)
    return False


@contextmanager
def _disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_mounted = False
    if not is_mounted:
        yield Disk("a limit on the size of files", _limit, _unlimit)
        return
    filler = folder / "filler"
    try:
        yield Disk(
            "a small file system, full",
            lambda server: _fill(filler),
            lambda server: filler.unlink(missing_ok=True),
        )
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(filler: Path) -> None:
    block = bytes(64 << 10)
    with filler.open("ab", buffering=0) as file:
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]


def _limit(server: Server) -> None:
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, hard))


def _unlimit(server: Server) -> None:
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
