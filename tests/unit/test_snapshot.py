"""A snapshot is of one moment and whole, whatever is going on around it."""

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import pytest
from log_samples import KNOWN, decision, outcome, write_log
from typer.testing import CliRunner

from router_data.cli import app
from router_data.compact import compact
from router_data.dataset import load_rounds
from router_data.log import SEGMENTS, SegmentWriter, segment_paths
from router_data.manifest import parquet_paths
from router_data.snapshot import write_snapshot
from router_data.store import Store
from router_model.errors import LogError


def ask(path: Path, sql: str) -> Any:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_a_snapshot_holds_what_was_logged_before_a_time(tmp_path: Path) -> None:
    rows = [decision("a", ts_ms=10), outcome("a", ts_ms=20), outcome("a", ts_ms=30, reward=0.5)]
    write_log(tmp_path, [*rows, decision("b", ts_ms=40)])
    compact(tmp_path)
    report = write_snapshot(tmp_path, tmp_path / "log.duckdb", until_ms=25)
    assert report.n_rows == {"decisions": 1, "outcomes": 1, "rounds": 1, "quarantine": 0}
    assert ask(report.path, "select reward from outcomes") == [(None,)]
    assert report.sha256 == hashlib.sha256(report.path.read_bytes()).hexdigest()


def test_the_command_prints_rows_moment_and_hash(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [decision(), outcome()])
    out = tmp_path / "log.duckdb"
    answer = CliRunner().invoke(app, ["snapshot", str(out), "--state", str(tmp_path)])
    assert answer.exit_code == 0
    assert "1 decisions, 1 outcomes, 1 rounds, 0 quarantine; until" in answer.output
    assert hashlib.sha256(out.read_bytes()).hexdigest() in answer.output
    assert {path.name for path in tmp_path.iterdir()} == {"log", "log.duckdb"}
    for wrong in ("log.db", "none/log.duckdb"):
        arguments = ["snapshot", str(tmp_path / wrong), "--state", str(tmp_path)]
        assert CliRunner().invoke(app, arguments).exit_code == 2


def test_corrupt_lines_stay_out_and_damaged_files_are_named(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(), outcome(), outcome(attempt=1)])
    (path,) = segment_paths(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"attempt":1', b'"attempt":2'))
    report = write_snapshot(tmp_path, tmp_path / "log.duckdb")
    assert (report.n_corrupt, report.n_rows["outcomes"]) == (1, 1)
    before = report.path.read_bytes()
    compact(tmp_path)
    parquet_paths(tmp_path)[0].write_bytes(b"PAR1")
    with pytest.raises(LogError, match="altered"):
        write_snapshot(tmp_path, tmp_path / "log.duckdb")
    assert report.path.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_training_reads_no_altered_row_and_no_log_with_a_hole(tmp_path: Path) -> None:
    known = [decision(f"d{n}", **KNOWN) for n in range(3)]
    write_log(tmp_path, [*known, *(outcome(f"d{n}", reward=0.5) for n in range(3))])
    (path,) = segment_paths(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"reward":0.5', b'"reward":0.9', 1))
    rounds = load_rounds(tmp_path, feature_schema="f1", encoder="e1")
    assert rounds.reward[rounds.reward == rounds.reward].tolist() == [0.5, 0.5]
    compact(tmp_path)
    parquet_paths(tmp_path)[0].unlink()
    with pytest.raises(LogError, match="missing"):
        load_rounds(tmp_path, feature_schema="f1", encoder="e1")


def test_a_segment_that_grows_meanwhile_is_read_as_of_the_beginning(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / SEGMENTS, "w0") as writer:
        writer.append([decision("d0"), outcome("d0")])
        with Store(tmp_path) as store:

            def count_twice(connection: Any) -> list[int]:
                counts = []
                for _ in range(2):
                    row = connection.execute("select count(*) from rounds").fetchone()
                    counts.append(row[0])
                    writer.append([decision("d1"), outcome("d1")])
                return counts

            assert store.at_one_moment(count_twice) == [1, 1]
            assert store.query("select count(*) as n from rounds") == [{"n": 2}]


WRITE = """
    import itertools, sys, time
    from pathlib import Path
    from log_samples import decision, outcome
    from router_data.log import SegmentWriter

    log, worker, skew_ms = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    # All with one name, as workers of several hosts may have.
    writer = SegmentWriter(log / "segments", "worker", max_bytes=30_000)
    for index in itertools.count():
        key = f"{worker}-{index}"
        now = time.time_ns() // 1_000_000 + skew_ms
        writer.append([decision(key, ts_ms=now), outcome(key, ts_ms=now, cost_usd=None)])
        writer.append([outcome(key, ts_ms=now, cost_usd=1.0)])
        if (log / "stop").exists():
            break
        time.sleep(0.01)
    writer.close()
    print(index + 1)
"""
SKEWS_MS = {"a": 0, "b": -5_000, "c": 7_000, "d": 86_400_000}
COUNT = "select count(*) as n, count(cost_usd) as n_paid from rounds"


def writing(log: Path) -> list["subprocess.Popen[str]"]:
    """Workers whose clocks differ; each prints how many decisions it wrote, once it is stopped."""
    code = textwrap.dedent(WRITE)
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, str(log), name, str(skew)],
            env={"PYTHONPATH": str(Path(__file__).parent.parent)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, skew in SKEWS_MS.items()
    ]


def test_workers_write_while_compactions_run_and_readers_ask(tmp_path: Path) -> None:
    (tmp_path / SEGMENTS).mkdir()
    workers = writing(tmp_path)
    seen = [0]
    with Store(tmp_path) as store:
        for _ in range(8):
            compact(tmp_path, grace_s=0)
            (row,) = store.query(COUNT)
            seen.append(row["n"])
            assert row["n_paid"] >= row["n"] - len(workers), "one correction each is on its way"
            report = write_snapshot(tmp_path, tmp_path / "log.duckdb", until_ms=1 << 50)
            assert report.n_rows["rounds"] == report.n_rows["outcomes"] >= row["n"]
        (tmp_path / "stop").touch()
        n_written = sum(int(worker.communicate()[0]) for worker in workers)
        assert seen == sorted(seen)
        assert seen[-1] > 0
        for _ in range(2):
            assert store.query(COUNT) == [{"n": n_written, "n_paid": n_written}]
            assert store.query("from quarantine") == []
            compact(tmp_path, grace_s=0)


def test_rows_are_ordered_by_their_time_then_by_their_segment_whoever_wrote_them(
    tmp_path: Path,
) -> None:
    # The clock of the second worker is behind: what it reports later counts as earlier.
    write_log(tmp_path, [decision(), outcome(reward=0.1, ts_ms=5_000)], worker="fast")
    write_log(tmp_path, [outcome(reward=0.2, ts_ms=4_000)], worker="slow")
    write_log(tmp_path, [outcome(reward=0.3, ts_ms=5_000)], worker="also-fast")
    for _ in range(3):
        with Store(tmp_path) as store:
            assert store.query("select reward from outcomes") == [{"reward": 0.3}]
        compact(tmp_path, grace_s=0)
