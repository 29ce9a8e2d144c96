"""Rows as a real server wrote them, and logs made of them."""

import asyncio
from pathlib import Path
from typing import Any

from router_battery.servers import serving
from router_battery.traffic import Callers
from router_data.compact import MAX_FILES_PER_DAY, compact
from router_data.log import SEGMENTS, SegmentWriter, read_segment, segment_paths

Row = dict[str, Any]


def written_rows(folder: Path, *, seconds: float, seed: int) -> list[Row]:
    """What a server logged of some seconds of traffic."""
    with serving(folder / "state") as server:

        async def traffic() -> None:
            async with Callers(server.port, seed=seed, n=2).calling():
                await asyncio.sleep(seconds)

        asyncio.run(traffic())
        server.stop()
    return [row for path in segment_paths(folder / "state" / "log") for row in read_segment(path)]


def write_segments(log: Path, rows: list[Row], *, n: int) -> None:
    """The rows in n segments of equal length."""
    for number in range(n):
        with SegmentWriter(log / SEGMENTS, f"serve_{number}") as writer:
            writer.append(rows[number::n])


def busy_log(log: Path, rows: list[Row]) -> None:
    """A log in which a compaction folds, merges, and deletes what earlier ones left."""
    n_folds = MAX_FILES_PER_DAY + 1
    for number in range(n_folds):
        write_segments(log, rows[number :: n_folds + 1], n=1)
        compact(log)
    write_segments(log, rows[n_folds :: n_folds + 1], n=2)
