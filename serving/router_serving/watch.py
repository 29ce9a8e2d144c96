"""Looks at files that may change while the service runs, in turn or when told."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import structlog

from router_model.errors import RouterError

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


class FileWatcher:
    """Takes over a file of settings when it has changed.

    `take` reads it, puts it to use, and returns what to log of it. A file that it can't use is
    refused once, and what was taken before stays. `state` tells one state of the file from the
    next; `seen` is the one that was taken at start.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        seen: object,
        state: Callable[[], object],
        take: Callable[[], Mapping[str, object]],
        counted: Callable[[str], None],
    ) -> None:
        self._name = name
        self._path = path
        self._seen = seen
        self._state = state
        self._take = take
        self._counted = counted
        self.last_error: str | None = None

    async def look(self) -> None:
        """Take over what has changed since the last look."""
        found = self._state()
        if found == self._seen:
            return
        self._seen = found
        path = str(self._path)
        try:
            told = self._take()
        except RouterError as error:
            self.last_error = str(error)
            self._counted("refused")
            _log.error(f"{self._name}.refused", path=path, code=error.code, error=str(error))
            return
        self.last_error = None
        self._counted("swapped")
        _log.info(f"{self._name}.swapped", path=path, **told)


def state_of(path: Path) -> tuple[int, ...] | None:
    """What tells one state of a file from the next; None where there is none."""
    try:
        return state_in(path.stat())
    except OSError:
        return None


def state_in(stat: os.stat_result) -> tuple[int, ...]:
    """The same from what the system says of a file."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
