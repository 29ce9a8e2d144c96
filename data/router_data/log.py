r"""Appends rows to segment files and reads them back.

A segment is a file of JSON lines, `<log>/segments/<worker>-<ulid>.jsonl`, written by one worker
only and never changed afterwards. Each line frames one row:

    {"n":"00000012","crc32c":"bcc90438","row":{"kind":"outcome"}}

`n` is the length in bytes of the row's JSON and `crc32c` its checksum, both in hexadecimal, so
that DuckDB can read the file as it is and Python can tell every altered line. A process that is
killed in the middle of a write leaves at most one torn line at the end of its segment; that line
was never acknowledged, and readers skip it. While a writer is alive it holds an exclusive lock
on its segment, which tells the compactor to leave it alone.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from crc32c import crc32c
from ulid import ULID

from router_model.errors import LogError

SEGMENTS = "segments"
# The ending of a segment that nothing was written to yet.
UNNAMED = ".new"
MAX_ROW_BYTES = 8 << 20
_HEAD = re.compile(rb'\{"n":"([0-9a-f]{8})","crc32c":"([0-9a-f]{8})","row":')
_HEAD_LENGTH = len(b'{"n":"00000000","crc32c":"00000000","row":')
_TAIL = b"}\n"


def log_dir(path: Path) -> Path:
    """The log folder of a state folder; a log folder itself is returned as it is."""
    return path / "log" if (path / "log").is_dir() else path


def frame(row: Mapping[str, Any]) -> bytes:
    r"""One line of a segment; NaN and infinities become null, as JSON has neither.

    >>> frame({"kind": "outcome"})
    b'{"n":"00000012","crc32c":"bcc90438","row":{"kind":"outcome"}}\n'
    """
    try:
        body = msgspec.json.encode(row)
    except (TypeError, ValueError) as error:
        raise LogError(f"row: not representable as JSON: {error}") from error
    if len(body) > MAX_ROW_BYTES:
        raise LogError(f"row: got {len(body)} bytes, expected at most {MAX_ROW_BYTES}")
    return frame_body(body)


def frame_body(body: bytes) -> bytes:
    """One line of a segment around a row's JSON."""
    return b'{"n":"%08x","crc32c":"%08x","row":%b}\n' % (len(body), crc32c(body), body)


class SegmentWriter:
    """Appends rows durably; use one writer in one thread.

    `max_bytes` and `max_age_s` start a new segment, so that the compactor can take the old one:
    small values make more files, large ones let more rows wait.
    """

    def __init__(
        self,
        directory: Path,
        worker: str,
        *,
        max_bytes: int = 64 << 20,
        max_age_s: float = 3600.0,
    ) -> None:
        self.directory = directory
        self.worker = re.sub(r"[^A-Za-z0-9_]", "_", worker)
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self.path: Path | None = None
        self._descriptor = -1
        self._length = 0
        self._opened_at = 0.0

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows and return when they are on disk; LogError means none of them counts.

        After a failure the segment is cut back to the rows that count and left: the next call
        starts a new one. Where it can't be cut back, rows that don't count may be read as well,
        and a retry writes them again; they are one row in the views.
        """
        if not rows:
            return
        data = b"".join(frame(row) for row in rows)
        if self._is_due(len(data)):
            self.close()
        try:
            if self.path is None:
                self._open()
            _write_all(self._descriptor, data)
            os.fdatasync(self._descriptor)
        except OSError as error:
            place = self.path or self.directory
            self._abandon()
            raise LogError(f"{place}: can't append: {error}") from error
        self._length += len(data)

    def close(self) -> None:
        """End the current segment; the next append starts another one."""
        descriptor = self._descriptor
        self.path, self._descriptor, self._length = None, -1, 0
        if descriptor >= 0:
            with suppress(OSError):  # its rows are on disk already
                os.close(descriptor)

    def __enter__(self) -> "SegmentWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_due(self, n_bytes: int) -> bool:
        if self._length == 0:
            return False
        is_old = time.monotonic() - self._opened_at > self.max_age_s
        return is_old or self._length + n_bytes > self.max_bytes

    def _open(self) -> None:
        make_folder(self.directory)
        path = self.directory / f"{self.worker}-{ULID()}.jsonl"
        # Under its own name only once it is locked, or a compaction could take it for finished.
        unlocked = path.with_suffix(UNNAMED)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(unlocked, flags, 0o640)
        self.path, self._length, self._opened_at = unlocked, 0, time.monotonic()
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlocked.rename(path)
        self.path = path
        sync_directory(self.directory)

    def _abandon(self) -> None:
        """End a segment that failed.

        It is never gone on with: after a failed fdatasync the kernel may take pages for written
        that are not, and the next one would acknowledge what the disk doesn't have.
        """
        path, length = self.path, self._length
        if path is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, length)
                os.fdatasync(self._descriptor)
            if length == 0:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        self.close()


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """What a segment holds: the JSON of its good rows, and what is wrong with the others.

    `corrupt_lines` are line numbers from 1. `n_torn_bytes` is the length of an incomplete last
    line, which is the normal trace of a killed writer and no damage.
    """

    path: Path
    rows: tuple[bytes, ...]
    corrupt_lines: tuple[int, ...]
    n_torn_bytes: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Counts over all segments; `corrupt` maps a segment's name to its corrupt line numbers."""

    n_segments: int
    n_rows: int
    n_torn: int
    corrupt: Mapping[str, tuple[int, ...]]

    @property
    def is_ok(self) -> bool:
        """True when no line is corrupt; torn last lines are no damage."""
        return not self.corrupt


def segment_paths(log: Path) -> list[Path]:
    """All segments of a log folder, oldest first."""
    return sorted((log / SEGMENTS).glob("*.jsonl"), key=lambda path: path.stem[-26:])


def scan_segment(path: Path) -> SegmentScan:
    """Check every line of a segment."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LogError(f"{path}: can't be read: {error}") from error
    return scan_lines(path, data)


def scan_lines(path: Path, data: bytes) -> SegmentScan:
    """Check every line of a segment that was read already."""
    rows: list[bytes] = []
    corrupt: list[int] = []
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        body = intact(line)
        if body is None:
            corrupt.append(number)
        else:
            rows.append(body)
    last = lines[-1]
    if (body := intact(last)) is not None:
        return SegmentScan(path, (*rows, body), tuple(corrupt), 0)
    if not is_torn(last):
        corrupt.append(len(lines))
        last = b""
    return SegmentScan(path, tuple(rows), tuple(corrupt), len(last))


def read_segment(path: Path) -> Iterator[dict[str, Any]]:
    """The good rows of a segment, in the order of writing; corrupt and torn lines are skipped."""
    for body in scan_segment(path).rows:
        yield msgspec.json.decode(body, type=dict[str, Any])


def verify(log: Path) -> VerifyReport:
    """Check every line of every segment of a log folder."""
    n_segments = n_rows = n_torn = 0
    corrupt: dict[str, tuple[int, ...]] = {}
    for path in segment_paths(log):
        scan = scan_segment(path)
        n_segments += 1
        n_rows += len(scan.rows)
        n_torn += scan.n_torn_bytes > 0
        if scan.corrupt_lines:
            corrupt[path.name] = scan.corrupt_lines
    return VerifyReport(n_segments, n_rows, n_torn, corrupt)


def is_being_written(path: Path) -> bool:
    """True while a living writer holds the segment."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def make_folder(path: Path) -> None:
    """Create a folder and what is missing above it, so that they survive a power failure."""
    missing = [path, *path.parents]
    missing = missing[: next(n for n, folder in enumerate(missing) if folder.exists())]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_directory(folder.parent)


def sync_directory(path: Path) -> None:
    """Make created, renamed and deleted names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def intact(line: bytes) -> bytes | None:
    """The row's JSON if the line (without its newline) is intact."""
    head = _HEAD.match(line)
    if head is None or not line.endswith(b"}"):
        return None
    body = line[_HEAD_LENGTH:-1]
    if len(body) != int(head[1], 16) or crc32c(body) != int(head[2], 16):
        return None
    return body


def is_torn(line: bytes) -> bool:
    """True for the beginning of a line; a line that is long enough but wrong is corrupt."""
    head = _HEAD.match(line)
    if head is None:
        return len(line) < _HEAD_LENGTH
    return len(line) < _HEAD_LENGTH + int(head[1], 16) + len(_TAIL) - 1
