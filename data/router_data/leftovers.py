"""Finds what crashes left in a log folder, and deletes what is out of use.

A file is deleted only when its rows are elsewhere too: where an older manifest was put back, files
that it doesn't list may hold the only copy.
"""

import fcntl
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from router_data import store
from router_data.log import SEGMENTS, UNNAMED, segment_paths
from router_data.manifest import MANIFEST, PARQUET, Manifest, parquet_paths
from router_data.set_aside import QUARANTINE

SCRATCH = "compacting"
# Long enough for a writer to name a segment that it has created.
_NAMING_S = 60.0


def delete_unused(log: Path, manifest: Manifest, *, before_ms: int) -> tuple[Manifest, int]:
    """Delete what was out of use before a time, and leftovers of crashes.

    Returns the manifest without what was deleted, and the number of files.
    """
    folded = {name: since for name, since in manifest.folded.items() if since > before_ms}
    retired = {name: since for name, since in manifest.retired.items() if since > before_ms}
    gone = [log / SEGMENTS / name for name in manifest.folded.keys() - folded.keys()]
    gone += [log / name for name in manifest.retired.keys() - retired.keys()]
    gone += leftovers(log, manifest)
    gone = [path for path in gone if path.exists()]
    for path in gone:
        path.unlink()
    shutil.rmtree(log / SCRATCH, ignore_errors=True)
    return msgspec.structs.replace(manifest, folded=folded, retired=retired), len(gone)


def leftovers(log: Path, manifest: Manifest) -> list[Path]:
    """Files that a crash left and that hold no row of their own."""
    found = [*(log / PARQUET).glob("kind=*/date=*/*.tmp"), *(log / QUARANTINE).glob("[!.]*.tmp")]
    found += [path for path in [log / f"{MANIFEST}.tmp"] if path.exists()]
    found += [path for path in (log / SEGMENTS).glob(f"*{UNNAMED}") if _is_left(path)]
    found += (log / SEGMENTS).glob("*.tmp")
    known, _ = _unlisted(log, manifest)
    return found + known


def unlisted_rows(log: Path, manifest: Manifest) -> list[Path]:
    """Parquet files outside of the manifest whose rows are nowhere else, or can't be read."""
    return _unlisted(log, manifest)[1]


def _unlisted(log: Path, manifest: Manifest) -> tuple[list[Path], list[Path]]:
    """Parquet files outside of the manifest: those whose rows are elsewhere, and the others."""
    listed = {file.path for file in manifest.files} | manifest.retired.keys()
    unlisted = [path for path in parquet_paths(log) if str(path.relative_to(log)) not in listed]
    if not unlisted:
        return [], []
    on_disk = {path.stem[-26:] for path in segment_paths(log)}
    elsewhere: list[Path] = []
    others: list[Path] = []
    for path in unlisted:
        folder = str(path.parent.relative_to(log))
        listed_here = [log / f.path for f in manifest.files if str(Path(f.path).parent) == folder]
        own = _segments_in([path])
        is_known = own is not None and own <= on_disk | (_segments_in(listed_here) or set())
        (elsewhere if is_known else others).append(path)
    return elsewhere, others


def _segments_in(files: Iterable[Path]) -> set[str] | None:
    """The segments that Parquet files were made of; None where they can't be read."""
    names = [str(path) for path in files]
    if not names:
        return set()
    query = "select distinct segment from read_parquet(?, hive_partitioning = false)"
    try:
        with store.connect() as connection:
            return {str(row[0]) for row in connection.execute(query, [names]).fetchall()}
    except store.ReadError:
        return None


def _is_left(path: Path) -> bool:
    """True for a segment without a name that no writer is about to give one."""
    try:
        stat = path.stat()
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False
    return stat.st_size == 0 and time.time() - stat.st_mtime > _NAMING_S
