"""Whole days go when they are older than they may be kept, and nothing else does."""

import os
from datetime import date
from pathlib import Path

import pytest
from log_samples import decision, outcome, write_log
from typer.testing import CliRunner

from router_data.cli import app
from router_data.compact import compact
from router_data.inspection import inspect
from router_data.log import segment_paths
from router_data.manifest import only_writer, parquet_paths
from router_data.repair import repair
from router_data.retention import retain
from router_data.set_aside import quarantined
from router_data.store import Store
from router_model.errors import LogError

DAY_MS = 86_400_000
TODAY = date(1970, 1, 11)


def ten_days(log: Path) -> Path:
    """One decision with its outcome on each of the first ten days of 1970."""
    for day in range(10):
        ts = day * DAY_MS + 5
        write_log(log, [decision(f"d{day}", ts_ms=ts), outcome(f"d{day}", ts_ms=ts + 1)])
    for _ in range(2):
        compact(log, grace_s=0)
    assert segment_paths(log) == []
    return log


def kept(log: Path, view: str) -> list[str]:
    with Store(log) as store:
        rows = store.query(f"select decision_id from {view} order by ts_ms")
    return [row["decision_id"] for row in rows]


def test_days_before_the_limit_go_and_the_others_stay(tmp_path: Path) -> None:
    log = ten_days(tmp_path)
    report = retain(log, days=3, today=TODAY)
    assert (len(report.dropped), report.n_rows) == (14, 14)
    assert kept(log, "decisions") == kept(log, "outcomes") == ["d7", "d8", "d9"]
    assert inspect(log).is_ok
    # The files go later, so that running queries can finish.
    assert len(parquet_paths(log)) == 20
    assert compact(log, grace_s=0).n_deleted == 14
    assert len(parquet_paths(log)) == 6
    assert retain(log, days=3, today=TODAY).dropped == ()


def test_outcomes_may_be_kept_for_another_time(tmp_path: Path) -> None:
    log = ten_days(tmp_path)
    retain(log, days=5, outcomes_days=2, today=TODAY)
    assert kept(log, "decisions") == [f"d{day}" for day in range(5, 10)]
    assert kept(log, "outcomes") == ["d8", "d9"]


def test_a_dry_run_says_what_would_go_and_touches_nothing(tmp_path: Path) -> None:
    ten_days(tmp_path / "log")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    command = ["retain", "--days", "3", "--state", str(tmp_path)]
    answer = CliRunner().invoke(app, [*command, "--dry-run"])
    assert answer.exit_code == 0
    assert "would be dropped: parquet/kind=decision/date=1970-01-01/" in answer.output
    assert "20 files of 20 rows would be dropped" in answer.output
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert {path for path in after if after[path] != before.get(path)} <= {
        tmp_path / "log" / "compact.lock"
    }
    answer = CliRunner().invoke(app, command)
    assert "20 files of 20 rows dropped" in answer.output
    assert kept(tmp_path / "log", "decisions") == []


def test_rows_that_are_not_compacted_are_kept_and_told(tmp_path: Path) -> None:
    write_log(tmp_path, [decision()])
    report = retain(tmp_path, days=0)
    assert (report.n_unfolded, report.n_rows) == (1, 0)
    assert kept(tmp_path, "decisions") == ["d1"]


def test_the_quarantine_goes_after_its_own_time(tmp_path: Path) -> None:
    log = ten_days(tmp_path)
    for name in ("old", "new"):
        write_log(log, [outcome(name)])
        path = segment_paths(log)[-1]
        path.write_bytes(path.read_bytes().replace(b'"acme"', b'"acne"'))
    repair(log)
    pieces = quarantined(log)
    assert len(pieces) == 4
    for path in pieces[:2]:
        os.utime(path, (0, 0))
    assert retain(log, days=100_000, quarantine_days=30).quarantine == tuple(pieces[:2])
    assert quarantined(log) == pieces[2:]


def test_nothing_is_dropped_while_a_compaction_runs_or_where_nothing_is(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(LogError, match="another compaction"):
        retain(tmp_path, days=1)
    with pytest.raises(LogError, match="no such log folder"):
        retain(tmp_path / "absent", days=1)
