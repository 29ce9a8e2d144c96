"""Finds the artifact, and exchanges it while the service runs.

What may be loaded is decided in `artifact_check`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog
from msgspec import Struct

from router_model.artifact import MANIFEST, STARTER
from router_model.errors import ArtifactError, RouterError
from router_model.router import Router
from router_serving.artifact_check import sound, verified
from router_serving.settings import Settings

EXPORTED = "artifact"
_log = structlog.get_logger(__name__)


class Loaded(Struct, frozen=True):
    """A router, the folder it came from and the folder's fingerprint before it was read."""

    folder: Path
    fingerprint: str
    router: Router


def locate(settings: Settings) -> Path:
    """Where the artifact lies: in the state folder, else as set, else the shipped starter."""
    exported = settings.state_dir / EXPORTED
    if exported.is_dir():
        return exported
    if settings.artifact is not None:
        return settings.artifact
    return STARTER


async def load_current(settings: Settings) -> Loaded:
    """The artifact that the settings point to, checked and loaded.

    ArtifactError says what is wrong with it, and how to go back to one that lies beside it:
    nothing is taken in its place, or nobody would notice that a promotion failed.
    """
    folder = locate(settings)
    seen = fingerprint(folder)  # first: a change while loading is seen by the next look
    try:
        return Loaded(folder, seen, await sound(folder, settings))
    except ArtifactError as error:
        raise ArtifactError(f"{error}{_way_back(folder)}") from error


def _way_back(folder: Path) -> str:
    """How to return to the newest other artifact beside an exported one; "" where there is none."""
    others = [
        path
        for path in folder.parent.glob(f"{EXPORTED}.*")
        if path.is_dir() and (path / MANIFEST).is_file() and path.resolve() != folder.resolve()
    ]
    if folder.name != EXPORTED or not others:
        return ""
    newest = max(others, key=lambda path: path.stat().st_mtime_ns)
    link = folder.with_name(f".{EXPORTED}.link")
    return (
        "; to go back: router-train rollback, or "
        f"`ln -s {newest.name} {link} && mv -T {link} {folder}`"
    )


def fingerprint(folder: Path) -> str:
    """Changes whenever a file of the folder does: names, sizes and times, nothing is read."""
    try:
        stats = sorted(
            (str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns)
            for path in folder.rglob("*")
            if path.is_file()
        )
    except OSError as error:  # being replaced at this moment
        return f"unreadable: {error}"
    return f"{folder.resolve()}:{stats}"


class ArtifactWatcher:
    """Looks at the artifact folder and swaps what has changed.

    What is broken is refused once, and looked at again only when a file of it changes. The router
    before is kept, so that a rollback to it loads nothing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        seen: str,
        current: Callable[[], Router],
        swap: Callable[[Router], None],
        counted: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._current = current
        self._swap = swap
        self._counted = counted
        self._seen = seen
        self._previous: Router | None = None
        self.last_error: str | None = None

    async def look(self) -> None:
        """Swap to the artifact on disk if it has changed since the last look and is sound."""
        folder = locate(self._settings)
        found = await asyncio.to_thread(fingerprint, folder)
        if found == self._seen:
            return
        self._seen = found
        try:
            router = await self._sound(folder)
        except RouterError as error:
            self.last_error = str(error)
            self._counted("refused")
            _log.error("artifact.refused", folder=str(folder), code=error.code, error=str(error))
            return
        self.last_error = None
        before = self._previous = self._current()
        self._swap(router)
        self._counted("swapped")
        _log.info("artifact.swapped", before=before.versions.artifact, now=router.versions.artifact)

    async def _sound(self, folder: Path) -> Router:
        previous = self._previous
        if previous is not None and self._settings.catalog is None:
            manifest = await asyncio.to_thread(verified, folder, self._settings)
            # The whole of it: its version is that of the files, and the policy is none of them.
            if manifest == previous.manifest:
                return previous
        return await sound(folder, self._settings)
