"""The parts of a running service, built from its settings."""

import os
from functools import partial

from msgspec import Struct

from router_data.log import SEGMENTS, SegmentWriter
from router_serving.access import Access, checked_keys, keys_watcher
from router_serving.asgi import Bodies
from router_serving.connections import Connections
from router_serving.drift import DRIFT_FILE, DriftFile
from router_serving.engine import Engine
from router_serving.history import History
from router_serving.hooks.pending import PendingDecisions
from router_serving.hooks.retries import Retries
from router_serving.hotpath import DecisionEndpoints
from router_serving.keys import KEYS_FILE
from router_serving.ledger.ledger import Ledger
from router_serving.readiness import Readiness, disk_of
from router_serving.reload import ArtifactWatcher, Loaded
from router_serving.rollout import RolloutWatcher
from router_serving.rollout_file import ROLLOUT_FILE
from router_serving.settings import Settings
from router_serving.telemetry import Metrics
from router_serving.tenants import TENANTS_FILE, load_tenants, tenants_watcher
from router_serving.tracing import Tracing, started_tracing
from router_serving.turns import PATIENCE, Turns
from router_serving.vitals import Vitals
from router_serving.watch import FileWatcher, Watch
from router_serving.writer import LogWriter

Watched = dict[str, FileWatcher | ArtifactWatcher | RolloutWatcher]


class Running(Struct, frozen=True, kw_only=True):
    """Everything that a request may need."""

    settings: Settings
    metrics: Metrics
    access: Access
    keys: FileWatcher
    writer: LogWriter
    engine: Engine
    ledger: Ledger
    history: History
    artifact: ArtifactWatcher
    tenants: FileWatcher
    rollout: RolloutWatcher
    watch: Watch
    drift: DriftFile
    bodies: Bodies
    connections: Connections
    readiness: Readiness
    vitals: Vitals
    tracing: Tracing
    endpoints: DecisionEndpoints
    pending: PendingDecisions
    retries: Retries


def built(settings: Settings, loaded: Loaded, metrics: Metrics, ledger: Ledger) -> Running:
    """Every part, none of them started; raises what a file of settings that can't be used does."""
    writer = _writer(settings, metrics)
    engine = Engine(
        loaded.router,
        settings=settings,
        writer=writer,
        metrics=metrics,
        tenants=load_tenants(settings, loaded.router.catalog),
        ledger=ledger,
    )
    access = Access(checked_keys(settings))
    keys = keys_watcher(settings, access=access, counted=partial(metrics.file_event, KEYS_FILE))
    bodies = Bodies(settings.max_body_bytes)
    artifact, tenants, rollout = _watchers(settings, loaded, engine, metrics)
    files: Watched = {KEYS_FILE: keys, "artifact": artifact, TENANTS_FILE: tenants}
    files[ROLLOUT_FILE] = rollout
    readiness = _readiness(settings, writer, engine, ledger, files)
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
        watch=Watch([one.look for one in files.values()], poll_s=settings.reload_poll_s),
        drift=_drift(settings, metrics),
        bodies=bodies,
        readiness=readiness,
        vitals=_vitals(settings, metrics, writer, readiness),
        tracing=started_tracing(),
        connections=Connections(settings, registry=metrics.registry),
        endpoints=_endpoints(settings, metrics, engine, access, bodies),
        pending=PendingDecisions(),
        retries=Retries(),
    )


def _writer(settings: Settings, metrics: Metrics) -> LogWriter:
    return LogWriter(
        SegmentWriter(settings.log_dir / SEGMENTS, f"serve_{os.getpid()}"),
        max_rows=settings.log_queue_rows,
        flush_s=settings.log_flush_ms / 1000,
        metrics=metrics,
    )


def _drift(settings: Settings, metrics: Metrics) -> DriftFile:
    counted = partial(metrics.file_event, DRIFT_FILE)
    return DriftFile(settings.state_dir / DRIFT_FILE, counted=counted)


def _readiness(
    settings: Settings,
    writer: LogWriter,
    engine: Engine,
    ledger: Ledger,
    files: Watched,
) -> Readiness:
    return Readiness(
        log=writer,
        ledger=ledger,
        has_hard_cap=lambda: engine.tenants.has_hard_cap,
        disk=partial(disk_of, settings.log_dir),
        files=files,
    )


def _vitals(
    settings: Settings, metrics: Metrics, writer: LogWriter, readiness: Readiness
) -> Vitals:
    return Vitals(
        metrics.registry,
        readiness=readiness,
        disk=partial(disk_of, settings.log_dir),
        oldest_row_ms=lambda: writer.oldest_ms,
    )


def _endpoints(
    settings: Settings, metrics: Metrics, engine: Engine, access: Access, bodies: Bodies
) -> DecisionEndpoints:
    turns = Turns(
        max_waiting=settings.max_waiting,
        patience_ms=PATIENCE * settings.deadline_ms,
        registry=metrics.registry,
    )
    return DecisionEndpoints(engine, access=access, metrics=metrics, bodies=bodies, turns=turns)


def _watchers(
    settings: Settings, loaded: Loaded, engine: Engine, metrics: Metrics
) -> tuple[ArtifactWatcher, FileWatcher, RolloutWatcher]:
    """What looks at files, in the order of looking: pins are names of the artifact's catalog."""
    artifact = ArtifactWatcher(
        settings,
        seen=loaded.fingerprint,
        current=lambda: engine.router,
        swap=engine.swap,
        counted=metrics.reloaded,
    )
    tenants = tenants_watcher(
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
