"""Folds finished segments into date-partitioned Parquet files.

Order of the steps, each of which may be the last one before a crash:

1. write `parquet/kind=K/date=D/<ulid>.parquet` under a temporary name, fsync, rename;
2. replace the manifest: from now on the new files are read and the segments are not;
3. at the *next* compaction delete the segments and files that the manifest has retired, so
   that readers with an older list of files can finish.

A crash before step 2 leaves unlisted files, which nobody reads and the next run deletes; no row
is lost, because the segments are still read. Rows that are in both are one row in the views.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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


def compact(path: Path) -> CompactReport:
    """Fold every finished segment of a log (or state) folder; only one process may do it.

    Segments that a living writer holds are skipped.
    """
    log = log_dir(path)
    if not log.is_dir():
        raise LogError(f"{log}: no such log folder")
    with _lock(log):
        manifest = read_manifest(log)
        n_deleted = _delete_retired(log, manifest)
        waiting = [path for path in segment_paths(log) if path.name not in manifest.folded]
        ready = [path for path in waiting if not is_being_written(path)]
        sources, n_corrupt = _sources(log, ready)
        added, replaced = _write_files(log, manifest, sources) if sources else ([], [])
        replaced_paths = {file.path for file in replaced}
        kept = [file for file in manifest.files if file.path not in replaced_paths]
        new = Manifest(
            files=(*kept, *added),
            folded=tuple(path.name for path in ready),
            retired=tuple(sorted(replaced_paths)),
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


def _delete_retired(log: Path, manifest: Manifest) -> int:
    """Delete what the manifest of the last run has taken out of use, and leftovers of crashes."""
    shutil.rmtree(_scratch(log), ignore_errors=True)
    listed = {file.path for file in manifest.files}
    leftovers = [
        path
        for path in (log / PARQUET).glob("kind=*/date=*/*")
        if str(path.relative_to(log)) not in listed
    ]
    folded = [log / SEGMENTS / name for name in manifest.folded]
    gone = [path for path in (*leftovers, *folded) if path.exists()]
    for path in gone:
        path.unlink()
    return len(gone)


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
                "strftime(make_timestamp_ms(coalesce(ts_ms, 0)), '%Y-%m-%d') as written_on "
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
