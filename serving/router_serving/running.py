"""A service at work: its parts started in order, and ended so that nothing is lost."""

import asyncio
import multiprocessing
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from router_serving.draining import draining
from router_serving.ledger.building import kept_ledger
from router_serving.parts import Running, built
from router_serving.reload import Loaded, load_current
from router_serving.settings import Settings
from router_serving.supervised import supervised
from router_serving.telemetry import Metrics
from router_serving.workers import Beat

# The log's writer thread gives the interpreter back within this time, instead of 5 ms.
SWITCH_INTERVAL_S = 0.0005
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def running(
    settings: Settings, loaded: Loaded | None = None, *, beat: Beat | None = None
) -> AsyncIterator[Running]:
    """Start every part, and on the way out write what waits.

    `loaded` is an artifact that was loaded already; without it the current one is. With `beat` the
    process has a supervisor: it is called while all is well, and the process ends without one.
    """
    loaded = loaded or await load_current(settings)
    metrics = Metrics()
    async with (
        kept_ledger(settings, registry=metrics.registry) as ledger,
        _served(built(settings, loaded, metrics, ledger), beat) as parts,
    ):
        yield parts


@asynccontextmanager
async def _served(parts: Running, beat: Beat | None) -> AsyncIterator[Running]:
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
    if beat is not None and (supervisor := multiprocessing.parent_process()) is not None:
        tasks.append(asyncio.create_task(supervised(supervisor.pid, beat), name="supervised"))
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


async def _preload(parts: Running) -> None:
    """Remember the answers of the process before, so that retries across a restart get them."""
    try:
        n_rows = await parts.history.recall(parts.engine.recent)
    except Exception as error:  # noqa: BLE001  # the service works without its past
        _log.warning("recent.unread", error=str(error), kind=type(error).__name__)
    else:
        _log.info("recent.read", rows=n_rows)
