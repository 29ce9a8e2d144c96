"""Kill -9 of single workers and of the whole group under load: nothing acknowledged is lost."""

import asyncio
import os
import random
import signal
import time
from pathlib import Path

from router_battery.figures import quantile
from router_battery.log_checks import check_log
from router_battery.servers import Server, ended, launched, wait_for, wait_ready
from router_battery.traffic import Callers, Memory
from router_battery.trial import Scale, Tried, not_zero
from router_data.compact import compact

# One time in so many it takes the whole group.
GROUP_EVERY = 6
COMPACT_EVERY = 20
TARGET_S = 2.0


class Kills:
    """Kills, restarts and the seconds until the service was ready again."""

    def __init__(self, server: Server, *, n_served: int, group_every: int, seed: int) -> None:
        self.server = server
        self._n_served = n_served
        self._group_every = group_every
        self.n_workers = 0
        self.n_groups = 0
        # after workers were killed, and after everything was
        self.ready_s: list[float] = []
        self.restarted_s: list[float] = []
        self.replaced_s: list[float] = []
        self._rng = random.Random(seed)

    def next(self, number: int) -> None:
        """Kill some of the workers, or now and then everything."""
        if number % self._group_every == self._group_every - 1:
            self._group()
        else:
            self._workers(self._rng.randint(1, self._n_served - 1))

    def _workers(self, n_killed: int) -> None:
        before = self.server.n_started()
        began = time.monotonic()
        for pid in self._rng.sample(self.server.pids, n_killed):
            os.kill(pid, signal.SIGKILL)
        self.n_workers += n_killed
        wait_ready(self.server)
        self.ready_s.append(time.monotonic() - began)
        wait_for(lambda: self.server.n_started() >= before + n_killed)
        self.replaced_s.append(time.monotonic() - began)

    def _group(self) -> None:
        old = self.server
        old.kill_all()
        old.process.wait()
        before = old.n_started()
        began = time.monotonic()
        self.server = launched(old.state, "--workers", str(self._n_served), port=old.port)
        wait_ready(self.server)
        self.restarted_s.append(time.monotonic() - began)
        wait_for(lambda: self.server.n_started() >= before + self._n_served)
        self.n_groups += 1


def run(scale: Scale, folder: Path) -> Tried:
    """More than 200 kills of workers and of the whole group; a compaction now and then."""
    n_times = scale.of(110, 2)
    workers = scale.of(4, 2)
    server = launched(folder / "state", "--workers", str(workers))
    every = scale.of(GROUP_EVERY, 2)
    kills = Kills(server, n_served=workers, group_every=every, seed=scale.seed)
    try:
        wait_ready(server)
        wait_for(lambda: server.n_started() >= workers)
        memory = asyncio.run(_under_load(kills, scale, n_times=n_times))
        exit_code = kills.server.stop()
    finally:
        ended(kills.server)
    return _judged(kills, memory, folder / "state", exit_code=exit_code)


async def _under_load(kills: Kills, scale: Scale, *, n_times: int) -> Memory:
    callers = Callers(kills.server.port, seed=scale.seed, n=6)
    async with callers.calling() as memory:
        for number in range(n_times):
            await asyncio.sleep(0.2)
            await asyncio.to_thread(kills.next, number)
            if number % COMPACT_EVERY == COMPACT_EVERY - 1:
                await asyncio.to_thread(compact, kills.server.state)
            scale.say(f"{number + 1} of {n_times}")
    return memory


def _judged(kills: Kills, memory: Memory, state: Path, *, exit_code: int) -> Tried:
    check = check_log(state, memory)
    taken = [*kills.ready_s, *kills.restarted_s]
    slow = sum(seconds > TARGET_S for seconds in taken)
    return Tried(
        tried={
            "kills of single workers": kills.n_workers,
            "kills of everything": kills.n_groups,
            "decisions answered": len(memory.answered),
            "outcomes acknowledged": len(memory.acknowledged),
            "calls broken by a kill": sum(memory.broken.values()),
        },
        seen={
            "acknowledged outcomes lost": check.outcomes_lost,
            "rows twice": check.rows_twice,
            "corrupt lines": check.corrupt_lines,
            "answered decisions not in the log": check.decisions_lost,
            "answers after workers were killed, p50 s": quantile(kills.ready_s, 0.5),
            "max s": quantile(kills.ready_s, 1.0),
            "workers replaced p50 s": quantile(kills.replaced_s, 0.5),
            "answers after everything was killed, p50 s": quantile(kills.restarted_s, 0.5),
            "most s": quantile(kills.restarted_s, 1.0),
        },
        failed=not_zero(
            acknowledged_outcomes_lost=check.outcomes_lost,
            rows_twice=check.rows_twice,
            corrupt_lines=check.corrupt_lines,
            exit_code=exit_code,
        ),
        missed=[f"ready within {TARGET_S:.0f} s (not {slow} times of {len(taken)})"]
        if slow
        else [],
    )
