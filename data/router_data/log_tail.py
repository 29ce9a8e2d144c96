"""Reads the newest decisions of a log from the ends of its segments.

A server that starts wants the last few of them at once, however long the log is. What was folded
into Parquet meanwhile is not read, nor anything beyond a number of bytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from router_data.log import intact, segment_paths
from router_model.errors import LogError

# About a thousand decisions: a start waits for them.
MAX_BYTES: Final = 16 << 20


class LoggedAnswer(Struct, frozen=True, kw_only=True):
    """What a decision's row says of the answer that was given."""

    kind: str
    ts_ms: int
    decision_id: str
    tenant: str
    request_hash: str
    model: str
    snapshot: str
    provider: str
    fallbacks: list[str]
    excluded: Raw
    candidates: Raw
    propensity: float
    policy: str
    reason: str
    versions: dict[str, str]
    requested_model: str | None = None
    overrides: dict[str, Any] | None = None
    session: str | None = None
    rollout: str | None = None
    dataset: str | None = None


_decode = msgspec.json.Decoder(LoggedAnswer).decode


def newest_answers(
    log: Path, *, since_ms: int, max_bytes: int = MAX_BYTES
) -> Iterator[dict[str, Any]]:
    """Decisions logged since a time, from the newest segment's end on; imported ones are left out.

    `excluded` and `candidates` are JSON as bytes. Lines that are torn, altered, or no such decision
    are passed over, and so are rows in the middle of `max_bytes`.
    """
    for path in reversed(segment_paths(log)):
        if max_bytes <= 0:
            return
        data = _end_of(path, max_bytes, since_ms=since_ms)
        max_bytes -= len(data)
        for line in reversed(data.split(b"\n")):
            row = _answer_in(line)
            if row is not None and row.ts_ms >= since_ms and row.dataset is None:
                yield structs.asdict(row)


def _end_of(path: Path, n_bytes: int, *, since_ms: int) -> bytes:
    """The last bytes of a segment; nothing where it was written last before the time."""
    try:
        stat = path.stat()
        if stat.st_mtime_ns < since_ms * 1_000_000:
            return b""
        with path.open("rb") as file:
            file.seek(max(0, stat.st_size - n_bytes))
            return file.read()
    except FileNotFoundError:  # folded and deleted meanwhile
        return b""
    except OSError as error:
        raise LogError(f"{path}: can't be read: {error}") from error


def _answer_in(line: bytes) -> LoggedAnswer | None:
    body = intact(line)
    try:
        return None if body is None else _decode(body)
    except msgspec.ValidationError:  # an outcome, or a row of another version
        return None
