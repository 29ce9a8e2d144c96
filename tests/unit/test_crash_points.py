"""A process that dies at any point of the upkeep loses nothing and repeats nothing."""

from pathlib import Path

import pytest
from log_crashes import busy_log, check_crashes, damage_a_segment, distinct, view
from log_samples import decision, outcome, write_log

from router_battery.crash_points import crash_everywhere
from router_data.compact import compact
from router_data.inspection import inspect
from router_data.log import segment_paths
from router_data.manifest import parquet_paths, read_manifest
from router_data.repair import repair

COMPACT = ("compact", "--grace-s", "0")


@pytest.mark.service
def test_a_compaction_may_die_at_any_point(tmp_path: Path) -> None:
    log = busy_log(tmp_path / "log")
    n_points = check_crashes(log, tmp_path / "work", COMPACT)
    assert n_points > 20
    assert segment_paths(tmp_path / "work" / str(n_points)) == []


def test_the_first_compaction_may_die_at_any_point(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [decision(), outcome()])
    expected = view(tmp_path / "log")
    folders = crash_everywhere(tmp_path / "log", tmp_path / "work", COMPACT)
    assert len(folders) > 10
    for folder in distinct(folders):
        assert view(folder) == expected, folder.name
    torn = next(folder for folder in folders if list(folder.rglob("*.tmp")))
    compact(torn)
    assert view(torn) == expected
    assert inspect(torn).leftovers == ()


@pytest.mark.service
def test_a_compaction_of_a_damaged_segment_may_die_at_any_point(tmp_path: Path) -> None:
    log = busy_log(tmp_path / "log")
    damage_a_segment(log)
    check_crashes(log, tmp_path / "work", COMPACT, every=3)
    for folder in (tmp_path / "work").iterdir():
        assert len(list((folder / "quarantine").glob("*.lines"))) <= 1


@pytest.mark.service
def test_a_repair_of_a_segment_may_die_at_any_point(tmp_path: Path) -> None:
    log = busy_log(tmp_path / "log")
    damage_a_segment(log)
    assert check_crashes(log, tmp_path / "work", ("repair",)) > 5


@pytest.mark.service
def test_a_repair_of_a_lost_manifest_may_die_at_any_point(tmp_path: Path) -> None:
    log = busy_log(tmp_path / "log")
    expected = view(log)
    (log / "manifest.json").write_text('{"version": 1, "fil')
    for folder in distinct(crash_everywhere(log, tmp_path / "work", ("repair",))):
        step = folder.name
        repair(folder)
        assert view(folder) == expected, step
        assert inspect(folder).is_ok, step
        assert repair(folder).actions == (), step


@pytest.mark.service
def test_a_repair_of_a_parquet_file_may_die_at_any_point(tmp_path: Path) -> None:
    log = busy_log(tmp_path / "log")
    compact(log, grace_s=0)
    compact(log, grace_s=0)
    file = max(read_manifest(log).files, key=lambda file: file.n_rows)
    path = log / file.path
    damaged = path.read_bytes()[:-9] + b"X" + path.read_bytes()[-8:]
    path.write_bytes(damaged)
    for folder in distinct(crash_everywhere(log, tmp_path / "work", ("repair",))):
        step = folder.name
        repair(folder)
        assert inspect(folder).is_ok, step
        assert (folder / "quarantine" / path.name).read_bytes() == damaged
        assert not (folder / file.path).exists()
        assert len(parquet_paths(folder)) == len(parquet_paths(log)) - 1


@pytest.mark.service
def test_a_retention_may_die_at_any_point(tmp_path: Path) -> None:
    log = busy_log(tmp_path / "log")
    compact(log, grace_s=0)
    kept = view(log)
    command = ("retain", "--days", "1", "--grace-s", "0")
    for folder in distinct(crash_everywhere(log, tmp_path / "work", command)):
        step = folder.name
        found = view(folder)
        is_dropped = not any(found.values())
        assert is_dropped or found == kept, step
        assert inspect(folder).is_ok, step
