"""Reads a file of records one by one: JSON lines, a JSON array, CSV or Parquet.

JSON and CSV may be compressed with gzip, which is seen from the file's first bytes. Only one
record is held at a time, however large the file. Whatever can't be read becomes a record with a
`problem`, and reading goes on where that is possible.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import msgspec
from tqdm import tqdm

from router_data.progress import hidden
from router_data.store import ReadError, connect, parquet_types, quoted
from router_model.errors import DatasetError
from router_model.formats.jsontext import without_lone_surrogates

MAX_RECORD = 64 * 1024 * 1024
"""Longest record in bytes; a longer one is no call."""

_PEEKED = 64 * 1024
_FETCHED = 64
_GZIP = b"\x1f\x8b"
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)
_ARRAY = """
    select json from read_json_objects(?, format = ?, maximum_object_size = ?, compression = ?)
"""


class Record(NamedTuple):
    """A record as JSON with its number from 1 (of the line, where lines are records).

    Where it is not `is_typed` all its values are text: cells of CSV.
    """

    number: int
    text: bytes
    problem: str = ""
    is_typed: bool = True


def read_records(path: Path, *, progress: bool = False) -> Iterator[Record]:
    """The records of a file that are not blank, in order. Raises DatasetError.

    A name that ends in .parquet or .csv (or .csv.gz) says what the file is, any other is JSON.
    """
    names = [suffix.lower() for suffix in path.suffixes]
    try:
        if names[-1:] == [".parquet"]:
            yield from _queried(path, _table(path), (str(path),), progress=progress)
        elif ".csv" in names[-2:]:
            yield from _from_csv(path, progress=progress)
        elif layout := _array_layout(path):
            arguments = (str(path), layout, MAX_RECORD, "gzip" if _is_gzip(path) else "none")
            yield from _queried(path, _ARRAY, arguments, progress=progress)
        else:
            yield from _from_lines(path, progress=progress)
    except OSError as error:
        raise DatasetError(f"{path}: can't be read: {error}") from error


def _from_lines(path: Path, *, progress: bool) -> Iterator[Record]:
    with path.open("rb") as raw, _bar(path, progress) as bar:
        file = _plain(raw)
        number = 0
        while True:
            number += 1
            try:
                text = file.readline(MAX_RECORD + 1)
                is_too_long = len(text) > MAX_RECORD and _skip_line(file)
            except _BROKEN as error:
                yield Record(number, b"", f"the compressed file breaks off here: {error}")
                return
            bar.update(raw.tell() - bar.n)
            if not text:
                return
            if is_too_long:
                yield Record(number, text[:_PEEKED], f"longer than {MAX_RECORD >> 20} MiB")
            elif text.strip():
                plain = text.removeprefix(codecs.BOM_UTF8) if number == 1 else text
                yield Record(number, _mended(plain))


def _skip_line(file: IO[bytes]) -> bool:
    """Read on to the end of a line, in pieces; always true."""
    while (piece := file.readline(_PEEKED)) and not piece.endswith(b"\n"):
        pass
    return True


def _from_csv(path: Path, *, progress: bool) -> Iterator[Record]:
    csv.field_size_limit(MAX_RECORD)  # the module's own 128 KB are less than one prompt
    with path.open("rb") as raw, _bar(path, progress) as bar:
        text = io.TextIOWrapper(_plain(raw), encoding="utf-8-sig", errors="replace", newline="")
        rows = csv.DictReader(text, strict=True)
        number = 0
        while True:
            number += 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield Record(number, b"", f"not valid CSV: {error}")
                continue
            except _BROKEN as error:
                yield Record(number, b"", f"the compressed file breaks off here: {error}")
                return
            bar.update(raw.tell() - bar.n)
            if row is None:
                return
            yield _csv_record(number, row)


def _csv_record(number: int, row: dict[Any, Any]) -> Record:
    text = msgspec.json.encode({str(name): value for name, value in row.items()})
    if None in row:
        return Record(number, text, "more cells than the header has columns")
    if None in row.values():
        return Record(number, text, "fewer cells than the header has columns")
    return Record(number, text, is_typed=False)


def _queried(
    path: Path, sql: str, arguments: tuple[object, ...], *, progress: bool
) -> Iterator[Record]:
    """The rows of a query, fetched in small batches while the file is read."""
    number = 0
    bar = tqdm(desc="import", unit="record", disable=hidden(progress))
    with connect() as connection, bar:
        try:
            answer = connection.execute(sql, list(arguments))
            names = [column[0] for column in answer.description or ()]
            while rows := answer.fetchmany(_FETCHED):
                for row in rows:
                    number += 1
                    yield Record(number, _json(names, row))
                bar.update(len(rows))
        except ReadError as error:
            reason = str(error).splitlines()[0]
            yield Record(number + 1, b"", f"the file can't be read from here on: {reason}")


def _table(path: Path) -> str:
    """All columns of a Parquet file; times without their zone, which is UTC here."""
    zoned = "TIMESTAMP WITH TIME ZONE"
    columns = (
        f"{quoted(name)}::timestamp as {quoted(name)}" if kind == zoned else quoted(name)
        for name, kind in parquet_types(path).items()
    )
    return f"select {', '.join(columns)} from read_parquet(?)"


def _json(names: list[str], row: tuple[Any, ...]) -> bytes:
    if names == ["json"]:
        return _mended(str(row[0]).encode("utf-8", "replace"))
    cells = dict(zip(names, row, strict=True))
    return msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode(cells)


def _mended(text: bytes) -> bytes:
    """The text without halves of emoji, which Python's JSON writes and strict readers refuse."""
    return without_lone_surrogates(text) if b"\\u" in text else text


def _array_layout(path: Path) -> str:
    """How DuckDB names the layout of a file that is no JSON lines: "" where it is JSON lines.

    An array is one unless its first line is a whole array and others follow; an object is none
    where its second line is indented.
    """
    with path.open("rb") as raw:
        try:
            head = _plain(raw).read(_PEEKED)
        except _BROKEN:
            return ""
    first, _, rest = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")
    if first.startswith(b"["):
        return "" if rest.strip() and _is_json(first) else "array"
    is_pretty = first.strip() == b"{" and rest[:1] in (b" ", b"\t")
    return "unstructured" if is_pretty else ""


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _plain(raw: IO[bytes]) -> IO[bytes]:
    """The file's content, decompressed where its first bytes are those of gzip."""
    is_gzip = raw.read(2) == _GZIP
    raw.seek(0)
    return cast("IO[bytes]", gzip.open(raw)) if is_gzip else raw


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as raw:
        return raw.read(2) == _GZIP


def _bar(path: Path, progress: bool) -> "tqdm[Any]":
    size = path.stat().st_size
    return tqdm(total=size, desc="import", unit="B", unit_scale=True, disable=hidden(progress))
