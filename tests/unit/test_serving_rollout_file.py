import json
from pathlib import Path

import pytest

from router_serving.errors import RolloutError
from router_serving.rollout_file import RolloutFile, read_rollout, write_stopped

CANARY = {"mode": "canary", "share": 0.1, "artifact": "challenger", "reason": "", "note": "kept"}


def test_no_file_is_off(tmp_path: Path) -> None:
    assert read_rollout(tmp_path / "rollout.json") == RolloutFile()
    assert not RolloutFile().is_on


def test_what_the_file_says_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rollout.json"
    path.write_text(json.dumps(CANARY | {"margin": 0, "delta": 0.01, "min_outcomes": 5}))
    file = read_rollout(path)
    assert (file.mode, file.share, file.artifact) == ("canary", 0.1, "challenger")
    assert file.is_on
    assert (file.promise.margin, file.promise.delta, file.promise.min_outcomes) == (0.0, 0.01, 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "can't be used"),
        ('{"mode": "half"}', "Invalid enum value 'half'"),
        ('{"mode": "canary", "artifact": "c", "share": 1.5}', "share: got 1.5, expected 0 to 1"),
        ('{"delta": 0}', "delta: got 0.0, expected"),
        ('{"margin": -0.1}', "margin: got -0.1"),
        ('{"min_outcomes": 0}', "min_outcomes: got 0, expected at least 1"),
        # It was taken for a path, and the error that it made kept the rollout before in force.
        ('{"mode": "canary", "artifact": "a\\u0000"}', "artifact: got 'a.x00', expected a folder"),
        ('{"mode": "shadow"}', "artifact: got '', expected a folder in mode shadow"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rollout.json"
    path.write_text(content)
    with pytest.raises(RolloutError, match=message):
        read_rollout(path)


def test_a_stop_changes_mode_and_reason_only(tmp_path: Path) -> None:
    path = tmp_path / "rollout.json"
    path.write_text(json.dumps(CANARY))
    file = read_rollout(path)
    assert write_stopped(path, file, reason="too many failures")
    assert json.loads(path.read_text()) == CANARY | {
        "mode": "stopped",
        "reason": "too many failures",
    }
    assert list(tmp_path.iterdir()) == [path]
    assert not write_stopped(path, file, reason="again")


@pytest.mark.parametrize(
    "change", [{"artifact": "next"}, {"since_ms": 2}, {"version": "8"}, {"mode": "off"}]
)
def test_another_rollout_is_not_stopped(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "rollout.json"
    path.write_text(json.dumps(CANARY | {"since_ms": 1, "version": "7"}))
    file = read_rollout(path)
    path.write_text(json.dumps(CANARY | {"since_ms": 1, "version": "7"} | change))
    before = path.read_bytes()
    assert not write_stopped(path, file, reason="too late")
    assert path.read_bytes() == before


def test_a_file_that_is_no_text_any_more_can_not_be_stopped(tmp_path: Path) -> None:
    path = tmp_path / "rollout.json"
    path.write_bytes(b'{"mode": "\xe1"}')
    with pytest.raises(RolloutError, match="can't be written"):
        write_stopped(path, RolloutFile(), reason="r")


def test_a_file_that_is_gone_can_not_be_stopped(tmp_path: Path) -> None:
    with pytest.raises(RolloutError, match="can't be written"):
        write_stopped(tmp_path / "rollout.json", RolloutFile(), reason="r")
