"""What an operator wants to know of the process itself: memory, descriptors, lag, room on disk.

prometheus_client's own process collector is silent where several workers write files that are
added up, so these are gauges of our own, set every second.
"""

import asyncio
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Gauge, Histogram

from router_serving.readiness import Disk, Readiness

PULSE_S: Final = 0.25
_PULSES_PER_LOOK: Final = 4
_LAG_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PROC: Final = Path("/proc/self")
Mode = Literal["livesum", "livemax", "livemin"]


class Vitals:
    """Measures one process until cancelled; with several workers a scrape adds them up."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        readiness: Readiness,
        disk: Callable[[], Disk | None],
        oldest_row_ms: Callable[[], int | None],
    ) -> None:
        self._readiness = readiness
        self._disk = disk
        self._oldest_row_ms = oldest_row_ms
        self._lag = Histogram(
            "router_event_loop_lag_seconds",
            "How late the event loop wakes a task that sleeps",
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        gauges = _Gauges(registry)
        self._memory = gauges.add("resident_memory_bytes", "Memory in use", "livesum")
        self._descriptors = gauges.add("open_fds", "Open file descriptors", "livesum")
        self._started = gauges.add("start_time_seconds", "Start of the newest process", "livemax")
        self._workers = gauges.add("workers", "Processes that serve", "livesum")
        self._ready = gauges.add("ready", "1 when every process is ready", "livemin")
        self._row_age = gauges.add(
            "log_oldest_row_seconds", "Age of the oldest row that waits to be written", "livemax"
        )
        self._free = gauges.add(
            "state_free_bytes", "Room on the disk of the state folder", "livemin"
        )
        info = Gauge(
            "router_build_info",
            "1 for the version that runs, and its Python",
            ["version", "python"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        info.labels(version("router-model"), platform.python_version()).set(1)
        self._started.set(time.time())
        self._workers.set(1)
        self.look()

    async def run(self) -> None:
        """Feel the pulse until cancelled."""
        n = 0
        while True:
            slept = time.perf_counter()
            await asyncio.sleep(PULSE_S)
            self._lag.observe(max(time.perf_counter() - slept - PULSE_S, 0.0))
            n += 1
            if n % _PULSES_PER_LOOK == 0:
                self.look()

    def look(self) -> None:
        """Set every gauge."""
        self._readiness.look()
        self._ready.set(not self._readiness.report().reasons)
        self._memory.set(resident_bytes())
        self._descriptors.set(n_descriptors())
        oldest = self._oldest_row_ms()
        self._row_age.set(0.0 if oldest is None else max(time.time() - oldest / 1000, 0.0))
        if (disk := self._disk()) is not None:
            self._free.set(disk.free)


class _Gauges:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def add(self, name: str, text: str, mode: Mode) -> Gauge:
        return Gauge(f"router_{name}", text, registry=self._registry, multiprocess_mode=mode)


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    try:
        return int((_PROC / "statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def n_descriptors() -> int:
    """Open file descriptors of this process; 0 where the system does not say."""
    try:
        return sum(1 for _ in (_PROC / "fd").iterdir())
    except OSError:
        return 0
