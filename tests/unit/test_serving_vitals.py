import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry
from serving_process import wait_for

from router_serving.readiness import Disk, Readiness
from router_serving.telemetry import forget_the_dead
from router_serving.vitals import Vitals, n_descriptors, resident_bytes


class Sound:
    last_error: str | None = None


def vitals_in(registry: CollectorRegistry, *, oldest_row_ms: int | None = None) -> Readiness:
    """Readiness of sound parts, shown in the registry once."""
    disk = Disk(free=10**12, total=2 * 10**12)
    readiness = Readiness(
        log=Sound(), ledger=Sound(), has_hard_cap=lambda: False, disk=lambda: disk
    )
    vitals = Vitals(
        registry, readiness=readiness, disk=lambda: disk, oldest_row_ms=lambda: oldest_row_ms
    )
    asyncio.run(_pulse(vitals, registry))
    return readiness


async def _pulse(vitals: Vitals, registry: CollectorRegistry) -> None:
    task = asyncio.create_task(vitals.run())
    while not registry.get_sample_value("router_event_loop_lag_seconds_count"):
        await asyncio.sleep(0.05)
    vitals.look()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_the_process_is_measured() -> None:
    registry = CollectorRegistry()
    vitals_in(registry, oldest_row_ms=round((time.time() - 60) * 1000))
    shown = {name: registry.get_sample_value(f"router_{name}") or 0.0 for name in (
        *("resident_memory_bytes", "open_fds", "workers", "ready", "log_oldest_row_seconds"),
        *("state_free_bytes", "start_time_seconds"),
    )}  # fmt: skip
    assert shown["resident_memory_bytes"] > 1e6
    assert shown["open_fds"] > 2
    assert (shown["workers"], shown["ready"], shown["state_free_bytes"]) == (1, 1, 1e12)
    assert shown["log_oldest_row_seconds"] >= 59
    assert shown["start_time_seconds"] <= time.time()


def test_the_version_that_runs_is_shown() -> None:
    registry = CollectorRegistry()
    vitals_in(registry)
    (family,) = [f for f in registry.collect() if f.name == "router_build_info"]
    assert {"version", "python"} == set(family.samples[0].labels)


def test_memory_and_descriptors_are_those_of_this_process() -> None:
    before = n_descriptors()
    with Path(os.devnull).open() as _:
        assert n_descriptors() == before + 1
    assert resident_bytes() > 1e6


def test_gauges_of_a_dead_worker_go_and_its_counters_stay(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    names = ("gauge_livesum", "gauge_livemax", "counter", "histogram")
    for pid in (ended.pid, os.getpid()):
        for name in names:
            (tmp_path / f"{name}_{pid}.db").write_bytes(b"")
    wait_for(lambda: not Path(f"/proc/{ended.pid}").exists())
    forget_the_dead(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{name}_{os.getpid()}.db" for name in names} | {
        f"counter_{ended.pid}.db",
        f"histogram_{ended.pid}.db",
    }
