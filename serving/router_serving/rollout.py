"""Tries another artifact beside the one in use: watching only, or with a share of sessions."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from router_model.errors import RouterError
from router_model.router import Router
from router_serving.artifact_check import sound
from router_serving.canary import CANARY, CHAMPION, CanaryMonitor, Side, session_key
from router_serving.errors import RolloutError
from router_serving.reload import fingerprint
from router_serving.rollout_file import (
    ROLLOUT_FILE,
    RolloutFile,
    read_rollout,
    write_stopped,
)
from router_serving.settings import Settings

_log = structlog.get_logger(__name__)
_KEYS: Final = 2**64


class Rollout(Struct, frozen=True):
    """A rollout in force: its file, the other router, and the comparison of a canary."""

    file: RolloutFile
    router: Router
    monitor: CanaryMonitor

    @property
    def version(self) -> str:
        """The version of the artifact that is tried."""
        return self.router.versions.artifact

    @property
    def is_shadowed(self) -> bool:
        """True when the other side's decision is logged as well."""
        return self.file.mode == "shadow" or self.file.shadow

    def side(self, tenant: str, session: str) -> Side:
        """The side of a session, always the same for one version of the artifact."""
        if self.file.mode != "canary":
            return CHAMPION
        key = session_key(tenant, session, salt=self.version)
        return CANARY if key < self.file.share * _KEYS else CHAMPION


class RolloutWatcher:
    """Puts into force what the file says whenever it, or the artifact that it names, changes.

    What can't be carried out is refused, and the champion then decides alone.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        use: Callable[[Rollout | None], None],
        shown: Callable[[str, str], None],
        counted: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._use = use
        self._shown = shown
        self._counted = counted
        self._path = settings.state_dir / ROLLOUT_FILE
        self._seen = ""
        self._loaded: tuple[str, Router] | None = None
        self.current: Rollout | None = None
        self.mode = "off"
        self.last_error: str | None = None

    async def look(self) -> None:
        """Take over what has changed since the last look."""
        try:
            file = await asyncio.to_thread(read_rollout, self._path)
            seen = await asyncio.to_thread(self._fingerprint, file)
        except RolloutError as error:
            self._refuse(error, seen=str(error))
            return
        if seen == self._seen:
            return
        try:
            await self._take(file, seen)
        except RouterError as error:
            self._refuse(error, seen=seen)

    async def stop(self, rollout: Rollout, reason: str) -> None:
        """End a canary that broke its promise: here at once, for other workers by the file."""
        if self.current is not rollout:
            return
        self._put(None, mode="stopped", version=rollout.version)
        self._counted("stopped")
        _log.error("canary.stopped", artifact=rollout.version, reason=reason)
        try:
            await asyncio.to_thread(write_stopped, self._path, rollout.file, reason=reason)
        except RolloutError as error:
            self.last_error = str(error)
            _log.error("rollout.unwritten", error=str(error))

    async def _take(self, file: RolloutFile, seen: str) -> None:
        if not file.is_on:
            self._seen, self.last_error, self._loaded = seen, None, None
            self._put(None, mode=file.mode, version="")
            return
        router = await self._router(self._folder(file))
        before = self.current
        monitor = CanaryMonitor(file.promise, n_workers=self._settings.workers)
        if before is not None and (before.version, before.file.promise) == (
            router.versions.artifact,
            file.promise,
        ):
            monitor = before.monitor
        self._seen, self.last_error = seen, None
        rollout = Rollout(file, router, monitor)
        self._put(rollout, mode=file.mode, version=rollout.version)
        self._counted("taken")
        _log.info("rollout.taken", mode=file.mode, share=file.share, artifact=rollout.version)

    async def _router(self, folder: Path) -> Router:
        seen = await asyncio.to_thread(fingerprint, folder)
        if self._loaded is None or self._loaded[0] != seen:
            self._loaded = seen, await sound(folder, self._settings)
        return self._loaded[1]

    def _refuse(self, error: RouterError, *, seen: str) -> None:
        if seen == self._seen:
            return
        self._seen, self.last_error = seen, str(error)
        self._put(None, mode="refused", version="")
        self._counted("refused")
        _log.error("rollout.refused", path=str(self._path), code=error.code, error=str(error))

    def _put(self, rollout: Rollout | None, *, mode: str, version: str) -> None:
        self.current, self.mode = rollout, mode
        self._use(rollout)
        self._shown(mode, version)

    def _folder(self, file: RolloutFile) -> Path:
        return self._settings.state_dir / file.artifact

    def _fingerprint(self, file: RolloutFile) -> str:
        folder = fingerprint(self._folder(file)) if file.is_on else ""
        return f"{file}:{folder}"
