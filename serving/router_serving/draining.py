"""Ends a process so that nobody notices: not ready first, deaf only a while later.

A balancer needs some seconds to see that an instance is not ready. Until then it sends calls,
which are still answered. After `drain_s` the server's own handler ends it: no new connections,
calls under way are answered, and what waits for the log is written.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

_log = structlog.get_logger(__name__)


@contextmanager
def draining(*, drain_s: float, stop: Callable[[], None]) -> Iterator[None]:
    """On the first SIGTERM call `stop`, and the handler before only after `drain_s`.

    Further ones change nothing: a worker gets one from its parent and one from who ends the whole
    group. SIGINT does not wait. Without time to drain, or outside of the main thread, signals are
    left alone.
    """
    if drain_s <= 0.0 or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)

    def end() -> None:
        if callable(before):
            before(signal.SIGTERM, None)

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop()
        loop.call_soon_threadsafe(_begin, loop, drain_s, end)

    signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _begin(loop: asyncio.AbstractEventLoop, drain_s: float, end: Callable[[], None]) -> None:
    _log.info("service.draining", seconds=drain_s)
    loop.call_later(drain_s, end)
