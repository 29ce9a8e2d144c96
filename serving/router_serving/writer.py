"""The thread that makes rows durable, in groups, off the request path.

Decisions are offered: taken while there is room and dropped, counted, otherwise. Outcomes are
committed: the caller waits until the disk has them. One fdatasync serves all that came together.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog
from msgspec import Struct

from router_data.log import frame
from router_model.errors import LogError
from router_serving.telemetry import Metrics

Row = Mapping[str, Any]
_log = structlog.get_logger(__name__)

# A full queue is one event however many rows it costs; the counter has the number.
DROP_LOG_INTERVAL_S = 1.0
# A full disk stays full for a while.
RETRY_S = 1.0


class Segments(Protocol):
    """What the writer needs of the log: append rows durably, or raise LogError."""

    def append(self, rows: Sequence[Row]) -> None:
        """Write the rows and sync them; nothing of them stays when it fails."""

    def close(self) -> None:
        """Close the open segment."""


class Commit(Struct, frozen=True):
    """Rows that somebody waits for."""

    rows: Sequence[Row]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class LogWriter:
    """Owns the log of this process; `start` before use and `close` at the end."""

    def __init__(
        self, segments: Segments, *, max_rows: int, flush_s: float, metrics: Metrics
    ) -> None:
        self._segments = segments
        self._max_rows = max_rows
        self._flush_s = flush_s
        self.metrics = metrics
        self._decisions: deque[Row] = deque()
        self._commits: list[Commit] = []
        self._wake = threading.Condition()
        self._is_closing = False
        self._last_error: str | None = None
        self._drop_logged_s = 0.0
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Decisions that are not on disk yet."""
        return len(self._decisions)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest decision that waits was made, as its row says; None for none."""
        try:
            return int(self._decisions[0]["ts_ms"])
        except (IndexError, KeyError):  # taken by the thread at this moment
            return None

    @property
    def last_error(self) -> str | None:
        """Why the last group commit failed; None when it did not."""
        return self._last_error

    def offer(self, row: Row) -> bool:
        """Take a decision for the next group; False, and counted, when the queue is full.

        The thread is not woken: it looks every flush interval, and a wake-up would cost more
        than the rest of this call.
        """
        if len(self._decisions) >= self._max_rows:
            self._dropped(1, cause="queue_full")
            return False
        self._decisions.append(row)
        return True

    async def commit(self, rows: Sequence[Row]) -> None:
        """Return when `rows`, and every decision offered before, are on disk; LogError if not."""
        for row in rows:
            frame(row)  # a row that can't be written fails alone, not with its whole group
        loop = asyncio.get_running_loop()
        commit = Commit(rows, loop, loop.create_future())
        with self._wake:
            if self._is_closing:
                raise LogError("the log is closed: the service is shutting down")
            if sum(len(waiting.rows) for waiting in self._commits) > self._max_rows:
                raise LogError(f"more than {self._max_rows} outcomes wait for the disk")
            self._commits.append(commit)
            self._wake.notify()
        await commit.done

    def close(self) -> None:
        """Write what waits, then stop; what the disk refuses now is dropped and counted."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join()
        if self._decisions:
            self._dropped(len(self._decisions), cause="shutdown")
        self._segments.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._commits and not self._is_closing:
                    self._wake.wait(RETRY_S if self._last_error else self._flush_s)
                commits, self._commits = self._commits, []
                is_last = self._is_closing
            decisions = [self._decisions.popleft() for _ in range(len(self._decisions))]
            if decisions or commits:
                self._write(decisions, commits)
            if is_last:
                return

    def _write(self, decisions: list[Row], commits: list[Commit]) -> None:
        outcomes = [row for commit in commits for row in commit.rows]
        try:
            if decisions or outcomes:
                self._segments.append([*decisions, *outcomes])
        except LogError as error:
            self._failed(error)
            self._put_back(decisions)
        except Exception as error:  # noqa: BLE001  # the thread outlives a row nobody foresaw
            self._failed(error)
            self._dropped(len(decisions), cause="unwritable")
        else:
            self._last_error = None
            self.metrics.logged(decisions=len(decisions), outcomes=len(outcomes))
        failure = self._last_error
        for commit in commits:
            commit.loop.call_soon_threadsafe(_resolve, commit.done, failure)

    def _put_back(self, decisions: list[Row]) -> None:
        """Keep what the disk refused, but not what no disk would take: it would fail forever."""
        writable = [row for row in decisions if _is_writable(row)]
        if len(writable) < len(decisions):
            self._dropped(len(decisions) - len(writable), cause="unwritable")
        self._decisions.extendleft(reversed(writable))

    def _failed(self, error: Exception) -> None:
        self._last_error = str(error)
        self.metrics.log_failed()
        _log.error("log.failed", error=str(error), kind=type(error).__name__)

    def _dropped(self, rows: int, *, cause: str) -> None:
        self.metrics.dropped(rows, cause=cause)
        now_s = time.monotonic()
        if now_s - self._drop_logged_s >= DROP_LOG_INTERVAL_S:
            self._drop_logged_s = now_s
            _log.warning("log.dropped", rows=rows, cause=cause)


def _is_writable(row: Row) -> bool:
    try:
        frame(row)
    except LogError:
        return False
    return True


def _resolve(done: asyncio.Future[None], failure: str | None) -> None:
    if done.done():  # the caller hung up
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(LogError(failure))
