"""Folds finished segments into date-partitioned Parquet files.

Order of the steps, each of which may be the last one before a crash:

1. write `parquet/kind=K/date=D/<ulid>.parquet` under a temporary name, fsync, rename;
2. replace the manifest: from now on the new files are read and the segments are not;
3. in a later compaction, after a grace time, delete the folded segments and merged files, so
   that readers with an older list of files can finish.

A crash before step 2 leaves unlisted files, which nobody reads and the next run deletes; no row
is lost, because the segments are still read. Rows that are in both are one row in the views.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from ulid import ULID

from router_data import store
from router_data.log import (
    SEGMENTS,
    is_being_written,
    log_dir,
    scan_segment,
    segment_paths,
    sync_directory,
)
from router_data.manifest import Manifest, ParquetFile, read_manifest, write_manifest
from router_model.errors import LogError

PARQUET = "parquet"
QUARANTINE = "quarantine"
KINDS = ("decision", "outcome")
# Longer than any query should take.
GRACE_S = 60.0
# Above this number the files of one day are merged into one.
MAX_FILES_PER_DAY = 8


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction did. `n_corrupt` lines were left out and kept in the quarantine."""

    n_segments: int
    n_rows: int
    n_files: int
    n_skipped: int
    n_corrupt: int
    n_deleted: int


def compact(path: Path, *, grace_s: float = GRACE_S) -> CompactReport:
    """Fold every finished segment of a log (or state) folder; only one process may do it.

    Segments that a living writer holds are skipped. Files that were folded or merged at least
    `grace_s` seconds ago are deleted; a query that takes longer may have to be repeated.
    """
    log = log_dir(path)
    if not log.is_dir():
        raise LogError(f"{log}: no such log folder")
    with _lock(log):
        now_ms = time.time_ns() // 1_000_000
        manifest = read_manifest(log)
        current, n_deleted = _delete_old(log, manifest, before_ms=now_ms - int(grace_s * 1000))
        waiting = [path for path in segment_paths(log) if path.name not in current.folded]
        ready = [path for path in waiting if not is_being_written(path)]
        sources, n_corrupt = _sources(log, ready)
        added, replaced = _write_files(log, current, sources) if sources else ([], [])
        new = msgspec.structs.replace(
            current,
            files=(*(file for file in current.files if file not in replaced), *added),
            folded=current.folded | {path.name: now_ms for path in ready},
            retired=current.retired | {file.path: now_ms for file in replaced},
        )
        if new != manifest:
            write_manifest(log, new)
        shutil.rmtree(_scratch(log), ignore_errors=True)
    n_rows = sum(file.n_rows for file in added) - sum(file.n_rows for file in replaced)
    return CompactReport(
        len(ready), n_rows, len(added), len(waiting) - len(ready), n_corrupt, n_deleted
    )


def missing_files(path: Path) -> list[str]:
    """Listed Parquet files that are absent or hold another number of rows than listed."""
    log = log_dir(path)
    wrong = []
    with store.connect() as connection:
        for file in read_manifest(log).files:
            count = "select count(*) from read_parquet(?)"
            try:
                answer = connection.execute(count, [str(log / file.path)]).fetchone()
            except store.ReadError:
                answer = None
            if answer is None or answer[0] != file.n_rows:
                wrong.append(file.path)
    return wrong


@contextmanager
def _lock(log: Path) -> Iterator[None]:
    with (log / "compact.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LogError(f"{log}: another compaction is running") from error
        yield


def _scratch(log: Path) -> Path:
    return log / "compacting"


def _delete_old(log: Path, manifest: Manifest, *, before_ms: int) -> tuple[Manifest, int]:
    """Delete what was out of use before a time, and leftovers of crashes.

    Returns the manifest without what was deleted.
    """
    shutil.rmtree(_scratch(log), ignore_errors=True)
    folded = {name: since for name, since in manifest.folded.items() if since > before_ms}
    retired = {name: since for name, since in manifest.retired.items() if since > before_ms}
    known = {file.path for file in manifest.files} | retired.keys()
    parquet = (log / PARQUET).glob("kind=*/date=*/*")
    gone = [path for path in parquet if str(path.relative_to(log)) not in known]
    gone += [log / SEGMENTS / name for name in manifest.folded.keys() - folded.keys()]
    gone = [path for path in gone if path.exists()]
    for path in gone:
        path.unlink()
    return msgspec.structs.replace(manifest, folded=folded, retired=retired), len(gone)


def _sources(log: Path, segments: list[Path]) -> tuple[list[Path], int]:
    """What to read for each segment: itself, or a copy of its good lines when some are corrupt."""
    sources: list[Path] = []
    n_corrupt = 0
    for path in segments:
        scan = scan_segment(path)
        if not scan.corrupt_lines:
            sources.append(path)
            continue
        n_corrupt += len(scan.corrupt_lines)
        quarantine = log / QUARANTINE
        quarantine.mkdir(exist_ok=True)
        shutil.copy2(path, quarantine / path.name)
        # The copy has the segment's name: it orders rows.
        _scratch(log).mkdir(exist_ok=True)
        clean = _scratch(log) / path.name
        clean.write_bytes(b"".join(b'{"row":%b}\n' % row for row in scan.rows))
        sources.append(clean)
    return sources, n_corrupt


def _write_files(
    log: Path, manifest: Manifest, sources: list[Path]
) -> tuple[list[ParquetFile], list[ParquetFile]]:
    added: list[ParquetFile] = []
    replaced: list[ParquetFile] = []
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
                old = [f for f in manifest.files if (f.kind, f.date) == (kind, day)]
                merged = old if len(old) >= MAX_FILES_PER_DAY else []
                added.append(_write_day(log, connection, kind=kind, day=day, merged=merged))
                replaced += merged
    return added, replaced


def _write_day(
    log: Path,
    connection: "store.Connection",
    *,
    kind: str,
    day: str,
    merged: list[ParquetFile],
) -> ParquetFile:
    folder = log / PARQUET / f"kind={kind}" / f"date={day}"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{ULID()}.parquet"
    temporary = target.with_suffix(".tmp")
    query = f"select * exclude (written_on) from {kind}s_read where written_on = ?"
    values: list[object] = [day]
    if merged:
        query += " union all by name select * from read_parquet(?, union_by_name = true)"
        values.append([str(log / file.path) for file in merged])
    n_rows = store.copy_to(connection, query, values, temporary, "format parquet, compression zstd")
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(target)
    for directory in (folder, folder.parent, log / PARQUET, log):
        sync_directory(directory)
    return ParquetFile(path=str(target.relative_to(log)), kind=kind, date=day, n_rows=n_rows)
