from pathlib import Path
from typing import Any

import msgspec
import pytest
from log_samples import decision, outcome, write_log

from router_data import compact as compaction
from router_data.compact import compact
from router_data.inspection import inspect
from router_data.log import SEGMENTS, SegmentWriter, segment_paths
from router_data.manifest import Manifest, only_writer, read_manifest, write_manifest
from router_data.store import Store
from router_model.errors import LogError

DAY_MS = 86_400_000


def view(log: Path) -> list[dict[str, Any]]:
    with Store(log) as store:
        return [
            *store.query("select * from decisions order by all"),
            *store.query("select * from outcomes order by all"),
        ]


def sample_rows(start: int = 0, n: int = 6) -> list[dict[str, Any]]:
    """Decisions and outcomes over three days, some of them corrected."""
    rows: list[dict[str, Any]] = []
    for index in range(start, start + n):
        ts = (index % 3) * DAY_MS + index
        rows.append(decision(f"d{index}", ts_ms=ts))
        rows.append(outcome(f"d{index}", ts_ms=ts, reward=0.25))
        rows.append(outcome(f"d{index}", ts_ms=ts, reward=0.75))
    return rows


def test_the_views_are_the_same_before_and_after(tmp_path: Path) -> None:
    write_log(tmp_path, sample_rows(), segments=3)
    before = view(tmp_path)
    report = compact(tmp_path)
    assert (report.n_segments, report.n_rows, report.n_corrupt) == (3, 18, 0)
    assert view(tmp_path) == before
    assert len(before) == 12
    report = compact(tmp_path)
    assert (report.n_segments, report.n_deleted) == (0, 0)
    assert len(segment_paths(tmp_path)) == 3
    assert view(tmp_path) == before
    report = compact(tmp_path, grace_s=0)
    assert (report.n_segments, report.n_deleted) == (0, 3)
    assert segment_paths(tmp_path) == []
    assert view(tmp_path) == before


def test_files_are_partitioned_by_kind_and_date(tmp_path: Path) -> None:
    write_log(tmp_path, sample_rows())
    compact(tmp_path)
    files = read_manifest(tmp_path).files
    assert {(file.kind, file.date, file.n_rows) for file in files} == {
        (kind, f"1970-01-0{day}", n)
        for kind, n in (("decision", 2), ("outcome", 4))
        for day in (1, 2, 3)
    }
    assert all((tmp_path / file.path).is_file() for file in files)
    assert inspect(tmp_path).is_ok


def test_a_correction_after_compaction_still_wins(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(), outcome(adequate=False)])
    compact(tmp_path)
    write_log(tmp_path, [outcome(adequate=True)])
    with Store(tmp_path) as store:
        for _ in range(3):
            assert store.query("select adequate from outcomes") == [{"adequate": True}]
            compact(tmp_path, grace_s=0)


def test_a_segment_that_is_still_written_is_left_alone(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / SEGMENTS, "w0") as writer:
        writer.append([outcome("d0")])
        assert compact(tmp_path).n_skipped == 1
        writer.append([outcome("d1")])
    assert compact(tmp_path).n_rows == 2
    assert len(view(tmp_path)) == 2


def test_corrupt_lines_are_left_out_and_their_segment_is_kept(tmp_path: Path) -> None:
    write_log(tmp_path, [outcome("d0"), outcome("d1"), outcome("d2")])
    (path,) = segment_paths(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"d1"', b'"dX"') + b'{"n":"000')
    damaged = path.read_bytes().splitlines()[1]
    report = compact(tmp_path)
    assert (report.n_rows, report.n_corrupt) == (2, 1)
    assert [row["decision_id"] for row in view(tmp_path)] == ["d0", "d2"]
    (kept,) = (tmp_path / "quarantine").glob(f"{path.stem}-*.lines")
    assert kept.read_bytes().splitlines()[0] == damaged
    reason = msgspec.json.decode(kept.with_name(f"{kept.name}.reason.json").read_bytes())
    assert (reason["source"], reason["lines"]) == (f"segments/{path.name}", [2])


def test_many_small_files_of_a_day_are_merged(tmp_path: Path) -> None:
    for index in range(compaction.MAX_FILES_PER_DAY + 1):
        write_log(tmp_path, [outcome(f"d{index}")])
        compact(tmp_path)
    expected = view(tmp_path)
    (file,) = read_manifest(tmp_path).files
    assert file.n_rows == compaction.MAX_FILES_PER_DAY + 1
    assert len(list((tmp_path / "parquet").rglob("*.parquet"))) > 1
    compact(tmp_path, grace_s=0)
    on_disk = [path for path in (tmp_path / "parquet").rglob("*") if path.is_file()]
    assert [str(path.relative_to(tmp_path)) for path in on_disk] == [file.path]
    assert view(tmp_path) == expected


def test_a_merged_row_that_is_logged_again_is_the_same_row(tmp_path: Path) -> None:
    # Merging once added a column with the day: the repetition counted as different content.
    for index in range(compaction.MAX_FILES_PER_DAY + 1):
        write_log(tmp_path, [decision(f"d{index}")])
        compact(tmp_path)
    write_log(tmp_path, [decision("d0")])
    with Store(tmp_path) as store:
        assert store.query("from quarantine") == []
        columns = store.query("describe decisions")
    assert "date" not in {column["column_name"] for column in columns}


def test_an_open_store_follows_a_compaction(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for index in range(4):
            write_log(tmp_path, sample_rows(index * 6))
            n_expected = [{"n": 6 * (index + 1)}]
            assert store.query("select count(*) as n from rounds") == n_expected
            compact(tmp_path)
            assert store.query("select count(*) as n from rounds") == n_expected


def test_a_reader_with_an_older_list_of_files_can_finish(tmp_path: Path) -> None:
    write_log(tmp_path, sample_rows())
    before = view(tmp_path)
    with Store(tmp_path) as store:
        store._refresh()
        for _ in range(compaction.MAX_FILES_PER_DAY + 2):
            write_log(tmp_path, [outcome("late")])
            compact(tmp_path)
        # The connection still has the list from before.
        found = store._connection.execute("select count(*) from decisions").fetchall()
    assert found == [(sum(row["kind"] == "decision" for row in before),)]


def test_only_one_compaction_runs_at_a_time(tmp_path: Path) -> None:
    write_log(tmp_path, [outcome()])
    with only_writer(tmp_path), pytest.raises(LogError, match="another compaction"):
        compact(tmp_path)
    assert compact(tmp_path).n_rows == 1


def test_nothing_to_fold_changes_nothing(tmp_path: Path) -> None:
    compact(tmp_path)
    assert read_manifest(tmp_path) == Manifest()
    with pytest.raises(LogError, match="no such log"):
        compact(tmp_path / "absent")


def test_missing_and_altered_files_are_named(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(), outcome()])
    compact(tmp_path)
    first, second = read_manifest(tmp_path).files
    (tmp_path / first.path).unlink()
    (tmp_path / second.path).write_bytes(b"PAR1")
    assert inspect(tmp_path).damaged == {
        first.path: "missing",
        second.path: "altered: its sha256 is not the one in the manifest",
    }


# A flipped bit made text of a wrong encoding, which once ended every reader with a traceback.
@pytest.mark.parametrize("text", [b"", b"{", b'{"version": 2}', b"[]", b'{"folded": {"\xe1": 1}}'])
def test_a_manifest_that_can_not_be_trusted_is_an_error(tmp_path: Path, text: bytes) -> None:
    write_log(tmp_path, [outcome()])
    (tmp_path / "manifest.json").write_bytes(text)
    with pytest.raises(LogError, match=r"manifest\.json"):
        compact(tmp_path)
    with Store(tmp_path) as store, pytest.raises(LogError, match=r"manifest\.json"):
        store.query("select * from outcomes")


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = Manifest(folded={"a.jsonl": 1}, retired={"b.parquet": 2})
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert msgspec.json.decode((tmp_path / "manifest.json").read_bytes())["version"] == 1
