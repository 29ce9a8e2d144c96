"""Which Parquet files are part of the log, and which segments are folded into them."""

import os
from pathlib import Path

import msgspec

from router_data.log import sync_directory
from router_model.errors import LogError

MANIFEST = "manifest.json"


class ParquetFile(msgspec.Struct, frozen=True, kw_only=True):
    """One compacted file; `path` is relative to the log folder."""

    path: str
    kind: str
    date: str
    n_rows: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The list that decides what is read.

    A Parquet file that is not listed is ignored. `folded` segments are not read any more and
    `retired` Parquet files were merged into others; both map to the time since when (Unix
    milliseconds), and are deleted by a later compaction.
    """

    version: int = 1
    files: tuple[ParquetFile, ...] = ()
    folded: dict[str, int] = {}
    retired: dict[str, int] = {}


def read_manifest(log: Path) -> Manifest:
    """The manifest of a log folder; an empty one where nothing was compacted yet."""
    path = log / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except (OSError, msgspec.DecodeError) as error:
        raise LogError(f"{path}: can't be read: {error}") from error
    if manifest.version != 1:
        raise LogError(f"{path}: version: got {manifest.version}, expected 1")
    return manifest


def write_manifest(log: Path, manifest: Manifest) -> None:
    """Replace the manifest in one step that survives a crash."""
    temporary = log / f"{MANIFEST}.tmp"
    with temporary.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(log / MANIFEST)
    sync_directory(log)
