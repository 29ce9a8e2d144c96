import os
from pathlib import Path
from typing import Any

import pytest
from log_samples import decision as sample
from log_samples import outcome, write_log

from router_data import log_tail
from router_data.log import segment_paths
from router_data.log_tail import newest_answers


def decision(decision_id: str, **changes: object) -> dict[str, Any]:
    told = {"request_hash": "h", "snapshot": "s", "provider": "p", "policy": "x", "reason": "r"}
    return sample(decision_id, **{**told, **changes})


def ids(log: Path, **limits: Any) -> list[str]:
    return [row["decision_id"] for row in newest_answers(log, **{"since_ms": 0} | limits)]


def test_the_newest_come_first_and_outcomes_and_imports_not_at_all(tmp_path: Path) -> None:
    write_log(tmp_path, [decision("a"), outcome("a"), decision("b")])
    write_log(tmp_path, [decision("imported", dataset="bfcl"), decision("c")])
    assert ids(tmp_path) == ["c", "b", "a"]


def test_what_is_older_than_asked_is_left_out(tmp_path: Path) -> None:
    write_log(tmp_path, [decision("old", ts_ms=1_000), decision("new", ts_ms=3_000)])
    assert ids(tmp_path, since_ms=2_000) == ["new"]
    (path,) = segment_paths(tmp_path)
    os.utime(path, (1.0, 1.0))
    assert ids(tmp_path, since_ms=2_000) == []


def test_no_more_than_so_many_bytes_are_read_from_the_end(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(f"d{n}") for n in range(20)])
    (path,) = segment_paths(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    n_bytes = sum(len(line) for line in lines[-3:])
    assert ids(tmp_path, max_bytes=n_bytes) == ["d19", "d18", "d17"]
    assert ids(tmp_path, max_bytes=n_bytes - 1) == ["d19", "d18"]


def test_torn_and_altered_lines_are_passed_over(tmp_path: Path) -> None:
    write_log(tmp_path, [decision("a"), decision("b"), decision("c")])
    (path,) = segment_paths(tmp_path)
    data = path.read_bytes().replace(b'"b"', b'"x"')
    path.write_bytes(data[:-20])
    assert ids(tmp_path) == ["a"]


def test_a_segment_that_is_folded_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path, [decision("a")])
    gone = tmp_path / "segments" / "gone-01ARZ3NDEKTSV4RRFFQ69G5FAV.jsonl"
    paths = [*segment_paths(tmp_path), gone]
    monkeypatch.setattr(log_tail, "segment_paths", lambda _: paths)
    assert ids(tmp_path) == ["a"]


def test_there_is_nothing_in_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert ids(tmp_path / "none") == []
