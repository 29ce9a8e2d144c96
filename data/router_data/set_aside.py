"""Keeps what can't be read in the log's folder `quarantine/`, each piece with a reason file.

Nothing is deleted by being set aside. Doing it again gives the same names, so that a crash in
between leaves nothing twice.
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from router_data.log import SegmentScan, make_folder, sync_directory

QUARANTINE = "quarantine"
REASON = ".reason.json"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a piece was set aside.

    `source` is where it came from, relative to the log folder. Of a segment `lines` are the numbers
    of the corrupt lines, and `n_torn_bytes` the length of a torn last one kept with them. Of a
    Parquet file `n_rows` is what the manifest listed.
    """

    source: str
    reason: str
    at_ms: int
    lines: tuple[int, ...] = ()
    n_torn_bytes: int = 0
    n_rows: int | None = None


def set_aside_lines(log: Path, scan: SegmentScan, data: bytes) -> Path:
    """Keep the corrupt lines of a segment, byte for byte; returns the file that holds them."""
    lines = data.split(b"\n")
    kept = [lines[number - 1] for number in scan.corrupt_lines]
    if scan.n_torn_bytes:
        kept.append(lines[-1])
    content = b"".join(line + b"\n" for line in kept)
    digest = hashlib.sha256(content).hexdigest()[:8]
    target = _folder(log) / f"{scan.path.stem}-{digest}.lines"
    write_durably(target, content)
    _explain(
        target,
        Reason(
            source=str(scan.path.relative_to(log)),
            reason="length or checksum of the lines is wrong",
            at_ms=_now_ms(),
            lines=scan.corrupt_lines,
            n_torn_bytes=scan.n_torn_bytes,
        ),
    )
    return target


def set_aside_file(log: Path, path: Path, *, reason: str, n_rows: int | None = None) -> Path:
    """Move a whole file into the quarantine; one that is missing leaves only its reason there."""
    target = _unused(_folder(log) / path.name, path)
    if target.exists():  # moved by a run that came no further
        return target
    source = str(path.relative_to(log))
    _explain(target, Reason(source=source, reason=reason, at_ms=_now_ms(), n_rows=n_rows))
    if path.exists():
        path.replace(target)
        sync_directory(target.parent)
        sync_directory(path.parent)
    return target


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, whatever happens."""
    temporary = path.with_name(f"{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def quarantined(log: Path) -> Sequence[Path]:
    """Everything in the quarantine, by name."""
    return sorted(path for path in (log / QUARANTINE).glob("*") if path.is_file())


def n_set_aside(log: Path) -> Mapping[str, int]:
    """How many records each file in the quarantine has, by its name.

    A Parquet file has those that its reason file tells of, 0 where that is not known.
    """
    found: dict[str, int] = {}
    for path in quarantined(log):
        if path.suffix in (".lines", ".jsonl"):
            with path.open("rb") as file:
                found[path.name] = sum(1 for _ in file)
        elif path.name.endswith(REASON):
            with suppress(OSError, msgspec.MsgspecError):
                reason = msgspec.json.decode(path.read_bytes(), type=Reason)
                found.setdefault(path.name.removesuffix(REASON), reason.n_rows or 0)
    return found


def _folder(log: Path) -> Path:
    make_folder(log / QUARANTINE)
    return log / QUARANTINE


def _unused(target: Path, path: Path) -> Path:
    """A name beside which nothing is overwritten; a file that is gone keeps the first one."""
    number = 0
    name = target.name
    while path.exists() and target.exists():
        number += 1
        target = target.with_name(f"{name}.{number}")
    return target


def _explain(target: Path, reason: Reason) -> None:
    text = msgspec.json.format(msgspec.json.encode(reason), indent=1)
    write_durably(target.with_name(target.name + REASON), text)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
