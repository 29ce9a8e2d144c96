"""A disk that is full or lies: what was acknowledged stays, the rest is absent or whole."""

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from log_samples import decision, outcome, write_log

from router_data import store
from router_data.compact import compact
from router_data.inspection import inspect
from router_data.log import SEGMENTS, SegmentWriter, read_segment, segment_paths, verify
from router_data.manifest import read_manifest
from router_data.store import Store
from router_model.errors import LogError


def ids(log: Path) -> list[str]:
    return [row["decision_id"] for path in segment_paths(log) for row in read_segment(path)]


def failing(code: int) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_segment_whose_sync_failed_is_never_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    # It was once cut back and gone on with: after a failed fdatasync the kernel may call pages
    # clean that it never wrote, and the next fdatasync would acknowledge them.
    writer = SegmentWriter(tmp_path / SEGMENTS, "w0")
    writer.append([outcome("d0")])
    first = writer.path
    assert first is not None
    n_failures = 0

    def fails_once(descriptor: int, sync: Any = os.fdatasync) -> None:
        nonlocal n_failures
        n_failures += 1
        if n_failures == 1:
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails_once)
        with pytest.raises(LogError, match="can't append"):
            writer.append([outcome("refused")])
    size = first.stat().st_size
    writer.append([outcome("refused")])
    assert writer.path != first
    assert first.stat().st_size == size
    assert ids(tmp_path) == ["d0", "refused"]
    writer.close()


def test_a_segment_that_can_not_even_be_cut_back_holds_whole_rows_or_a_torn_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SegmentWriter(tmp_path / SEGMENTS, "w0")
    writer.append([decision("d0")])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(errno.EIO))
        patch.setattr(os, "ftruncate", failing(errno.EIO))
        with pytest.raises(LogError):
            writer.append([decision("d1")])
    writer.append([decision("d1")])
    writer.close()
    assert ids(tmp_path) == ["d0", "d1", "d1"]
    with Store(tmp_path) as log:
        assert log.query("select count(*) as n from decisions") == [{"n": 2}]
        assert log.query("from quarantine") == []


@pytest.mark.parametrize("call", ["rename", "fsync", "open"])
def test_a_segment_that_could_not_be_opened_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    writer = SegmentWriter(tmp_path / SEGMENTS, "w0")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.ENOSPC))
        with pytest.raises(LogError, match="can't append"):
            writer.append([outcome()])
    assert list((tmp_path / SEGMENTS).glob("*")) == []
    writer.append([outcome()])
    writer.close()
    assert ids(tmp_path) == ["d1"]


def test_no_descriptor_is_left_by_rotation_failures_and_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def n_open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    write_log(tmp_path, [decision(), outcome()])
    with Store(tmp_path) as log:
        log.query("from rounds")
    before = n_open()
    with SegmentWriter(tmp_path / SEGMENTS, "w0", max_bytes=10) as writer:
        for index in range(20):
            writer.append([outcome(f"d{index}")])
        for call in ("write", "fdatasync", "rename"):
            with monkeypatch.context() as patch:
                patch.setattr(os, call, failing(errno.ENOSPC))
                with pytest.raises(LogError):
                    writer.append([outcome()])
    for _ in range(2):
        compact(tmp_path, grace_s=0)
        with Store(tmp_path) as log:
            log.query("from rounds")
    assert n_open() == before


def test_a_compaction_that_can_not_write_changes_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path, [decision("d0"), outcome("d0")])
    compact(tmp_path, grace_s=0)
    write_log(tmp_path, [decision("d1"), outcome("d1")])
    manifest = read_manifest(tmp_path)
    files = {path for path in tmp_path.rglob("*") if path.name not in manifest.folded}

    def full_in_the_middle(*arguments: Any, original: Any = store.copy_to) -> int:
        original(*arguments)
        path: Path = arguments[3]
        os.truncate(path, path.stat().st_size // 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    for place, name, fault in (
        (store, "copy_to", full_in_the_middle),
        (os, "fsync", failing(errno.EIO)),
        (os, "replace", failing(errno.ENOSPC)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fault)
            with pytest.raises(LogError, match=r"can't be (compacted|written)"):
                compact(tmp_path, grace_s=0)
        assert read_manifest(tmp_path) == manifest
    compact(tmp_path, grace_s=60)
    assert inspect(tmp_path).is_ok
    assert inspect(tmp_path).leftovers == ()
    assert files <= set(tmp_path.rglob("*"))
    with Store(tmp_path) as log:
        assert log.query("select count(*) as n from rounds") == [{"n": 2}]


FILL = """
    import resource, sys
    from pathlib import Path
    from log_samples import decision, outcome
    from router_data.compact import compact
    from router_data.log import SegmentWriter
    from router_model.errors import LogError

    log = Path(sys.argv[1])
    limit = int(sys.argv[2])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    writer = SegmentWriter(log / "segments", "w0", max_bytes=1 << 30)
    n_refused = 0
    for index in range(20_000):
        rows = [decision(f"d{index}", pad="x" * 900), outcome(f"d{index}")]
        try:
            writer.append(rows)
        except LogError:
            n_refused += 1
            if n_refused == 3:
                break
            continue
        print(index)
    writer.close()
    try:
        compact(log, grace_s=0)
    except LogError as error:
        print("refused", error, file=sys.stderr)
"""


def fill(log: Path, limit: int) -> list[int]:
    """Write until three appends were refused; the numbers of the acknowledged groups."""
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FILL), str(log), str(limit)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    return [int(line) for line in answer.stdout.split()]


def check_full(log: Path, acknowledged: list[int]) -> None:
    assert len(acknowledged) > 10
    found = inspect(log)
    assert (found.is_ok, found.segments.n_torn) == (True, 0)
    with Store(log) as reader:
        rows = reader.query("select decision_id from rounds")
    assert {row["decision_id"] for row in rows} == {f"d{index}" for index in acknowledged}


def test_files_that_may_not_grow_lose_no_acknowledged_row(tmp_path: Path) -> None:
    log = tmp_path / "log"
    check_full(log, fill(log, 100_000))
    compact(log, grace_s=0)
    assert compact(log, grace_s=0).n_skipped == 0
    assert verify(log).n_segments == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    answer = subprocess.run(mount, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {answer.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_loses_no_acknowledged_row(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * 300_000)
    log = small_disk / "log"
    acknowledged = fill(log, 0)
    check_full(log, acknowledged)
    (small_disk / "rest").write_bytes(b"x" * room(small_disk))
    before = read_manifest(log)
    with pytest.raises(LogError, match="No space left"):
        compact(log, grace_s=0)
    assert read_manifest(log) == before
    assert inspect(log).leftovers == ()
    check_full(log, acknowledged)
    (small_disk / "ballast").unlink()
    compact(log, grace_s=0)
    check_full(log, acknowledged)
    with SegmentWriter(log / SEGMENTS, "w0") as writer:
        writer.append([decision("later"), outcome("later")])
    with Store(log) as reader:
        assert reader.query("select count(*) as n from rounds") == [{"n": len(acknowledged) + 1}]


def room(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_bsize
