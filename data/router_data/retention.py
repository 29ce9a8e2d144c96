"""Drops what is older than it may be kept: whole days of Parquet files, and old quarantine.

A command of its own and no part of a compaction: what deletes data is run on purpose.
"""

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from router_data.compact import GRACE_S
from router_data.leftovers import delete_unused
from router_data.log import log_dir, segment_paths
from router_data.manifest import (
    Manifest,
    ParquetFile,
    only_writer,
    read_manifest,
    write_manifest,
)
from router_data.set_aside import quarantined
from router_model.errors import LogError


@dataclass(frozen=True, slots=True)
class RetainReport:
    """What was dropped, or would be.

    `dropped` files are not read any more, and deleted by the next compaction or `retain` after
    the grace time; `n_deleted` were deleted now. `quarantine` files are deleted at once.
    `n_unfolded` segments are in no day yet: their rows are kept until they are compacted.
    """

    dropped: tuple[ParquetFile, ...]
    quarantine: tuple[Path, ...]
    n_deleted: int
    n_unfolded: int

    @property
    def n_rows(self) -> int:
        """Rows in the dropped files."""
        return sum(file.n_rows for file in self.dropped)


def retain(
    path: Path,
    *,
    days: int,
    outcomes_days: int | None = None,
    quarantine_days: int | None = None,
    grace_s: float = GRACE_S,
    today: date | None = None,
    is_dry_run: bool = False,
) -> RetainReport:
    """Keep today (in UTC) and the `days` before; the other two are as `days` where not given.

    The day of a row is that of its `ts_ms`. Of a decision just before the limit whose outcome came
    after it the outcome stays, and is counted as one without decision.
    """
    log = log_dir(path)
    if not log.is_dir():
        raise LogError(f"{log}: no such log folder")
    day = today or datetime.now(UTC).date()
    kept = {"decision": days, "outcome": days if outcomes_days is None else outcomes_days}
    first = {kind: (day - timedelta(days=n)).isoformat() for kind, n in kept.items()}
    n_days = days if quarantine_days is None else quarantine_days
    oldest_s = time.time() - 86_400 * (n_days + 1)
    with only_writer(log):
        manifest = read_manifest(log)
        dropped = tuple(file for file in manifest.files if file.date < first[file.kind])
        old = tuple(path for path in quarantined(log) if path.stat().st_mtime < oldest_s)
        n_deleted = 0
        if not is_dry_run:
            try:
                n_deleted = _drop(log, manifest, dropped, grace_s=grace_s)
                for piece in old:
                    piece.unlink()
            except OSError as error:
                raise LogError(f"{log}: old days can't be dropped: {error}") from error
    n_unfolded = sum(segment.name not in manifest.folded for segment in segment_paths(log))
    return RetainReport(dropped, old, n_deleted, n_unfolded)


def _drop(
    log: Path, manifest: Manifest, dropped: tuple[ParquetFile, ...], *, grace_s: float
) -> int:
    now_ms = time.time_ns() // 1_000_000
    # First: the rows of leftovers are elsewhere now, and would not be afterwards.
    current, n_deleted = delete_unused(log, manifest, before_ms=now_ms - int(grace_s * 1000))
    new = msgspec.structs.replace(
        current,
        files=tuple(file for file in current.files if file not in dropped),
        retired=current.retired | {file.path: now_ms for file in dropped},
    )
    if new != manifest:
        write_manifest(log, new)
    return n_deleted
