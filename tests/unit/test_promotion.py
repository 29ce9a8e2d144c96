"""The whole way of a challenger: from a log to champion and back, all of it visible in MLflow."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
from live_log import live_rows
from log_samples import write_log
from typer.testing import CliRunner, Result

from router_data.bandit_log import log_with_policy
from router_data.logging_policy import LoggingPolicy
from router_data.simulator import simulate
from router_model.artifact import read_manifest
from router_model.router import Router
from router_training.cli import app
from router_training.registry import Registry, Version
from router_training.rollout import read_rollout

PARAMS = """
n_resamples = 50
n_folds = 2
n_inner_folds = 2
n_estimators = {n_estimators}
ridges = [2000.0]
"""
GOOD = {"small": 0.9, "large": 0.95}
BAD = {"small": 0.3, "large": 0.3}

pytestmark = pytest.mark.statistical


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeeded(*arguments: str | Path) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a log that explored three models evenly."""
    for name in ("MLFLOW_TRACKING_URI", "ROUTER_STATE_DIR", "ROUTER_CATALOG"):
        monkeypatch.delenv(name, raising=False)
    starter = Router.load(Path(str(files("router_model"))) / "starter")
    world = simulate(1500, n_models=3, seed=1)
    log_with_policy(world, tmp_path / "var", policy=LoggingPolicy("uniform"), router=starter)
    return tmp_path / "var"


def trained(state: Path, n_estimators: int) -> str:
    params = state.parent / "params.toml"
    params.write_text(PARAMS.format(n_estimators=n_estimators))
    return succeeded("run", "--state", state, "--params", params)


def traffic(version: Version, rates: Mapping[str, float], *, since_ms: int) -> list[dict[str, Any]]:
    return live_rows(
        600, seed=int(version.number), rates=rates, start_ms=since_ms + 1,
        artifact=version.tags["artifact_version"], encoder="another",
    )  # fmt: skip


def test_a_challenger_is_judged_tried_promoted_watched_and_taken_back(state: Path) -> None:
    registry = Registry(state)
    output = trained(state, 20)
    assert "ok  calibration: " in output
    succeeded("promote", "--state", state)
    first = registry.get("champion")
    assert first.tags["gate"] == "passed"

    output = trained(state, 40)
    assert "utility.live: net utility" in output
    challenger = registry.get("challenger")
    assert challenger.tags["gate"] == "passed", output
    assert challenger.metrics["gate.utility.live.challenger_effective_sample_size"] > 50
    succeeded("gate", "--state", state, "--params", state.parent / "params.toml")

    succeeded("rollout", "--state", state, "--mode", "shadow")
    succeeded("rollout", "--state", state, "--mode", "canary", "--share", "0.2")
    exported = read_manifest(state / "challenger").version
    assert exported == challenger.tags["artifact_version"]
    path = state / "rollout.json"
    content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    path.write_bytes(msgspec.json.encode(content | {"mode": "stopped", "reason": "error: 9 of 9"}))
    assert "stopped" in succeeded("rollout", "--state", state, "--status")
    tags = registry.get("challenger").tags
    assert (tags["rollout"], tags["rollout_reason"]) == ("stopped", "error: 9 of 9")
    assert tags["rollout_shadow_ms"] <= tags["rollout_canary_ms"] <= tags["rollout_stopped_ms"]

    succeeded("promote", "--state", state)
    second = registry.get("champion")
    assert second.number == challenger.number
    assert read_rollout(state).mode == "off"
    assert (registry.get("previous").number, second.tags["rollout"]) == (first.number, "off")
    assert read_manifest(state / "artifact").version == exported

    since_ms = int(second.tags["promoted_ms"])
    write_log(state / "log", traffic(first, GOOD, since_ms=since_ms))
    assert "ok champion: 0 of 0" in succeeded("watch", "--state", state, "--once")
    write_log(state / "log", traffic(second, BAD, since_ms=since_ms))
    result = call("watch", "--state", state, "--once")
    assert result.exit_code == 1, result.output
    assert f"rolled back to version {first.number}" in result.output
    back, gone = registry.get("champion"), registry.get("previous")
    assert (back.number, gone.number) == (first.number, second.number)
    assert "sessions failed" in gone.tags["rollback_reason"]
    assert gone.tags["rolled_back_ms"] >= gone.tags["promoted_ms"]
    assert read_manifest(state / "artifact").version == first.tags["artifact_version"]
