import json
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st
from log_samples import decision, outcome

from router_data.log import (
    MAX_ROW_BYTES,
    SEGMENTS,
    SegmentWriter,
    frame,
    is_being_written,
    log_dir,
    read_segment,
    scan_segment,
    segment_paths,
    verify,
)
from router_model.errors import LogError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def written(tmp_path: Path, n: int = 3) -> Path:
    with SegmentWriter(tmp_path / SEGMENTS, "w0") as writer:
        for index in range(n):
            writer.append([outcome(f"d{index}")])
        assert writer.path is not None
        return writer.path


def test_crc32c_is_castagnoli() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_a_line_is_json_whose_frame_holds_length_and_checksum_of_the_row() -> None:
    line = frame({"kind": "outcome", "text": "é\n"})
    parsed = json.loads(line)
    body = line[len(b'{"n":"00000000","crc32c":"00000000","row":') : -2]
    assert parsed["row"] == {"kind": "outcome", "text": "é\n"}
    assert int(parsed["n"], 16) == len(body)
    assert int(parsed["crc32c"], 16) == crc32c(body)
    assert line.count(b"\n") == 1


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=5))
def test_any_rows_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    with SegmentWriter(folder / SEGMENTS, "w0") as writer:
        writer.append(rows)
    assert [row for path in segment_paths(folder) for row in read_segment(path)] == rows


def test_nothing_is_created_for_an_empty_append(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / SEGMENTS, "w0") as writer:
        writer.append([])
    assert segment_paths(tmp_path) == []


def test_segments_are_named_by_worker_and_sort_by_time(tmp_path: Path) -> None:
    for worker in ("zz", "aa/../b"):
        with SegmentWriter(tmp_path / SEGMENTS, worker) as writer:
            writer.append([outcome()])
        time.sleep(0.002)
    names = [path.name for path in segment_paths(tmp_path)]
    assert names[0].startswith("zz-")
    assert names[1].startswith("aa____b-")


def test_a_full_segment_is_followed_by_a_new_one(tmp_path: Path) -> None:
    line = len(frame(outcome("d0")))
    with SegmentWriter(tmp_path / SEGMENTS, "w0", max_bytes=2 * line) as writer:
        for index in range(5):
            writer.append([outcome(f"d{index}")])
    assert [len(scan_segment(path).rows) for path in segment_paths(tmp_path)] == [2, 2, 1]


def test_an_old_segment_is_followed_by_a_new_one(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / SEGMENTS, "w0", max_age_s=0.0) as writer:
        writer.append([outcome("d0")])
        time.sleep(0.002)
        writer.append([outcome("d1")])
    assert len(segment_paths(tmp_path)) == 2


def test_a_row_that_is_too_long_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / SEGMENTS, "w0") as writer:
        with pytest.raises(LogError, match="expected at most"):
            writer.append([outcome(), outcome(text="x" * MAX_ROW_BYTES)])
        assert segment_paths(tmp_path) == []
        writer.append([outcome()])
    assert verify(tmp_path).n_rows == 1


@pytest.mark.parametrize("value", [object(), "\ud83d"])
def test_a_row_that_is_not_json_is_refused(tmp_path: Path, value: object) -> None:
    with (
        SegmentWriter(tmp_path / SEGMENTS, "w0") as writer,
        pytest.raises(LogError, match="not representable"),
    ):
        writer.append([outcome(error=value)])


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / SEGMENTS, "w0") as writer:
        writer.append([outcome(cost_usd=float("nan"), latency_ms=float("inf"))])
    (row,) = read_segment(segment_paths(tmp_path)[0])
    assert (row["cost_usd"], row["latency_ms"]) == (None, None)


def test_a_segment_is_being_written_until_its_writer_closes_it(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / SEGMENTS, "w0")
    writer.append([outcome()])
    (path,) = segment_paths(tmp_path)
    assert is_being_written(path)
    writer.close()
    assert not is_being_written(path)


def test_the_log_folder_is_found_from_the_state_folder(tmp_path: Path) -> None:
    assert log_dir(tmp_path) == tmp_path
    (tmp_path / "log").mkdir()
    assert log_dir(tmp_path) == tmp_path / "log"
    assert log_dir(tmp_path / "log") == tmp_path / "log"


def test_a_torn_last_line_is_skipped_and_is_no_damage(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    last_line = whole.rstrip(b"\n").rfind(b"\n") + 1
    for length in range(last_line + 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        report = verify(tmp_path)
        assert (report.n_rows, report.n_torn, report.is_ok) == (2, 1, True), length


def test_a_last_line_that_lacks_only_its_newline_is_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert [row["decision_id"] for row in read_segment(path)] == ["d0", "d1", "d2"]


def test_every_flipped_bit_is_found_and_no_altered_row_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, n=2)
    whole = path.read_bytes()
    rows = list(read_segment(path))
    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            path.write_bytes(flipped)
            scan = scan_segment(path)
            assert scan.corrupt_lines, (position, bit)
            assert all(row in rows for row in read_segment(path)), (position, bit)


def test_verify_names_the_corrupt_lines(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"d1"', b'"dX"'))
    report = verify(tmp_path)
    assert not report.is_ok
    assert report.corrupt == {path.name: (2,)}
    assert report.n_rows == 2


def test_an_unreadable_segment_is_a_log_error(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="can't be read"):
        scan_segment(tmp_path / "absent.jsonl")


def test_an_append_to_a_place_that_is_no_folder_is_a_log_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="can't append"):
        SegmentWriter(tmp_path / "file", "w0").append([outcome()])


# --- durability, with real processes ---

WRITE_UNTIL_KILLED = """
    import sys
    from pathlib import Path
    from router_data.log import SegmentWriter

    writer = SegmentWriter(Path(sys.argv[1]), "w0", max_bytes=20_000)
    for index in range(1_000_000):
        rows = [{"kind": "outcome", "decision_id": f"d{index}", "part": part, "pad": "x" * 300}
                for part in range(3)]
        writer.append(rows)
        sys.stdout.write(f"{index}\\n")
        sys.stdout.flush()
"""


def test_every_acknowledged_row_survives_kill_9_in_the_middle_of_writing(tmp_path: Path) -> None:
    script = textwrap.dedent(WRITE_UNTIL_KILLED)
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(folder / SEGMENTS)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05 + 0.03 * attempt)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.stdout.close()
        child.wait()
        # A line may be cut by the kill; whole lines are acknowledgements.
        acknowledged = [0, *(int(line) for line in rest.split(b"\n")[:-1])]
        rows = [row for path in segment_paths(folder) for row in read_segment(path)]
        found = {(row["decision_id"], row["part"]) for row in rows}
        assert len(acknowledged) > 1
        assert {(f"d{index}", part) for index in acknowledged for part in range(3)} <= found
        assert len(found) == len(rows)
        assert verify(folder).is_ok


WRITE_UNTIL_FULL = """
    import resource, sys
    from pathlib import Path
    from router_data.log import SegmentWriter
    from router_model.errors import LogError

    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    writer = SegmentWriter(Path(sys.argv[1]), "w0")
    good = 0
    try:
        while True:
            writer.append([{"kind": "outcome", "decision_id": f"d{good}", "pad": "x" * 700}])
            good += 1
    except LogError as error:
        assert "can't append" in str(error), error
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    writer.append([{"kind": "outcome", "decision_id": "small"}])
    sys.stdout.write(str(good))
"""


def test_a_write_that_does_not_fit_leaves_no_trace_and_writing_goes_on(tmp_path: Path) -> None:
    # The limit on the file's size makes the kernel accept a part of the row and refuse the rest.
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 10_000
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WRITE_UNTIL_FULL), str(tmp_path / SEGMENTS)],
        capture_output=True,
        check=True,
    )
    n_good = int(answer.stdout)
    rows = [row for path in segment_paths(tmp_path) for row in read_segment(path)]
    assert n_good > 5
    assert [row["decision_id"] for row in rows] == [*(f"d{i}" for i in range(n_good)), "small"]
    report = verify(tmp_path)
    assert (report.n_torn, report.is_ok) == (0, True)


def test_a_refused_first_write_leaves_no_empty_segment(tmp_path: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from router_data.log import SegmentWriter
        from router_model.errors import LogError

        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            SegmentWriter(Path(sys.argv[1]), "w0").append([{"pad": "x" * 500}])
        except LogError:
            sys.exit(7)
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / SEGMENTS)], check=False
    )
    assert answer.returncode == 7
    assert list((tmp_path / SEGMENTS).iterdir()) == []


def test_two_workers_do_not_share_a_segment(tmp_path: Path) -> None:
    with (
        SegmentWriter(tmp_path / SEGMENTS, "w0") as first,
        SegmentWriter(tmp_path / SEGMENTS, "w0") as second,
    ):
        first.append([decision("a")])
        second.append([decision("b")])
        assert first.path != second.path
