"""The compactor is killed at every change it makes on disk, and runs beside writers and readers."""

import threading
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from router_battery.crash_points import crash_everywhere
from router_battery.real_rows import Row, busy_log, written_rows
from router_battery.trial import Scale, Tried, not_zero
from router_data.compact import compact
from router_data.inspection import inspect
from router_data.log import SEGMENTS, SegmentWriter
from router_data.store import Store

COMMANDS = (("compact", "--grace-s", "0"), ("repair",))
VIEWS = ("decisions", "outcomes", "rounds", "quarantine")
N_WRITERS = 2


class Crashes(Struct, frozen=True):
    """How many points there were, and at how many something was different afterwards."""

    n_points: int
    n_changed: int
    n_damaged: int


class Beside(Struct, frozen=True):
    """What writers, readers and the compactor did at the same time."""

    n_rows: int
    n_reads: int
    n_compactions: int
    n_missing: int
    n_twice: int
    errors: tuple[str, ...]


def run(scale: Scale, folder: Path) -> Tried:
    """Kill compaction and repair at every point of a busy log; then let them run beside traffic."""
    rows = written_rows(folder, seconds=1.0, seed=scale.seed)
    kept = rows[: scale.of(400, 80)]
    scale.say("killing the compactor")
    # The short form leaves the points to the unit tests of the log.
    commands = COMMANDS[: scale.of(2, 0)]
    if commands:
        busy_log(folder / "log", kept)
    crashes = [
        _crashes(folder / "log", folder / f"work{number}", command)
        for number, command in enumerate(commands)
    ]
    scale.say("compacting beside writers")
    beside = _beside(folder / "live", rows, seconds=float(scale.of(60, 4)))
    n_changed = sum(each.n_changed for each in crashes)
    n_damaged = sum(each.n_damaged for each in crashes)
    return Tried(
        tried={
            **{
                f"points of {c[0]}": each.n_points
                for c, each in zip(commands, crashes, strict=True)
            },
            "rows written meanwhile": beside.n_rows,
            "compactions meanwhile": beside.n_compactions,
            "reads meanwhile": beside.n_reads,
        },
        seen={
            "views changed by a kill": n_changed,
            "logs damaged by a kill": n_damaged,
            "acknowledged rows missing in a read": beside.n_missing,
            "rows twice in a read": beside.n_twice,
        },
        failed=[
            *beside.errors[:3],
            *not_zero(
                views_changed_by_a_kill=n_changed,
                logs_damaged_by_a_kill=n_damaged,
                rows_missing=beside.n_missing,
                rows_twice=beside.n_twice,
            ),
        ],
    )


def views(log: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every view."""
    with Store(log) as store:
        return {name: store.query(f"select * from {name} order by all") for name in VIEWS}


def _crashes(log: Path, work: Path, command: tuple[str, ...]) -> Crashes:
    work.mkdir()
    expected = views(log)
    n_changed = n_damaged = 0
    folders = crash_everywhere(log, work, command)
    for folder in folders:
        n_changed += views(folder) != expected
        compact(folder, grace_s=0)
        compact(folder, grace_s=0)
        n_changed += views(folder) != expected
        n_damaged += not inspect(folder).is_ok
    return Crashes(len(folders) - 1, n_changed, n_damaged)


class Live:
    """Writers, a reader and a compactor on one log."""

    def __init__(self, log: Path, rows: list[Row]) -> None:
        self.log = log
        self.rows = [row for row in rows if row["kind"] == "outcome"]
        self.written: list[str] = []
        self.errors: list[str] = []
        self.n_compactions = 0
        self.is_over = threading.Event()

    def write(self, number: int) -> None:
        """Append rows under ids of their own, in small segments."""
        with SegmentWriter(self.log / SEGMENTS, f"serve_{number}", max_bytes=20_000) as writer:
            count = 0
            while not self.is_over.is_set():
                ids = [f"w{number}-{count + offset}" for offset in range(5)]
                count += len(ids)
                batch = [
                    {**self.rows[count % len(self.rows)], "decision_id": decision_id}
                    for decision_id in ids
                ]
                writer.append(batch)
                self.written += ids
                time.sleep(0.005)

    def compact(self) -> None:
        """Fold again and again, and delete soon."""
        while not self.is_over.is_set():
            compact(self.log, grace_s=1.0)
            self.n_compactions += 1
            time.sleep(0.05)

    def guarded(self, work: Any, *arguments: int) -> threading.Thread:
        """A thread whose failure is kept."""

        def run() -> None:
            try:
                work(*arguments)
            except Exception as error:  # noqa: BLE001  # shown in the table
                self.errors.append(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def _beside(log: Path, rows: list[Row], *, seconds: float) -> Beside:
    (log / SEGMENTS).mkdir(parents=True)
    live = Live(log, rows)
    threads = [live.guarded(live.write, number) for number in range(N_WRITERS)]
    threads.append(live.guarded(live.compact))
    ends = time.monotonic() + seconds
    n_reads = n_missing = n_twice = 0
    try:
        with Store(log) as store:
            while time.monotonic() < ends:
                acknowledged = set(live.written)
                found = [r["decision_id"] for r in store.query("select decision_id from outcomes")]
                n_reads += 1
                n_missing += len(acknowledged - set(found))
                n_twice += len(found) - len(set(found))
    finally:
        live.is_over.set()
        for thread in threads:
            thread.join()
    return Beside(
        len(live.written), n_reads, live.n_compactions, n_missing, n_twice, tuple(live.errors)
    )
