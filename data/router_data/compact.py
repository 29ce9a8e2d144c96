"""Folds finished segments into date-partitioned Parquet files.

Order of the steps, each of which may be the last one before a crash:

1. write `parquet/kind=K/date=D/<ulid>.parquet` under a temporary name, fsync, rename;
2. replace the manifest: from now on the new files are read and the segments are not;
3. in a later compaction, after a grace time, delete the folded segments and merged files, so
   that readers with an older list of files can finish.

A crash before step 2 leaves unlisted files, which nobody reads and the next run deletes; no row
is lost, because the segments are still read. Rows that are in both are one row in the views.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from ulid import ULID

from router_data import store
from router_data.checked import good_lines, hash_problem, sha256_of
from router_data.leftovers import SCRATCH, delete_unused
from router_data.log import (
    is_being_written,
    log_dir,
    make_folder,
    scan_lines,
    segment_paths,
    sync_directory,
)
from router_data.manifest import (
    MANIFEST,
    PARQUET,
    Manifest,
    ParquetFile,
    only_writer,
    read_manifest,
    write_manifest,
)
from router_data.set_aside import set_aside_lines
from router_model.errors import LogError

KINDS = ("decision", "outcome")
# Longer than any query should take.
GRACE_S = 60.0
# Above this number the files of one day are merged into one.
MAX_FILES_PER_DAY = 8


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction did.

    `n_corrupt` lines were left out and kept in the quarantine. `damaged` Parquet files were not
    merged, because they are not what the manifest says.
    """

    n_segments: int
    n_rows: int
    n_files: int
    n_skipped: int
    n_corrupt: int
    n_deleted: int
    damaged: tuple[str, ...] = ()


def compact(path: Path, *, grace_s: float = GRACE_S) -> CompactReport:
    """Fold every finished segment of a log (or state) folder; only one process may do it.

    Segments that a living writer holds are skipped. Files that were folded or merged at least
    `grace_s` seconds ago are deleted; a query that takes longer may have to be repeated. Where
    the disk refuses, the log stays as it was and LogError says so.
    """
    log = log_dir(path)
    if not log.is_dir():
        raise LogError(f"{log}: no such log folder")
    with only_writer(log):
        try:
            return _compact(log, grace_s=grace_s)
        except (OSError, store.ReadError, LogError) as error:
            # What a full disk has no room for is not left on it.
            with suppress(OSError, LogError):
                delete_unused(log, read_manifest(log), before_ms=0)
            if isinstance(error, LogError):
                raise
            raise LogError(f"{log}: can't be compacted: {error}") from error


def _compact(log: Path, *, grace_s: float) -> CompactReport:
    now_ms = time.time_ns() // 1_000_000
    manifest = read_manifest(log)
    current, n_deleted = delete_unused(log, manifest, before_ms=now_ms - int(grace_s * 1000))
    waiting = [path for path in segment_paths(log) if path.name not in current.folded]
    ready = [path for path in waiting if not is_being_written(path)]
    if ready and not (log / MANIFEST).exists():
        # Parquet files without a manifest are damage.
        write_manifest(log, current)
    sources, n_corrupt = _sources(log, ready)
    folding = _write_files(log, current, sources) if sources else _Folding()
    new = msgspec.structs.replace(
        current,
        files=(*(file for file in current.files if file not in folding.replaced), *folding.added),
        folded=current.folded | {path.name: now_ms for path in ready},
        retired=current.retired | {file.path: now_ms for file in folding.replaced},
    )
    if new != manifest:
        write_manifest(log, new)
    delete_unused(log, new, before_ms=0)
    return CompactReport(
        n_segments=len(ready),
        n_rows=sum(f.n_rows for f in folding.added) - sum(f.n_rows for f in folding.replaced),
        n_files=len(folding.added),
        n_skipped=len(waiting) - len(ready),
        n_corrupt=n_corrupt,
        n_deleted=n_deleted,
        damaged=folding.damaged,
    )


@dataclass(frozen=True, slots=True)
class _Folding:
    added: tuple[ParquetFile, ...] = ()
    replaced: tuple[ParquetFile, ...] = ()
    damaged: tuple[str, ...] = ()


def _sources(log: Path, segments: list[Path]) -> tuple[list[Path], int]:
    """What to read for each segment: itself, or a copy of its good lines when some are corrupt."""
    sources: list[Path] = []
    n_corrupt = 0
    for path in segments:
        data = path.read_bytes()
        scan = scan_lines(path, data)
        if not scan.corrupt_lines:
            sources.append(path)
            continue
        n_corrupt += len(scan.corrupt_lines)
        set_aside_lines(log, scan, data)
        # The copy has the segment's name: it orders rows.
        (log / SCRATCH).mkdir(exist_ok=True)
        clean = log / SCRATCH / path.name
        clean.write_bytes(good_lines(scan))
        sources.append(clean)
    return sources, n_corrupt


def _write_files(log: Path, manifest: Manifest, sources: list[Path]) -> _Folding:
    added: list[ParquetFile] = []
    replaced: list[ParquetFile] = []
    damaged: list[str] = []
    with store.connect_log() as connection:
        connection.execute("set variable segments = ?", [[str(path) for path in sources]])
        for kind in KINDS:
            connection.execute(
                f"create table {kind}s_read as select *, "
                "coalesce(try(strftime(make_timestamp_ms(ts_ms), '%Y-%m-%d')), '1970-01-01') "
                "as written_on "
                f"from segment_{kind}s(getvariable('segments'))"
            )
            days = connection.execute(f"select distinct written_on from {kind}s_read order by 1")
            for (day,) in days.fetchall():
                merged = _to_merge(manifest, kind=kind, day=day)
                wrong = [file.path for file in merged if hash_problem(log, file)]
                merged = [] if wrong else merged
                added.append(_write_day(log, connection, kind=kind, day=day, merged=merged))
                replaced += merged
                damaged += wrong
    return _Folding(tuple(added), tuple(replaced), tuple(damaged))


def _to_merge(manifest: Manifest, *, kind: str, day: str) -> list[ParquetFile]:
    old = [file for file in manifest.files if (file.kind, file.date) == (kind, day)]
    return old if len(old) >= MAX_FILES_PER_DAY else []


def _write_day(
    log: Path,
    connection: "store.Connection",
    *,
    kind: str,
    day: str,
    merged: list[ParquetFile],
) -> ParquetFile:
    folder = log / PARQUET / f"kind={kind}" / f"date={day}"
    make_folder(folder)
    target = folder / f"{ULID()}.parquet"
    temporary = target.with_suffix(".tmp")
    query = f"select * exclude (written_on) from {kind}s_read where written_on = ?"
    values: list[object] = [day]
    if merged:
        # Without the columns that the folders' names would make: rows must stay as they are.
        query += (
            " union all by name select columns(lambda c: c != 'date') "
            "from read_parquet(?, union_by_name = true, hive_partitioning = false)"
        )
        values.append([str(log / file.path) for file in merged])
    n_rows = store.copy_to(connection, query, values, temporary, "format parquet, compression zstd")
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    digest = sha256_of(temporary)
    temporary.replace(target)
    sync_directory(folder)
    path = str(target.relative_to(log))
    return ParquetFile(path=path, kind=kind, date=day, n_rows=n_rows, sha256=digest)
