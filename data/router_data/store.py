"""The only door to DuckDB: connections, reading of tables, and the views over the log."""

import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from router_data.arrays import plain
from router_data.checked import MISSING, Damage, ParquetChecks, SegmentChecks
from router_data.log import log_dir, segment_paths
from router_data.manifest import Manifest, read_manifest
from router_model.errors import DatasetError, LogError

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Columns = dict[str, NDArray[Any]]
Connection = duckdb.DuckDBPyConnection
ReadError = duckdb.Error

# json, parquet and icu are part of the library; nothing else may be fetched at run time.
_CONFIG: dict[str, str] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}

_ATTEMPTS = 10
NOTHING = "/dev/null"
_JSON_COLUMNS = ("excluded", "candidates", "signals", "shadow", "situation")
_DECISION = "select * from decisions where decision_id = ? and (? is null or tenant = ?) limit 2"
_OUTCOMES = "select * from outcomes where decision_id = ? and tenant = ? order by attempt"
_DECODE = "select count(*), bit_xor(hash(t)) from read_parquet(?, hive_partitioning = false) t"
_STORED = """
    create or replace view stored_{kind}s as
    -- Files that an earlier version merged have a column with the name of their folder.
    select columns(lambda c: c != 'date')
    from read_parquet(getvariable('{kind}_files'), union_by_name = true, hive_partitioning = false)
"""
_NOT_STORED = """
    create or replace view stored_{kind}s as
    select unnest(null::{kind}_row), null::varchar as segment, null::bigint as line where false
"""
# No spilling: its files would lie wherever the process was started.
_BOUNDED = """
    set threads = 1; set memory_limit = '{memory_mb}MB'; set temp_directory = '';
    set allocator_flush_threshold = '1MB'
"""


class Store:
    """Views over a log folder (or the state folder around it), read-only.

    `decisions`, `outcomes` and `rounds` are Parquet files plus unread segments, deduplicated;
    the list of files is renewed before each query, so rows are seen as soon as they are
    written, also while servers write and a compaction runs. Every byte is checked before it is
    read: corrupt lines are left out, and a damaged or missing Parquet file is a LogError that
    names it, or left out with `skip_damaged`; `damage` is what the last query left out. One
    instance may be shared by threads.

    With `memory_mb` a query takes one core and at most that much memory, which is given back after
    it; one that needs more is a LogError.
    """

    def __init__(
        self, path: Path, *, skip_damaged: bool = False, memory_mb: int | None = None
    ) -> None:
        self.log = log_dir(path)
        self.skip_damaged = skip_damaged
        self.damage = Damage()
        self._segments = SegmentChecks()
        self._parquet = ParquetChecks(lambda path: decoded_rows(path) is not None)
        self._lock = threading.Lock()
        self._connection = connect_log()
        if memory_mb is not None:
            self._connection.execute(_BOUNDED.format(memory_mb=memory_mb))

    def query(self, sql: str, params: Sequence[object] = ()) -> list[dict[str, Any]]:
        """The answer's rows as dicts; values are bound to the question marks in `sql`."""
        with self._lock:
            answer = self._execute(sql, params)
            names = [column[0] for column in answer.description or ()]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def arrays(self, sql: str, params: Sequence[object] = ()) -> "Columns":
        """The answer's columns as arrays: NaN for a missing number, None for a missing text."""
        with self._lock:
            return columns(self._execute(sql, params))

    def frame(self, sql: str, params: Sequence[object] = ()) -> "pd.DataFrame":
        """The answer as a pandas frame; needs pandas."""
        with self._lock:
            return self._execute(sql, params).df()

    def decision(self, decision_id: str, *, tenant: str | None = None) -> dict[str, Any] | None:
        """A decision's row with its `outcomes`; None when there is none.

        Without `tenant` the id must belong to one tenant only.
        """
        found = self.query(_DECISION, (decision_id, tenant, tenant))
        if len(found) > 1:
            raise LogError(f"decision_id {decision_id!r} exists for several tenants: name one")
        if not found:
            return None
        outcomes = self.query(_OUTCOMES, (decision_id, found[0]["tenant"]))
        return _decoded(found[0]) | {"outcomes": [_decoded(row) for row in outcomes]}

    def at_one_moment(self, work: Callable[[Connection], T]) -> T:
        """The answer of `work`, all of whose statements see the log as it is now.

        It is done again where a compaction deletes a file before it was read, so it must not
        mind being repeated.
        """
        with self._lock:
            return self._repeated(lambda: work(self._connection), is_frozen=True)

    def export(self, sql: str, params: Sequence[object], path: Path) -> int:
        """Write an answer as Parquet or CSV, by the file's ending; returns the number of rows."""
        formats = {".parquet": "format parquet, compression zstd", ".csv": "format csv, header"}
        if path.suffix not in formats:
            raise LogError(f"{path}: got ending {path.suffix!r}, expected .parquet or .csv")
        with self._lock:
            return self._repeated(
                lambda: copy_to(self._connection, sql, params, path, formats[path.suffix])
            )

    def close(self) -> None:
        """Give back the memory; the store can't be used afterwards."""
        self._connection.close()
        self._segments.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _execute(self, sql: str, params: Sequence[object]) -> Connection:
        return self._repeated(lambda: self._connection.execute(sql, list(params)))

    def _repeated(self, work: Callable[[], T], *, is_frozen: bool = False) -> T:
        # Compactions may delete a listed file before it is read; the next list is newer.
        for attempt in range(_ATTEMPTS):
            is_last = attempt == _ATTEMPTS - 1
            try:
                self._refresh(is_frozen=is_frozen, is_last=is_last)
                return work()
            except duckdb.OutOfMemoryException as error:
                raise LogError(
                    f"{self.log}: too long to be read within the memory for a question: "
                    "`router-data compact` shortens what is not compacted yet"
                ) from error
            except (duckdb.IOException, OSError) as error:
                if is_last:
                    raise LogError(f"{self.log}: can't be read: {error}") from error
        raise AssertionError("unreachable")

    def _refresh(self, *, is_frozen: bool = False, is_last: bool = False) -> None:
        manifest, segments = self._listing()
        damaged = self._parquet.problems(self.log, manifest.files)
        if damaged and not is_last and MISSING in damaged.values():
            raise FileNotFoundError(f"{self.log}: {', '.join(damaged)}")
        if damaged and not self.skip_damaged:
            found = "; ".join(f"{path}: {problem}" for path, problem in damaged.items())
            raise LogError(f"{self.log}: {found}. `router-data repair` sets such files aside")
        check = self._segments.frozen if is_frozen else self._segments.readable
        readable = [str(path) for path in check(segments)]
        self.damage = Damage(self._segments.corrupt_lines, damaged)
        # The reader accepts no empty list.
        self._set("segments", readable or [NOTHING])
        files = [file for file in manifest.files if file.path not in damaged]
        for kind in ("decision", "outcome"):
            listed = [str(self.log / file.path) for file in files if file.kind == kind]
            statement = _STORED if listed else _NOT_STORED
            self._set(f"{kind}_files", listed or [NOTHING])
            self._connection.execute(statement.format(kind=kind))

    def _listing(self) -> tuple[Manifest, list[Path]]:
        """The manifest and the segments outside of it, both of one moment."""
        manifest = read_manifest(self.log)
        while True:
            folded = set(manifest.folded)
            segments = [path for path in segment_paths(self.log) if path.name not in folded]
            # Two compactions since would have folded and deleted segments unseen.
            latest = read_manifest(self.log)
            if latest == manifest:
                return manifest, segments
            manifest = latest

    def _set(self, variable: str, paths: list[str]) -> None:
        self._connection.execute(f"set variable {variable} = ?", [paths])


def connect(database: str = ":memory:") -> Connection:
    """A connection that never installs or loads extensions and keeps time in UTC."""
    connection = duckdb.connect(database, config=dict(_CONFIG))
    connection.execute("set TimeZone = 'UTC'")
    return connection


def connect_log() -> Connection:
    """A connection with the types, macros and views of `schema.sql`, without any file yet."""
    connection = connect()
    connection.execute(f"set variable segments = ['{NOTHING}']")
    connection.execute(resources.files("router_data").joinpath("schema.sql").read_text())
    return connection


def copy_to(
    connection: Connection, sql: str, params: Sequence[object], path: Path, options: str
) -> int:
    """Write a query's answer to a file; returns the number of rows."""
    query = f"copy ({sql}) to {literal(path)} ({options})"
    answer = connection.execute(query, list(params)).fetchone()
    return int(answer[0]) if answer else 0


def quoted(name: str) -> str:
    """A column name as an SQL identifier.

    >>> quoted('a "b"')
    '"a ""b""\"'
    """
    return '"' + name.replace('"', '""') + '"'


def decoded_rows(path: Path) -> int | None:
    """How many rows a Parquet file has, all of them decoded; None where that fails."""
    try:
        with connect() as connection:
            row = connection.execute(_DECODE, [str(path)]).fetchone()
    except duckdb.Error:
        return None
    return int(row[0]) if row else None


def parquet_types(path: Path) -> dict[str, str]:
    """Column names of a Parquet file with their SQL types, in file order."""
    with connect() as connection:
        rows = _guarded(connection, "describe select * from read_parquet(?)", path)
        return {str(name): str(kind) for name, kind, *_ in rows.fetchall()}


def read_parquet(path: Path, expressions: Mapping[str, str], *, suffix: str = "") -> Columns:
    """Columns computed from a Parquet file; NULL becomes NaN in numbers and None in text.

    `expressions` maps result names to SQL written by the caller (never by the data);
    `suffix` is a clause such as "order by all".
    """
    selected = ", ".join(f"{sql} as {quoted(name)}" for name, sql in expressions.items())
    with connect() as connection:
        query = f"select {selected} from read_parquet(?) {suffix}"
        return columns(_guarded(connection, query, path))


def write_parquet(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows (JSON-like values; column types are inferred) as a Parquet file."""
    with connect() as connection, NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        file.flush()
        query = (
            "select * from read_ndjson(?, sample_size = -1, convert_strings_to_integers = false)"
        )
        copy_to(connection, query, [file.name], path, "format parquet, compression zstd")


def columns(answer: Connection) -> Columns:
    """A query's answer as plain arrays: NaN for a missing number, None for a missing text."""
    return {name: plain(np.ma.asanyarray(values)) for name, values in answer.fetchnumpy().items()}


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its JSON columns as Python values."""
    texts = {name: row[name] for name in _JSON_COLUMNS if row.get(name) is not None}
    return row | {name: msgspec.json.decode(text) for name, text in texts.items()}


def literal(path: Path) -> str:
    """A path as an SQL string; only where DuckDB takes no bound value."""
    return "'" + str(path).replace("'", "''") + "'"


def _guarded(connection: Connection, query: str, path: Path) -> Connection:
    try:
        return connection.execute(query, [str(path)])
    except duckdb.Error as error:
        raise DatasetError(f"{path}: can't be read as Parquet: {error}") from error
