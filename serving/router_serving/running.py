"""The parts of a running service: built when it starts, closed when it stops."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from msgspec import Struct

from router_data.log import SEGMENTS, SegmentWriter
from router_serving.access import Access, KeysWatcher, checked_keys
from router_serving.asgi import Bodies
from router_serving.connections import Connections
from router_serving.draining import draining
from router_serving.drift import DRIFT_FILE, DriftFile
from router_serving.engine import Engine
from router_serving.history import History
from router_serving.hotpath import DecisionEndpoints
from router_serving.keys import KEYS_FILE
from router_serving.ledger.building import kept_ledger
from router_serving.ledger.ledger import Ledger
from router_serving.readiness import Readiness, disk_of
from router_serving.reload import ArtifactWatcher, Loaded, load_current
from router_serving.rollout import RolloutWatcher
from router_serving.rollout_file import ROLLOUT_FILE
from router_serving.settings import Settings
from router_serving.telemetry import Metrics
from router_serving.tenants import TENANTS_FILE, TenantsWatcher, load_tenants
from router_serving.tracing import Tracing, started_tracing
from router_serving.turns import PATIENCE, Turns
from router_serving.vitals import Vitals
from router_serving.watch import Watch
from router_serving.writer import LogWriter

# The log's writer thread gives the interpreter back within this time, instead of 5 ms.
SWITCH_INTERVAL_S = 0.0005
_log = structlog.get_logger(__name__)


class Running(Struct, frozen=True, kw_only=True):
    """Everything that a request may need."""

    settings: Settings
    metrics: Metrics
    access: Access
    keys: KeysWatcher
    writer: LogWriter
    engine: Engine
    ledger: Ledger
    history: History
    artifact: ArtifactWatcher
    tenants: TenantsWatcher
    rollout: RolloutWatcher
    watch: Watch
    drift: DriftFile
    bodies: Bodies
    connections: Connections
    readiness: Readiness
    vitals: Vitals
    tracing: Tracing
    endpoints: DecisionEndpoints


@asynccontextmanager
async def running(settings: Settings, loaded: Loaded | None = None) -> AsyncIterator[Running]:
    """Start every part, and on the way out write what waits.

    `loaded` is an artifact that was loaded already; without it the current one is.
    """
    loaded = loaded or await load_current(settings)
    metrics = Metrics()
    async with (
        kept_ledger(settings, registry=metrics.registry) as ledger,
        _served(_built(settings, loaded, metrics, ledger)) as parts,
    ):
        yield parts


@asynccontextmanager
async def _served(parts: Running) -> AsyncIterator[Running]:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    parts.writer.start()
    # Before the first call: a retry of a decision from before the restart gets that answer.
    await _preload(parts)
    # Also before it: a session of the canary stays one across a restart.
    await parts.watch.look()
    tasks = [
        asyncio.create_task(parts.watch.run(), name="watch"),
        asyncio.create_task(parts.vitals.run(), name="vitals"),
    ]
    if threading.current_thread() is threading.main_thread():
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, parts.watch.look_now)
    versions = parts.engine.router.versions
    _log.info("service.started", artifact=versions.artifact, catalog=versions.catalog)
    try:
        with draining(drain_s=parts.settings.drain_s, stop=parts.readiness.stop):
            yield parts
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        n_waiting = parts.writer.n_waiting
        await asyncio.to_thread(parts.writer.close)
        await asyncio.to_thread(parts.history.close)
        await asyncio.to_thread(parts.tracing.close)
        _log.info("service.stopped", flushed=n_waiting)


def _built(settings: Settings, loaded: Loaded, metrics: Metrics, ledger: Ledger) -> Running:
    segments = SegmentWriter(settings.log_dir / SEGMENTS, f"serve_{os.getpid()}")
    writer = LogWriter(
        segments,
        max_rows=settings.log_queue_rows,
        flush_s=settings.log_flush_ms / 1000,
        metrics=metrics,
    )
    engine = Engine(
        loaded.router,
        settings=settings,
        writer=writer,
        metrics=metrics,
        tenants=load_tenants(settings, loaded.router.catalog),
        ledger=ledger,
    )
    access = Access(checked_keys(settings))
    keys = KeysWatcher(settings, access=access, counted=partial(metrics.file_event, KEYS_FILE))
    bodies = Bodies(settings.max_body_bytes)
    watchers = _watchers(settings, loaded, engine, metrics)
    artifact, tenants, rollout = watchers
    disk = partial(disk_of, settings.log_dir)
    readiness = Readiness(
        log=writer, ledger=ledger, has_hard_cap=lambda: engine.tenants.has_hard_cap, disk=disk
    )
    return Running(
        settings=settings,
        metrics=metrics,
        access=access,
        keys=keys,
        writer=writer,
        engine=engine,
        ledger=ledger,
        history=History(settings, writer=writer),
        artifact=artifact,
        tenants=tenants,
        rollout=rollout,
        watch=Watch(
            [keys.look, *(watcher.look for watcher in watchers)], poll_s=settings.reload_poll_s
        ),
        drift=DriftFile(
            settings.state_dir / DRIFT_FILE, counted=partial(metrics.file_event, DRIFT_FILE)
        ),
        bodies=bodies,
        readiness=readiness,
        vitals=Vitals(
            metrics.registry,
            readiness=readiness,
            disk=disk,
            oldest_row_ms=lambda: writer.oldest_ms,
        ),
        tracing=started_tracing(),
        connections=Connections(settings, registry=metrics.registry),
        endpoints=DecisionEndpoints(
            engine,
            access=access,
            metrics=metrics,
            bodies=bodies,
            turns=Turns(
                max_waiting=settings.max_waiting,
                patience_ms=PATIENCE * settings.deadline_ms,
                registry=metrics.registry,
            ),
        ),
    )


def _watchers(
    settings: Settings, loaded: Loaded, engine: Engine, metrics: Metrics
) -> tuple[ArtifactWatcher, TenantsWatcher, RolloutWatcher]:
    """What looks at files, in the order of looking: pins are names of the artifact's catalog."""
    artifact = ArtifactWatcher(
        settings,
        seen=loaded.fingerprint,
        current=lambda: engine.router,
        swap=engine.swap,
        counted=metrics.reloaded,
    )
    tenants = TenantsWatcher(
        settings,
        catalog=lambda: engine.router.catalog,
        swap=engine.use_tenants,
        counted=partial(metrics.file_event, TENANTS_FILE),
    )
    rollout = RolloutWatcher(
        settings,
        use=engine.use_rollout,
        shown=metrics.rollout,
        counted=partial(metrics.file_event, ROLLOUT_FILE),
    )
    return artifact, tenants, rollout


async def _preload(parts: Running) -> None:
    """Remember the answers of the process before, so that retries across a restart get them."""
    try:
        n_rows = await parts.history.recall(parts.engine.recent)
    except Exception as error:  # noqa: BLE001  # the service works without its past
        _log.warning("recent.unread", error=str(error), kind=type(error).__name__)
    else:
        _log.info("recent.read", rows=n_rows)
