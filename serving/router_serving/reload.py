"""Finds, checks and loads the artifact, and exchanges it while the service runs.

LightGBM's text loader can crash on a damaged file, so a new artifact is verified against its
hashes and then loaded once in a process of its own before this one touches it.
"""

import asyncio
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import structlog
from msgspec import Struct

from router_model.artifact import verify
from router_model.catalog import load_catalog
from router_model.errors import ArtifactError, RouterError
from router_model.router import CATALOG_FILE, Router
from router_serving.settings import Settings

CHECK_TIMEOUT_S = 120.0
_log = structlog.get_logger(__name__)


class Loaded(Struct, frozen=True):
    """A router, the folder it came from and the folder's fingerprint before it was read."""

    folder: Path
    fingerprint: str
    router: Router


def locate(settings: Settings) -> Path:
    """Where the artifact lies: in the state folder, else as set, else the shipped starter."""
    exported = settings.state_dir / "artifact"
    if exported.is_dir():
        return exported
    if settings.artifact is not None:
        return settings.artifact
    return Path(str(files("router_model") / "starter"))


def load(folder: Path, *, overlay: Path | None) -> Router:
    """A router from a folder; ArtifactError or CatalogError says what is wrong with it."""
    if overlay is None:
        return Router.load(folder)
    return Router.load(folder, catalog=load_catalog(folder / CATALOG_FILE, overlay))


def load_current(settings: Settings) -> Loaded:
    """The artifact that the settings point to, loaded."""
    folder = locate(settings)
    seen = fingerprint(folder)  # first: a change while loading is seen by the next look
    return Loaded(folder, seen, load(folder, overlay=settings.catalog))


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


async def check_apart(folder: Path, *, overlay: Path | None) -> None:
    """Load the artifact in a process of its own; ArtifactError when that fails or crashes."""
    arguments = [sys.executable, "-m", "router_serving.reload", str(folder)]
    if overlay is not None:
        arguments.append(str(overlay))
    process = await asyncio.create_subprocess_exec(
        *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, errors = await asyncio.wait_for(process.communicate(), CHECK_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ArtifactError(f"{folder}: did not load within {CHECK_TIMEOUT_S:.0f} s") from None
    if process.returncode != 0:
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ArtifactError(last or f"{folder}: the loader ended with {process.returncode}")


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
        overlay = self._settings.catalog
        if self._previous is not None and overlay is None:
            manifest = await asyncio.to_thread(verify, folder)
            if manifest.version == self._previous.versions.artifact:
                return self._previous
        await check_apart(folder, overlay=overlay)
        return await asyncio.to_thread(load, folder, overlay=overlay)


def main(arguments: list[str]) -> int:
    """Load the named artifact and end: 0 when it is sound, 1 with the reason on stderr."""
    folder, overlay = arguments[0], arguments[1] if len(arguments) > 1 else None
    try:
        load(Path(folder), overlay=Path(overlay) if overlay else None)
    except RouterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
