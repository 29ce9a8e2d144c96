"""Checks the files of a log before they are read, each byte once.

DuckDB computes no checksums: without this, a flipped digit of a segment or of a Parquet file would
be believed. Segments are checked as they grow; of one with corrupt lines a copy of its good lines
is read. Parquet files never change, so each is hashed once.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from router_data.log import SegmentScan, intact, is_being_written, is_torn, scan_lines
from router_data.manifest import ParquetFile

MISSING = "missing"
UNREADABLE = "can't be read as Parquet"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """What was left out when a log was read.

    `corrupt_lines` counts by segment, `files` has the reason by damaged Parquet file.
    """

    corrupt_lines: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def n_lines(self) -> int:
        """Corrupt lines of all segments."""
        return sum(self.corrupt_lines.values())


@dataclass(slots=True)
class _Seen:
    """How far a segment was checked: whole lines up to `offset`."""

    stamp: tuple[int, int, int]  # inode, size, time of change
    offset: int
    n_corrupt: int
    n_corrupt_at_end: int

    @property
    def n_left_out(self) -> int:
        return self.n_corrupt + self.n_corrupt_at_end


class SegmentChecks:
    """Remembers what was checked of each segment; `close` deletes the copies.

    A segment that grew is checked from where the last look ended, one that changed otherwise from
    its beginning. What changes on the disk without changing the file's size or times afterwards
    is found by `verify`, by a compaction, and by every other reader.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, _Seen] = {}
        self._folder: TemporaryDirectory[str] | None = None

    @property
    def corrupt_lines(self) -> dict[str, int]:
        """Corrupt lines by segment, of the segments that were asked for last."""
        return {path.name: seen.n_left_out for path, seen in self._seen.items() if seen.n_left_out}

    def readable(self, segments: Sequence[Path]) -> list[Path]:
        """What to read for each segment: itself, or a copy of its good lines.

        FileNotFoundError where one is gone.
        """
        for gone in self._seen.keys() - set(segments):
            del self._seen[gone]
        return [self._readable(path) for path in segments]

    def frozen(self, segments: Sequence[Path]) -> list[Path]:
        """Like `readable`, of this moment: segments that are still written are copied."""
        readable = [self._frozen(path) for path in segments]
        self._seen = {path: seen for path, seen in self._seen.items() if path in segments}
        return readable

    def close(self) -> None:
        """Delete the copies."""
        self._seen.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _frozen(self, path: Path) -> Path:
        if is_being_written(path):
            copy = self._place("frozen", path)
            shutil.copyfile(path, copy)
            # A line that is half written is torn in the copy and stays out.
            n_corrupt = len(scan_lines(copy, copy.read_bytes()).corrupt_lines)
            self._seen[path] = _Seen((0, 0, 0), 0, n_corrupt, 0)
            return copy if not n_corrupt else self._clean_copy(copy)
        return self._readable(path)

    def _readable(self, path: Path) -> Path:
        stat = path.stat()
        seen = self._seen.get(path)
        if seen is None or seen.stamp != (stat.st_ino, stat.st_size, stat.st_mtime_ns):
            seen = self._seen[path] = _look(path, seen)
            if seen.n_left_out:
                return self._clean_copy(path)
        return self._place("clean", path) if seen.n_left_out else path

    def _clean_copy(self, path: Path) -> Path:
        # The copy has the segment's name: it orders rows.
        copy = self._place("clean", path)
        copy.write_bytes(good_lines(scan_lines(path, path.read_bytes())))
        return copy

    def _place(self, kind: str, path: Path) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="router-log-")
        folder = Path(self._folder.name) / kind
        folder.mkdir(exist_ok=True)
        return folder / path.name


class ParquetChecks:
    """Remembers which Parquet files were hashed, or read whole where no hash is listed.

    `decodes` tells whether all of a Parquet file can be read.
    """

    def __init__(self, decodes: Callable[[Path], bool]) -> None:
        self._decodes = decodes
        self._seen: dict[str, tuple[tuple[int, int, int], str | None]] = {}

    def problems(self, log: Path, files: Iterable[ParquetFile]) -> dict[str, str]:
        """What is wrong with listed files, by path."""
        found = {file.path: self._problem(log, file) for file in files}
        self._seen = {path: seen for path, seen in self._seen.items() if path in found}
        return {path: problem for path, problem in found.items() if problem is not None}

    def _problem(self, log: Path, file: ParquetFile) -> str | None:
        try:
            stat = (log / file.path).stat()
            stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            seen = self._seen.get(file.path)
            if seen is None or seen[0] != stamp:
                seen = self._seen[file.path] = stamp, self._look(log, file)
            return seen[1]
        except FileNotFoundError:
            return MISSING

    def _look(self, log: Path, file: ParquetFile) -> str | None:
        problem = hash_problem(log, file)
        if problem is None and file.sha256 is None and not self._decodes(log / file.path):
            return UNREADABLE
        return problem


def hash_problem(log: Path, file: ParquetFile) -> str | None:
    """What is wrong with a listed Parquet file, as far as its hash can tell."""
    path = log / file.path
    if not path.exists():
        return MISSING
    try:
        is_same = file.sha256 is None or sha256_of(path) == file.sha256
    except OSError as error:
        return f"can't be read: {error}"
    return None if is_same else "altered: its sha256 is not the one in the manifest"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def good_lines(scan: SegmentScan) -> bytes:
    """The intact rows of a segment, one JSON object a line, as the views read them."""
    return b"".join(b'{"row":%b}\n' % row for row in scan.rows)


def _look(path: Path, before: _Seen | None) -> _Seen:
    """Check what was appended since `before`, or everything where that isn't sure."""
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        if before and _has_grown(before, stat):
            file.seek(before.offset)
            seen = _checked(file.read(), stat, before)
            # A segment may have been cut back and have grown past where the last look ended.
            if seen.n_left_out == before.n_corrupt:
                return seen
            file.seek(0)
        return _checked(file.read(), stat, None)


def _has_grown(before: _Seen, stat: os.stat_result) -> bool:
    inode, size, _ = before.stamp
    return inode == stat.st_ino and max(size + 1, before.offset) <= stat.st_size


def _checked(data: bytes, stat: os.stat_result, before: _Seen | None) -> _Seen:
    lines = data.split(b"\n")
    last = lines.pop()
    start = before.offset if before else 0
    n_corrupt = before.n_corrupt if before else 0
    is_good = intact(last) is not None or is_torn(last)
    return _Seen(
        # A size from before the reading: what came since is looked at again, which does no harm.
        stamp=(stat.st_ino, stat.st_size, stat.st_mtime_ns),
        offset=start + len(data) - len(last),
        n_corrupt=n_corrupt + sum(intact(line) is None for line in lines),
        n_corrupt_at_end=int(not is_good),
    )
