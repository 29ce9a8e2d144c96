"""Which Parquet files are part of the log, and which segments are folded into them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from crc32c import crc32c

from router_data.log import sync_directory
from router_model.errors import LogError

MANIFEST = "manifest.json"
PARQUET = "parquet"


class ParquetFile(msgspec.Struct, frozen=True, kw_only=True):
    """One compacted file; `path` is relative to the log folder.

    `sha256` is that of the whole file; None in manifests of versions that didn't write it.
    """

    path: str
    kind: str
    date: str
    n_rows: int
    sha256: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The list that decides what is read.

    A Parquet file that is not listed is ignored. `folded` segments are not read any more and
    `retired` Parquet files were merged into others or dropped for their age; both map to the time
    since when (Unix milliseconds), and are deleted by a later compaction.
    """

    version: int = 1
    files: tuple[ParquetFile, ...] = ()
    folded: dict[str, int] = {}
    retired: dict[str, int] = {}
    # CRC32C of the rest; None where a version wrote the manifest that had none.
    crc32c: str | None = None


def read_manifest(log: Path) -> Manifest:
    """The manifest of a log folder; an empty one where nothing was compacted yet.

    LogError where it is damaged, or missing though there are Parquet files: their rows must not
    vanish from the views without a word.
    """
    manifest = _read(log)
    if isinstance(manifest, str):
        raise LogError(f"{log / MANIFEST}: {manifest}: `router-data repair` makes it anew")
    if manifest.version != 1:
        got = f"version: got {manifest.version}, expected 1"
        raise LogError(f"{log / MANIFEST}: {got}")
    return msgspec.structs.replace(manifest, crc32c=None)


def is_damaged(log: Path) -> bool:
    """True where the manifest can't be read but could be made anew from the Parquet files."""
    return isinstance(_read(log), str)


def _read(log: Path) -> Manifest | str:
    """The manifest as it is, or what is wrong with it."""
    path = log / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        # The first compaction may have begun between the two looks.
        is_missing = bool(parquet_paths(log)) and not path.exists()
        return "missing, though there are Parquet files" if is_missing else Manifest()
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        return f"can't be read: {error}"
    is_same = manifest.crc32c is None or manifest.crc32c == _checksum(manifest)
    return manifest if is_same or manifest.version != 1 else "altered: its checksum is wrong"


def _checksum(manifest: Manifest) -> str:
    rest = msgspec.json.encode(msgspec.structs.replace(manifest, crc32c=None))
    return f"{crc32c(rest):08x}"


def write_manifest(log: Path, manifest: Manifest) -> None:
    """Replace the manifest in one step that survives a crash."""
    sealed = msgspec.structs.replace(manifest, crc32c=_checksum(manifest))
    temporary = log / f"{MANIFEST}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(sealed), indent=1))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(log / MANIFEST)
        sync_directory(log)
    except OSError as error:
        raise LogError(f"{log / MANIFEST}: can't be written: {error}") from error


def parquet_paths(log: Path) -> list[Path]:
    """Every finished Parquet file of a log folder, listed or not, by name."""
    return sorted((log / PARQUET).glob("kind=*/date=*/*.parquet"))


@contextmanager
def only_writer(log: Path) -> Iterator[None]:
    """Hold the right to change the manifest; LogError where another process holds it."""
    try:
        file = (log / "compact.lock").open("w")
    except OSError as error:
        raise LogError(f"{log}: can't be locked: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LogError(f"{log}: another compaction is running, wait for its end") from error
        yield
