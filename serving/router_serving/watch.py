"""Looks at files that may change while the service runs, in turn or when told."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

Look = Callable[[], Awaitable[None]]
_log = structlog.get_logger(__name__)


class Watch:
    """Calls each of `looks` every `poll_s` seconds; one that fails does not stop the others."""

    def __init__(self, looks: Sequence[Look], *, poll_s: float) -> None:
        self._looks = looks
        self._poll_s = poll_s
        self._asked = asyncio.Event()

    def look_now(self) -> None:
        """End the present wait (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), self._poll_s)
            self._asked.clear()
            await self.look()

    async def look(self) -> None:
        """Look at everything once."""
        for look in self._looks:
            try:
                await look()
            except Exception:  # noqa: BLE001  # the watch outlives one look at a file
                _log.exception("watch.failed", look=getattr(look, "__qualname__", repr(look)))
