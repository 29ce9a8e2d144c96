"""Trying a challenger: the file that the service reads, and what MLflow shows of it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import routers
from live_log import START, live_rows
from log_samples import write_log
from typer.testing import CliRunner, Result

from router_model.artifact import read_manifest
from router_model.errors import ArtifactError
from router_training.artifacts import check
from router_training.cli import app
from router_training.registry import Registry, Version
from router_training.rollout import (
    RolloutError,
    RolloutFile,
    artifact_version,
    copy_state,
    is_off,
    read_rollout,
    start,
    stop,
)
from router_training.rollout_status import render_status, status_of

CANARY = RolloutFile(mode="canary", share=0.25, min_outcomes=10)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow for the module: to make its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def registry(tracked: str, tmp_path: Path) -> Registry:
    return Registry(tmp_path / "state", tracking_uri=tracked)


@pytest.fixture
def challenger(registry: Registry, tmp_path: Path) -> Version:
    return register(registry, tmp_path / "artifact", seed=1)


def register(registry: Registry, folder: Path, *, seed: int) -> Version:
    routers.write_artifact(folder, predictor=routers.joint_predictor(seed=seed))
    tags = {"gate": "passed", "artifact_version": read_manifest(folder).version}
    return registry.register(folder, params={}, metrics={}, tags=tags)


def stopped_by_the_service(state: Path, reason: str) -> None:
    path = state / "rollout.json"
    content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    path.write_bytes(msgspec.json.encode(content | {"mode": "stopped", "reason": reason}))


def test_a_shadow_exports_the_challenger_writes_the_file_and_tags_the_version(
    registry: Registry, challenger: Version, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    file = start(RolloutFile(mode="shadow"), state, registry, check=check)
    assert read_rollout(state) == file
    content = msgspec.json.decode((state / "rollout.json").read_bytes())
    assert content["mode"] == "shadow"
    assert content["artifact"] == "challenger"
    assert {"share", "margin", "delta", "min_outcomes", "reason"} <= content.keys()
    assert read_manifest(state / "challenger").version == artifact_version(state, file)
    tags = registry.get("challenger").tags
    assert tags["rollout"] == "shadow"
    assert tags["rollout_shadow_ms"] == str(file.since_ms)
    assert registry.client.get_run(challenger.run_id).data.tags["rollout"] == "shadow"


def test_what_the_service_stopped_is_copied_into_the_tags_with_its_reason(
    registry: Registry, challenger: Version, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    start(CANARY, state, registry)
    stopped_by_the_service(state, "inadequate: 9 of 10")
    found = copy_state(read_rollout(state), state, registry)
    assert found is not None
    assert found.number == challenger.number
    tags = registry.get("challenger").tags
    assert (tags["rollout"], tags["rollout_reason"]) == ("stopped", "inadequate: 9 of 10")
    assert int(tags["rollout_stopped_ms"]) >= int(tags["rollout_canary_ms"])
    before = tags["rollout_stopped_ms"]
    copy_state(read_rollout(state), state, registry)
    assert registry.get("challenger").tags["rollout_stopped_ms"] == before


def test_off_ends_it_and_keeps_the_stop_in_the_tags(
    registry: Registry, challenger: Version, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    start(CANARY, state, registry)
    stopped_by_the_service(state, "broken")
    assert stop(state, registry).mode == "off"
    tags = registry.get("challenger").tags
    assert tags["rollout"] == "off"
    assert tags["rollout_stopped_ms"]
    assert tags["rollout_off_ms"] >= tags["rollout_canary_ms"]


def test_without_a_number_the_version_is_found_by_its_artifact(
    registry: Registry, challenger: Version, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    file = start(CANARY, state, registry)
    bare = msgspec.structs.replace(file, version="", mode="stopped")
    found = copy_state(bare, state, registry)
    assert found is not None
    assert found.number == challenger.number
    assert copy_state(RolloutFile(), state, registry) is None


def test_a_broken_artifact_is_refused_and_nothing_changes(
    registry: Registry, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    folder = tmp_path / "artifact"
    routers.write_artifact(folder)
    (folder / "trees.txt").write_text("altered")
    registry.register(folder, params={}, metrics={}, tags={})
    with pytest.raises(ArtifactError, match="altered"):
        start(CANARY, state, registry, check=check)
    assert not (state / "rollout.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 0.0}, "share: got 0.0, a canary needs more than 0"),
        ({"share": 1.5}, "share: got 1.5"),
        ({"delta": 0.9}, "delta: got 0.9"),
        ({"min_outcomes": 0}, "min_outcomes: got 0"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RolloutError, match=message):
        msgspec.structs.replace(CANARY, **changes)


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    assert read_rollout(tmp_path).mode == "off"
    for text in ("{", '{"mode": "on"}', '{"mode": "canary", "share": 7}'):
        (tmp_path / "rollout.json").write_text(text)
        with pytest.raises(RolloutError, match=r"rollout\.json|share"):
            read_rollout(tmp_path)


def test_the_status_counts_decisions_and_outcomes_of_each_side(
    registry: Registry, challenger: Version, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    file = start(CANARY, state, registry)
    version = artifact_version(state, file)
    later = file.since_ms + 1000
    shadow = {"artifact": version, "model": "small", "expected_cost": 0.0015}
    made = [
        *live_rows(40, seed=1, start_ms=START),  # before it began
        *live_rows(60, seed=2, start_ms=later, changes={"shadow": shadow}),
        *live_rows(
            20, seed=3, start_ms=later, artifact=version, side="canary",
            rates={"small": 0.0, "large": 0.0},
        ),
    ]  # fmt: skip
    write_log(state / "log", made)
    status = status_of(state, registry)
    counts = {
        side.name: (side.n_decisions, side.n_sessions, side.n_outcomes) for side in status.sides
    }
    assert counts == {"champion": (60, 15, 60), "canary": (20, 5, 20)}
    assert status.sides[1].adequate.value == 0.0
    assert status.shadow is not None
    assert status.shadow.n_decisions == 60
    assert 0.4 < status.shadow.agreement < 0.8  # small is drawn with probability 0.6
    assert status.shadow.cost_ratio < 1
    text = render_status(status)
    assert text.startswith(f"rollout: canary, 25% of sessions, version {challenger.number}")
    assert "canary" in text
    assert "the same model in" in text


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_goes_from_shadow_to_canary_to_off(
    registry: Registry, challenger: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)
    state = tmp_path / "state"
    state.mkdir()
    for mode in ("shadow", "canary"):
        result = call("rollout", "--state", state, "--mode", mode, "--share", "0.2")
        assert result.exit_code == 0, result.output
        assert f"rollout: {mode}" in result.output
    assert read_rollout(state).share == 0.2
    stopped_by_the_service(state, "error: 5 of 10")
    result = call("rollout", "--state", state, "--status")
    assert result.exit_code == 0, result.output
    assert "rollout: stopped" in result.output
    assert "error: 5 of 10" in result.output
    assert registry.get("challenger").tags["rollout"] == "stopped"
    assert call("rollout", "--state", state, "--mode", "off").exit_code == 0
    assert read_rollout(state).mode == "off"


def test_a_damaged_file_is_ended_like_any_other(registry: Registry, tmp_path: Path) -> None:
    # "off" and promote were refused because of the file that they were to write anew.
    state = tmp_path / "state"
    state.mkdir()
    (state / "rollout.json").write_text("{")
    assert not is_off(state)
    stop(state, registry)
    assert is_off(state)


def test_wrong_usage_is_told(tmp_path: Path) -> None:
    assert call("rollout", "--state", tmp_path).exit_code == 2
    assert call("rollout", "--state", tmp_path, "--mode", "on").exit_code == 2
    assert call("rollout", "--state", tmp_path, "--mode", "off", "--status").exit_code == 2
    assert call("rollout", "--state", tmp_path / "none", "--status").exit_code == 2
    assert call("rollout", "--state", tmp_path, "--mode", "canary", "--share", "0").exit_code == 2
