"""Freezes the log into one DuckDB file, for training and for questions."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router_data import store
from router_data.checked import sha256_of
from router_data.log import sync_directory
from router_model.errors import LogError

TABLES = ("decisions", "outcomes", "rounds", "quarantine")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was written: rows by table, the file's SHA-256, and what was left out of it.

    It holds what was logged before `until_ms`. `n_corrupt` lines had a wrong checksum.
    """

    path: Path
    until_ms: int
    n_rows: Mapping[str, int]
    sha256: str
    n_corrupt: int


def write_snapshot(state: Path, path: Path, *, until_ms: int | None = None) -> Snapshot:
    """Write decisions, outcomes, rounds and the quarantine as tables of a new DuckDB file.

    All tables are of one moment, also while servers write and a compaction runs. The file gets
    its name when it is whole and on disk. DatasetError or LogError leave no file behind.
    """
    if until_ms is None:
        until_ms = time.time_ns() // 1_000_000
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with store.Store(state) as log:
            n_rows = log.at_one_moment(
                lambda connection: _build(connection, temporary, until_ms=until_ms)
            )
            n_corrupt = log.damage.n_lines
        _sync(temporary)
        digest = sha256_of(temporary)
        temporary.replace(path)
        sync_directory(path.parent)
    except (OSError, store.ReadError) as error:
        raise LogError(f"{path}: can't be written: {error}") from error
    finally:
        _remove(temporary)
    return Snapshot(path, until_ms, n_rows, digest, n_corrupt)


def _build(connection: store.Connection, path: Path, *, until_ms: int) -> dict[str, int]:
    _remove(path)
    n_rows: dict[str, int] = {}
    connection.execute(f"attach {store.literal(path)} as built")
    try:
        for name in TABLES:
            query = f"create table built.{name} as select * from {name}_until(?)"
            answer = connection.execute(query, [until_ms]).fetchone()
            n_rows[name] = int(answer[0]) if answer else 0
        connection.execute("checkpoint built")
    finally:
        connection.execute("detach built")
    return n_rows


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    for leftover in (path, path.with_name(f"{path.name}.wal")):
        leftover.unlink(missing_ok=True)
