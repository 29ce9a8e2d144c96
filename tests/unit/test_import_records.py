"""Records of every container come one by one, and what is broken is a record that says so."""

import csv
import gzip
import io
import json
from pathlib import Path

import msgspec
import pytest
from gateway_samples import lines, spend

from router_data.imports import records
from router_data.imports.records import Record, read_records
from router_data.store import write_parquet
from router_model.errors import DatasetError

ROWS = [{"id": 1, "text": "a\nb"}, {"id": 2, "text": "[x]"}, {"id": 3, "text": ""}]


def found(path: Path, data: bytes) -> list[Record]:
    path.write_bytes(data)
    return list(read_records(path))


def values(records: list[Record]) -> list[object]:
    assert [record.problem for record in records] == [""] * len(records)
    return [msgspec.json.decode(record.text) for record in records]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        lines(*ROWS),
        b"\xef\xbb\xbf" + lines(*ROWS),
        msgspec.json.encode(ROWS),
        json.dumps(ROWS, indent=2).encode(),
        b"\n".join(json.dumps(row, indent=4).encode() for row in ROWS),
    ],
)
def test_json_may_be_lines_an_array_or_indented_and_compressed(
    tmp_path: Path, data: bytes, is_packed: bool
) -> None:
    path = tmp_path / "log.json"
    assert values(found(path, gzip.compress(data) if is_packed else data)) == ROWS


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_csv_gives_an_object_for_each_row(tmp_path: Path, name: str) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "text"])
    writer.writeheader()
    writer.writerows(ROWS)
    data = text.getvalue().encode()
    rows = found(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data)
    assert values(rows) == [{"id": str(row["id"]), "text": row["text"]} for row in ROWS]


def test_csv_rows_of_another_length_are_problems_with_their_numbers(tmp_path: Path) -> None:
    first, second, third, fourth = found(tmp_path / "log.csv", b"a,b\n1,2\n1,2,3\n1\n3,4\n")
    assert (first.problem, fourth.problem) == ("", "")
    assert (second.number, second.problem) == (2, "more cells than the header has columns")
    assert (third.number, third.problem) == (3, "fewer cells than the header has columns")


def test_parquet_keeps_types(tmp_path: Path) -> None:
    write_parquet(tmp_path / "log.parquet", [spend(0), spend(1)])
    first, second = (msgspec.json.decode(r.text) for r in read_records(tmp_path / "log.parquet"))
    assert (first["request_id"], first["spend"], second["prompt_tokens"]) == (
        "chatcmpl-0",
        0.002,
        1000,
    )


def test_a_broken_end_is_a_problem_after_what_could_be_read(tmp_path: Path) -> None:
    *_, cut = found(tmp_path / "a.json", msgspec.json.encode(ROWS)[:-12])
    assert cut.problem.startswith("the file can't be read from here on")
    packed = gzip.compress(lines(*ROWS) * 50_000)
    *whole, torn = found(tmp_path / "b.jsonl.gz", packed[: len(packed) // 2])
    assert whole
    assert torn.problem.startswith("the compressed file breaks off here")
    with pytest.raises(DatasetError, match="can't be read as Parquet"):
        found(tmp_path / "c.parquet", b"PAR1 but not really")


def test_a_line_that_is_too_long_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MAX_RECORD", 1 << 20)
    first, second = found(tmp_path / "log.jsonl", b"x" * (3 << 20) + b"\n" + lines(ROWS[0]))
    assert (first.number, first.problem) == (1, "longer than 1 MiB")
    assert (second.number, msgspec.json.decode(second.text)) == (2, ROWS[0])


def test_an_empty_file_has_no_records_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert found(tmp_path / "log.jsonl", b"\n \n") == []
    with pytest.raises(DatasetError, match="can't be read"):
        list(read_records(tmp_path / "none.jsonl"))
