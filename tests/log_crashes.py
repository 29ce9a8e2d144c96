"""Logs with something for every step of the upkeep to do, and what must not change by it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from log_samples import decision, outcome, write_log

from router_battery.crash_points import crash_everywhere
from router_data import compact as compaction
from router_data.compact import compact
from router_data.inspection import inspect
from router_data.log import segment_paths
from router_data.store import Store

DAY_MS = 86_400_000
VIEWS = ("decisions", "outcomes", "rounds", "quarantine")


def view(log: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every view."""
    with Store(log) as store:
        return {name: store.query(f"select * from {name} order by all") for name in VIEWS}


def busy_log(log: Path) -> Path:
    """A log in which a compaction folds, merges, and deletes what others folded and merged."""
    for index in range(compaction.MAX_FILES_PER_DAY + 1):
        write_log(log, [decision(f"d{index}"), outcome(f"d{index}", reward=0.25)])
        compact(log)
    rows = [
        decision("late", ts_ms=DAY_MS),
        outcome("late"),
        outcome("d0", reward=0.75, ts_ms=9_000),
    ]
    write_log(log, rows, segments=2)
    return log


def damage_a_segment(log: Path) -> Path:
    """Flip one digit of the second line of the latest segment."""
    path = segment_paths(log)[-1]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b'"ts_ms":', b'"ts_mS":')
    path.write_bytes(b"".join(lines))
    return path


def shape(log: Path) -> tuple[tuple[str, str, int], ...]:
    """The files of a log by folder, ending and size: what syncing a file doesn't change."""
    files = [path for path in log.rglob("*") if path.is_file()]
    return tuple(
        sorted((str(f.parent.relative_to(log)), f.suffix, f.stat().st_size) for f in files)
    )


def distinct(folders: Sequence[Path]) -> list[Path]:
    """One folder of each shape, the last one among them."""
    return list({shape(folder): folder for folder in folders}.values())


def check_crashes(log: Path, work: Path, command: Sequence[str], *, every: int = 1) -> int:
    """Kill a command at every point: the views stay as they were; returns the number of points.

    Of what the points left, every so many-th is looked at.
    """
    expected = view(log)
    folders = crash_everywhere(log, work, command)
    for folder in distinct(folders)[::every]:
        step = folder.name
        assert view(folder) == expected, step
        compact(folder, grace_s=0)
        compact(folder, grace_s=0)
        assert view(folder) == expected, step
        found = inspect(folder)
        assert (found.is_ok, found.leftovers) == (True, ()), step
    return len(folders) - 1
