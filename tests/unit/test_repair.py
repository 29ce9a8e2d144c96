"""What is damaged is found, named, set aside with its reason, and nothing else is touched."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from log_samples import decision, outcome, write_log
from typer.testing import CliRunner

from router_data.cli import app
from router_data.compact import compact
from router_data.inspection import inspect
from router_data.log import SEGMENTS, SegmentWriter, scan_segment, segment_paths
from router_data.manifest import (
    MANIFEST,
    Manifest,
    only_writer,
    parquet_paths,
    read_manifest,
    write_manifest,
)
from router_data.repair import repair
from router_data.set_aside import quarantined
from router_data.store import Store
from router_model.errors import LogError


def run(*arguments: object) -> tuple[int, str]:
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return answer.exit_code, answer.output


def rows(log: Path) -> list[dict[str, Any]]:
    with Store(log) as store:
        return store.query("select * from rounds order by all")


def compacted(log: Path, n: int = 4) -> Path:
    """A log of `n` decisions in Parquet files only."""
    write_log(log, [row for i in range(n) for row in (decision(f"d{i}"), outcome(f"d{i}"))])
    for _ in range(2):
        compact(log, grace_s=0)
    assert segment_paths(log) == []
    return log


def flip(path: Path, *, seed: int = 0) -> None:
    data = bytearray(path.read_bytes())
    draw = random.Random(seed)
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def reason_of(path: Path) -> dict[str, Any]:
    text = path.with_name(f"{path.name}.reason.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, Any])


def test_a_flipped_digit_of_a_segment_is_never_believed(tmp_path: Path) -> None:
    # DuckDB computes no checksums: it was believed until the segment was compacted.
    write_log(tmp_path, [decision(), outcome(cost_usd=0.25), outcome(attempt=1, cost_usd=0.5)])
    (path,) = segment_paths(tmp_path)
    with Store(tmp_path) as store:
        assert store.query("select sum(cost_usd) as usd from outcomes") == [{"usd": 0.75}]
        assert store.damage.n_lines == 0
        path.write_bytes(path.read_bytes().replace(b'"cost_usd":0.25', b'"cost_usd":0.75'))
        assert store.query("select sum(cost_usd) as usd from outcomes") == [{"usd": 0.5}]
        assert store.damage.corrupt_lines == {path.name: 1}
        assert store.query("select count(*) as n from rounds") == [{"n": 1}]


def test_a_damaged_segment_is_read_on_while_it_grows(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / SEGMENTS, "w0") as writer, Store(tmp_path) as store:
        writer.append([outcome("d0"), outcome("d1")])
        (path,) = segment_paths(tmp_path)
        data = path.read_bytes()
        with path.open("r+b") as file:
            file.write(data.replace(b'"d0"', b'"dX"'))
        for index in range(2, 5):
            writer.append([outcome(f"d{index}")])
            found = store.query("select decision_id from outcomes order by 1")
            assert [row["decision_id"] for row in found] == [f"d{i}" for i in range(1, index + 1)]
            assert store.damage.n_lines == 1
        report = repair(tmp_path)
        assert (report.n_lines, report.waiting) == (0, (f"segments/{path.name}",))
    assert repair(tmp_path).n_lines == 1
    assert inspect(tmp_path).is_ok


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_parquet_file_is_named_by_every_reader(tmp_path: Path, seed: int) -> None:
    log = compacted(tmp_path / "log")
    file = read_manifest(log).files[1]
    flip(log / file.path, seed=seed)
    with Store(log) as store, pytest.raises(LogError, match=r"altered.*router-data repair") as e:
        store.query("from decisions")
    assert file.path in str(e.value)
    with Store(log, skip_damaged=True) as store:
        assert store.query("select count(*) as n from decisions") == [{"n": 4}]
        assert store.query("from outcomes") == []
        assert list(store.damage.files) == [file.path]
    code, text = run("verify", "--state", tmp_path)
    assert (code, f"damaged: {file.path}: altered" in text) == (1, True)
    code, text = run("stats", "--state", tmp_path)
    assert (code, "damaged Parquet files: 1" in text) == (0, True)


def test_a_damaged_parquet_file_is_set_aside_with_what_was_in_it(tmp_path: Path) -> None:
    log = compacted(tmp_path / "log")
    file = read_manifest(log).files[1]
    flip(log / file.path)
    damaged = (log / file.path).read_bytes()
    code, text = run("repair", "--state", tmp_path, "--dry-run")
    assert (code, f"would be: {file.path}: set aside, 4 rows" in text) == (0, True)
    assert (log / file.path).read_bytes() == damaged
    code, text = run("repair", "--state", tmp_path)
    assert (code, "Parquet files of 4 rows set aside" in text) == (0, True)
    kept = log / "quarantine" / Path(file.path).name
    assert kept.read_bytes() == damaged
    assert (reason_of(kept)["source"], reason_of(kept)["n_rows"]) == (file.path, 4)
    assert run("verify", "--state", tmp_path)[0] == 0
    with Store(log) as store:
        assert store.query("select count(*) as n from decisions") == [{"n": 4}]
    assert run("repair", "--state", tmp_path) == (0, "nothing to repair\n")


def test_rows_of_a_damaged_file_come_back_while_their_segments_are_still_there(
    tmp_path: Path,
) -> None:
    write_log(tmp_path, [decision(), outcome()])
    expected = rows(tmp_path)
    compact(tmp_path)
    for path in parquet_paths(tmp_path):
        flip(path)
    report = repair(tmp_path)
    assert (report.n_lost_rows, report.n_back) == (2, 1)
    assert rows(tmp_path) == expected
    compact(tmp_path, grace_s=0)
    assert rows(tmp_path) == expected


def test_a_missing_file_is_named_and_a_repair_goes_on_without_it(tmp_path: Path) -> None:
    log = compacted(tmp_path)
    file = read_manifest(log).files[0]
    away = (log / file.path).rename(tmp_path / "away")
    with Store(log) as store, pytest.raises(LogError, match=f"{file.path}: missing"):
        store.query("from outcomes")
    assert repair(log).n_lost_rows == 4
    assert inspect(log).is_ok
    # It comes back from a backup: it is neither ignored nor deleted, but listed again.
    away.rename(log / file.path)
    assert list(inspect(log).damaged) == [file.path]
    compact(log, grace_s=0)
    assert len(repair(log).actions) == 1
    assert len(rows(log)) == 4


@pytest.mark.parametrize("text", ["", "{", '{"version": 1, "files": [{"path": "parq', None, "[]"])
def test_a_manifest_is_made_anew_from_the_files(tmp_path: Path, text: str | None) -> None:
    log = compacted(tmp_path / "log")
    write_log(log, [decision("fresh"), outcome("fresh")])
    expected = rows(log)
    if text is None:
        (log / MANIFEST).unlink()
    else:
        (log / MANIFEST).write_text(text)
    with Store(log) as store, pytest.raises(LogError, match="router-data repair"):
        store.query("from decisions")
    with pytest.raises(LogError, match="router-data repair"):
        compact(log)
    assert run("verify", "--state", tmp_path)[0] == 1
    assert "made anew from 2 Parquet files with 8 rows" in run("repair", "--state", tmp_path)[1]
    assert rows(log) == expected
    compact(log, grace_s=0)
    assert rows(log) == expected
    assert len(quarantined(log)) == (0 if text is None else 2)
    assert run("verify", "--state", tmp_path)[0] == 0


def test_a_flipped_bit_of_the_manifest_is_found(tmp_path: Path) -> None:
    log = compacted(tmp_path)
    good = (log / MANIFEST).read_bytes()
    (log / MANIFEST).write_bytes(good.replace(b'"n_rows": 4', b'"n_rows": 6'))
    with pytest.raises(LogError, match=r"altered|can't be read"):
        read_manifest(log)
    expected = 4
    repair(log)
    assert len(rows(log)) == expected


def test_a_manifest_of_an_earlier_version_is_read_and_its_files_are_checked(tmp_path: Path) -> None:
    log = compacted(tmp_path)
    text = msgspec.json.decode((log / MANIFEST).read_bytes())
    del text["crc32c"]
    for file in text["files"]:
        del file["sha256"]
    (log / MANIFEST).write_bytes(msgspec.json.encode(text))
    assert len(rows(log)) == 4
    assert inspect(log).is_ok
    (log / text["files"][0]["path"]).write_bytes(b"PAR1 and then nothing")
    with Store(log) as store, pytest.raises(LogError, match="can't be read"):
        store.query("from decisions")
    assert list(inspect(log).damaged) == [text["files"][0]["path"]]
    repair(log)
    assert inspect(log).is_ok


def test_a_damaged_file_is_not_merged_into_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_data.compact.MAX_FILES_PER_DAY", 1)
    log = compacted(tmp_path / "log")
    file = next(file for file in read_manifest(log).files if file.kind == "outcome")
    flip(log / file.path)
    write_log(log, [decision("new"), outcome("new")])
    code, text = run("compact", "--state", tmp_path, "--grace-s", 0)
    assert (code, f"damaged, not merged: {file.path}" in text) == (1, True)
    assert file in read_manifest(log).files
    repair(log)
    assert len(rows(log)) == 1


def test_nothing_gets_lost_between_the_log_and_its_quarantine(tmp_path: Path) -> None:
    draw = random.Random(7)
    for index in range(6):
        write_log(tmp_path, [outcome(f"d{index}-{n}") for n in range(10)])
    for path in segment_paths(tmp_path):
        lines = path.read_bytes().splitlines(keepends=True)
        for n in draw.sample(range(10), draw.randrange(4)):
            lines[n] = lines[n].replace(b"d", b"D", 1)
        path.write_bytes(b"".join(lines))
    before = inspect(tmp_path).segments
    n_corrupt = sum(len(numbers) for numbers in before.corrupt.values())
    assert before.n_rows + n_corrupt == 60
    report = repair(tmp_path)
    kept = [path for path in quarantined(tmp_path) if path.suffix == ".lines"]
    assert report.n_lines == n_corrupt == sum(len(p.read_bytes().splitlines()) for p in kept)
    after = inspect(tmp_path)
    assert (after.segments.n_rows, after.is_ok) == (before.n_rows, True)
    assert repair(tmp_path).actions == ()
    with Store(tmp_path) as store:
        assert store.query("select count(*) as n from outcomes") == [{"n": before.n_rows}]


def test_leftovers_of_crashes_are_told_and_deleted(tmp_path: Path) -> None:
    log = compacted(tmp_path)
    folder = parquet_paths(log)[0].parent
    left = [folder / "x.tmp", log / "manifest.json.tmp"]
    for path in left:
        path.write_bytes(b"half")
    fresh = log / SEGMENTS / "w0-01M0000000000000000000000.new"
    fresh.touch()
    assert set(inspect(log).leftovers) == {str(path.relative_to(log)) for path in left}
    assert inspect(log).is_ok
    assert len(repair(log).actions) == 2
    assert inspect(log).leftovers == ()
    assert fresh.exists(), "a writer may be about to name it"


def test_an_older_manifest_put_back_loses_nothing(tmp_path: Path) -> None:
    log = compacted(tmp_path)
    old = read_manifest(log)
    write_log(log, [decision("new"), outcome("new")])
    for _ in range(2):
        compact(log, grace_s=0)
    expected = rows(log)
    write_manifest(log, old)
    # The files that it doesn't list were once deleted by the next compaction.
    compact(log, grace_s=0)
    assert not inspect(log).is_ok
    repair(log)
    assert rows(log) == expected


def test_a_repair_refuses_while_a_compaction_runs_and_where_the_manifest_is_newer(
    tmp_path: Path,
) -> None:
    log = compacted(tmp_path)
    with only_writer(log), pytest.raises(LogError, match="another compaction"):
        repair(log)
    write_manifest(log, Manifest(version=2))
    with pytest.raises(LogError, match="version: got 2"):
        repair(log)


def test_an_emptied_segment_has_nothing_but_its_quarantine(tmp_path: Path) -> None:
    write_log(tmp_path, [outcome()])
    (path,) = segment_paths(tmp_path)
    path.write_bytes(b"\x00" * 300)
    assert repair(tmp_path).n_lines == 1
    assert scan_segment(path).rows == ()
    assert inspect(tmp_path).is_ok
