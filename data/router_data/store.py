"""The only door to DuckDB: connections, reading of tables, and the views over the log."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from router_model.errors import DatasetError

Columns = dict[str, NDArray[Any]]

# json, parquet and icu are part of the library; nothing else may be fetched at run time.
_CONFIG: dict[str, str] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def connect(database: str = ":memory:") -> duckdb.DuckDBPyConnection:
    """A connection that never installs or loads extensions and keeps time in UTC."""
    connection = duckdb.connect(database, config=dict(_CONFIG))
    connection.execute("set TimeZone = 'UTC'")
    return connection


def quoted(name: str) -> str:
    """A column name as an SQL identifier.

    >>> quoted('a "b"')
    '"a ""b""\"'
    """
    return '"' + name.replace('"', '""') + '"'


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


def columns(answer: duckdb.DuckDBPyConnection) -> Columns:
    """A query's answer as plain arrays: NaN for a missing number, None for a missing text."""
    return {name: _plain(np.ma.asanyarray(values)) for name, values in answer.fetchnumpy().items()}


def _plain(values: "np.ma.MaskedArray[Any, np.dtype[Any]]") -> NDArray[Any]:
    missing = np.ma.getmaskarray(values)
    plain: NDArray[Any] = np.asarray(values.data)
    if not missing.any():
        return plain
    if plain.dtype != object:
        plain = plain.astype(np.float64)
    plain = plain.copy()
    plain[missing] = None if plain.dtype == object else np.nan
    return plain


def _guarded(
    connection: duckdb.DuckDBPyConnection, query: str, path: Path
) -> duckdb.DuckDBPyConnection:
    try:
        return connection.execute(query, [str(path)])
    except duckdb.Error as error:
        raise DatasetError(f"{path}: can't be read as Parquet: {error}") from error
