import asyncio
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from router_data.log import MAX_ROW_BYTES, SegmentWriter, read_segment
from router_model.errors import LogError
from router_serving.telemetry import Metrics
from router_serving.writer import LogWriter, Row


class Disk:
    """Segments whose disk can be full, slow or choke on a row."""

    def __init__(self) -> None:
        self.groups: list[list[Row]] = []
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.is_closed = False

    def append(self, rows: Sequence[Row]) -> None:
        self.open.wait(10)
        if self.failure is not None:
            raise self.failure
        self.groups.append(list(rows))

    def close(self) -> None:
        self.is_closed = True

    @property
    def rows(self) -> list[Row]:
        return [row for group in self.groups for row in group]


def started(disk: Any, *, max_rows: int = 100, flush_s: float = 0.005) -> LogWriter:
    writer = LogWriter(disk, max_rows=max_rows, flush_s=flush_s, metrics=Metrics())
    writer.start()
    return writer


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def row(number: int, kind: str = "decision") -> Mapping[str, Any]:
    return {"kind": kind, "decision_id": str(number)}


def test_offered_rows_are_written_within_the_flush_interval() -> None:
    disk = Disk()
    writer = started(disk)
    assert all(writer.offer(row(i)) for i in range(5))
    eventually(lambda: disk.rows == [row(i) for i in range(5)])
    writer.close()
    assert disk.is_closed


def test_a_commit_returns_once_the_rows_are_on_disk(tmp_path: Path) -> None:
    writer = started(SegmentWriter(tmp_path, "w"))
    writer.offer(row(1))
    asyncio.run(writer.commit([row(2, "outcome")]))
    (segment,) = tmp_path.glob("*.jsonl")
    assert list(read_segment(segment)) == [row(1), row(2, "outcome")]
    writer.close()


def test_commits_that_come_together_share_one_group() -> None:
    disk = Disk()
    writer = started(disk)

    async def many() -> None:
        disk.open.clear()
        first = asyncio.create_task(writer.commit([row(0, "outcome")]))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(writer.commit([row(i, "outcome")])) for i in range(1, 20)]
        await asyncio.sleep(0.05)
        disk.open.set()
        await asyncio.gather(first, *rest)

    asyncio.run(many())
    writer.close()
    assert [len(group) for group in disk.groups] == [1, 19]


def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    disk = Disk()
    disk.open.clear()
    writer = started(disk, max_rows=3, flush_s=0.001)
    taken = [writer.offer(row(i)) for i in range(20)]
    assert taken.count(False) >= 10
    disk.open.set()
    writer.close()
    assert len(disk.rows) == taken.count(True)
    text = writer_metrics(writer)
    assert f'router_log_dropped_total{{cause="queue_full"}} {float(taken.count(False))}' in text


def test_a_full_disk_refuses_the_commit_and_keeps_the_decisions() -> None:
    disk = Disk()
    disk.failure = LogError("no space left on device")
    writer = started(disk)
    writer.offer(row(1))
    with pytest.raises(LogError, match="no space"):
        asyncio.run(writer.commit([row(2, "outcome")]))
    assert writer.last_error
    disk.failure = None
    asyncio.run(writer.commit([row(3, "outcome")]))
    assert disk.rows == [row(1), row(3, "outcome")]
    assert writer.last_error is None
    writer.close()


def test_a_row_that_can_not_be_written_does_not_stop_the_thread() -> None:
    disk = Disk()
    disk.failure = TypeError("not JSON")
    writer = started(disk)
    with pytest.raises(LogError):
        asyncio.run(writer.commit([row(1, "outcome")]))
    disk.failure = None
    asyncio.run(writer.commit([row(2, "outcome")]))
    assert disk.rows == [row(2, "outcome")]
    writer.close()


def test_a_decision_that_no_disk_would_take_is_dropped_and_the_others_are_written(
    tmp_path: Path,
) -> None:
    # It was once put back and failed every group from then on.
    writer = started(SegmentWriter(tmp_path, "w"), flush_s=10.0)
    for text in ("first", "x" * (MAX_ROW_BYTES + 1), "\ud83d", "last"):
        writer.offer({"kind": "decision", "text": text})
    with pytest.raises(LogError, match="row: got"):
        asyncio.run(writer.commit([{"text": "x" * (MAX_ROW_BYTES + 1)}]))
    with pytest.raises(LogError):
        asyncio.run(writer.commit([row(1, "outcome")]))
    asyncio.run(writer.commit([row(2, "outcome")]))
    writer.close()
    (segment,) = tmp_path.glob("*.jsonl")
    first, last, committed = read_segment(segment)
    assert (first["text"], last["text"], committed) == ("first", "last", row(2, "outcome"))
    assert 'router_log_dropped_total{cause="unwritable"} 2.0' in writer_metrics(writer)


@pytest.mark.parametrize("call", ["open", "write", "flock", "fdatasync"])
def test_a_disk_that_fails_for_a_while_loses_no_acknowledged_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    writer = started(SegmentWriter(tmp_path, "w", max_bytes=100), flush_s=10.0)
    asyncio.run(writer.commit([row(1, "outcome")]))
    place = fcntl if call == "flock" else os

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(place, call, full)
        writer.offer(row(2))
        for number in (3, 4):
            with pytest.raises(LogError, match="No space left"):
                asyncio.run(writer.commit([row(number, "outcome")]))
    asyncio.run(writer.commit([row(5, "outcome")]))
    writer.close()
    rows = [item for path in sorted(tmp_path.glob("*.jsonl")) for item in read_segment(path)]
    assert [item["decision_id"] for item in rows] == ["1", "2", "5"]
    assert "router_log_failures_total 2.0" in writer_metrics(writer)
    assert list(tmp_path.glob("*.new")) == []


def test_closing_writes_what_waits_and_refuses_what_comes_later() -> None:
    disk = Disk()
    writer = started(disk, flush_s=10.0)
    for i in range(50):
        writer.offer(row(i))
    writer.close()
    assert len(disk.rows) == 50
    with pytest.raises(LogError, match="shutting down"):
        asyncio.run(writer.commit([row(1, "outcome")]))


def test_what_the_disk_refuses_at_the_end_is_counted() -> None:
    disk = Disk()
    disk.failure = LogError("no space")
    writer = started(disk, flush_s=10.0)
    writer.offer(row(1))
    writer.close()
    assert 'router_log_dropped_total{cause="shutdown"} 1.0' in writer_metrics(writer)


def test_a_caller_that_hung_up_disturbs_nobody() -> None:
    disk = Disk()
    disk.open.clear()
    writer = started(disk)

    async def gone() -> None:
        waiting = asyncio.create_task(writer.commit([row(1, "outcome")]))
        await asyncio.sleep(0.02)
        waiting.cancel()
        disk.open.set()
        await writer.commit([row(2, "outcome")])

    asyncio.run(gone())
    writer.close()
    assert disk.rows == [row(1, "outcome"), row(2, "outcome")]


def test_an_empty_commit_is_a_flush() -> None:
    disk = Disk()
    writer = started(disk, flush_s=10.0)
    time.sleep(0.01)
    writer.offer(row(1))
    asyncio.run(writer.commit(()))
    assert disk.rows == [row(1)]
    writer.close()


def writer_metrics(writer: LogWriter) -> str:
    return writer.metrics.exposition(queue_rows=0, sessions=0).decode()
