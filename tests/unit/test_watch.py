"""The champion after its promotion: which promises are tested, and when it is taken back."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import routers
from live_log import live_rows
from log_samples import write_log
from typer.testing import CliRunner, Result

from router_model.artifact import read_manifest
from router_model.breach import log_evidence, log_evidence_above
from router_model.errors import DatasetError, RouterError
from router_training.artifacts import check
from router_training.cli import app
from router_training.live_failures import Failures, live_outcomes
from router_training.registry import Registry, Version
from router_training.rollout import RolloutFile, start
from router_training.watch import Look, Promise, look, promise_tests, watch

GOOD = {"small": 0.9, "large": 0.95}
BAD = {"small": 0.4, "large": 0.4}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def registry(tracked: str, tmp_path: Path) -> Registry:
    return Registry(tmp_path / "state", tracking_uri=tracked)


def promoted(registry: Registry, folder: Path, seed: int) -> Version:
    routers.write_artifact(folder, predictor=routers.joint_predictor(seed=seed))
    tags = {"gate": "passed", "artifact_version": read_manifest(folder).version}
    registry.register(folder, params={}, metrics={}, tags=tags)
    registry.promote()
    return registry.get("champion")


@pytest.fixture
def both(registry: Registry, tmp_path: Path) -> tuple[Version, Version]:
    """The champion and the one before it."""
    before = promoted(registry, tmp_path / "before", 1)
    return promoted(registry, tmp_path / "after", 2), before


def traffic(
    version: Version, rates: Mapping[str, float], *, seed: int, n: int = 600, **changes: Any
) -> list[dict[str, Any]]:
    """600 decisions in 150 sessions, from the version's promotion on."""
    return live_rows(
        n,
        seed=seed,
        rates=rates,
        start_ms=int(version.tags["promoted_ms"]) + 1,
        artifact=version.tags["artifact_version"],
        **changes,
    )


def contracted(alpha: float) -> Mapping[str, Any]:
    return {"contract": f"contract(alpha={alpha:g},delta=0.1)"}


# ---- the tests


def test_evidence_above_a_limit_is_the_averaged_over_the_largest_likelihood() -> None:
    # Beta(1/2, 1/2) average of p^3: (1/2 x 3/2 x 5/2) / (1 x 2 x 3) = 5/16, over 0.1^3
    assert math.exp(log_evidence_above(3, 3, limit=0.1)) == pytest.approx(5 / 16 / 0.001)
    assert log_evidence_above(0, 0, limit=0.1) == -math.inf


@pytest.mark.statistical
def test_a_kept_promise_is_called_broken_at_most_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    n_broken = 0
    for _ in range(400):
        failures = np.cumsum(rng.random(1000) < 0.05)
        n_broken += any(
            log_evidence_above(int(failures[i]), i + 1, limit=0.05) >= math.log(1 / 0.05)
            for i in range(99, 1000, 9)
        )
    assert n_broken <= 0.05 * 400
    found = sum(
        log_evidence_above(int(rng.binomial(600, 0.1)), 600, limit=0.05) >= math.log(1 / 0.05)
        for _ in range(200)
    )
    assert found >= 160


def test_a_session_counts_once_with_the_first_outcome_that_tells(tmp_path: Path) -> None:
    rows = live_rows(8, rates={"small": 1.0, "large": 1.0})
    outcomes = [row for row in rows if row["kind"] == "outcome"]
    outcomes[0]["adequate"] = False  # first of the first session
    outcomes[5]["adequate"] = False  # second of the second session: too late
    write_log(tmp_path / "log", rows)
    found = live_outcomes(tmp_path)
    everything = np.ones(len(found.ts_ms), dtype=bool)
    assert found.count(everything) == Failures(n_failed=1, n=2)
    assert found.count(~everything) == Failures()


def test_downgraded_is_what_price_took_from_the_highest_p(tmp_path: Path) -> None:
    rows = live_rows(40, p_small=0.6)
    decisions = [row for row in rows if row["kind"] == "decision"]
    for i, row in enumerate(decisions):
        p = {"large": 0.9, "small": 0.8} if i % 2 else {"large": 0.8, "small": 0.8}
        row["candidates"] = [c | {"p_adequate": p[c["model"]]} for c in row["candidates"]]
    write_log(tmp_path / "log", rows)
    found = live_outcomes(tmp_path)
    # in a tie the cheaper one has the highest p; "large" is drawn to explore only
    expected = [i % 2 == 1 and row["model"] == "small" for i, row in enumerate(decisions)]
    assert found.is_downgraded.tolist() == expected


def test_decisions_before_the_promotion_and_of_other_artifacts_do_not_count(
    registry: Registry, both: tuple[Version, Version], tmp_path: Path
) -> None:
    champion, previous = both
    ours = traffic(champion, GOOD, seed=1, n=40)
    early = live_rows(40, seed=2, artifact=champion.tags["artifact_version"])
    other = traffic(champion, BAD, seed=3, n=40, changes={"versions": {"artifact": "x"}})
    base = traffic(previous, GOOD, seed=4, n=20)
    write_log(tmp_path / "log", [*ours, *early, *other, *base])
    outcomes = live_outcomes(tmp_path)
    (test,) = promise_tests(outcomes, champion, previous, promise=Promise())
    assert test.failures.n == 10
    assert "of 5 of version" in test.against
    before = outcomes.count(outcomes.artifact == previous.tags["artifact_version"])
    log = log_evidence(test.failures.n_failed, 10, before.n_failed, 5, margin=0.02)
    assert test.evidence == pytest.approx(math.exp(log))
    assert test.needed == pytest.approx(2 / 0.05)


def test_each_contract_in_effect_is_tested_on_what_it_downgraded(
    registry: Registry, both: tuple[Version, Version], tmp_path: Path
) -> None:
    champion, _ = both
    strict = traffic(champion, BAD, seed=1, p_small=1.0, changes=contracted(0.05))
    for row in strict:
        if row["kind"] == "decision":
            row["candidates"].append(
                row["candidates"][0] | {"model": "large", "p_adequate": 0.99, "probability": 0.0}
            )
    loose = traffic(champion, BAD, seed=2, n=40, changes=contracted(0.9))
    write_log(tmp_path / "log", strict + loose)
    tests = promise_tests(live_outcomes(tmp_path), champion, None, promise=Promise())
    assert [test.name for test in tests] == ["contract 0.05"]
    assert tests[0].is_broken
    assert tests[0].failures.n == 150
    patient = promise_tests(
        live_outcomes(tmp_path), champion, None, promise=Promise(min_outcomes=151)
    )
    assert not patient[0].is_broken


# ---- looking and going back


def test_a_champion_that_keeps_its_promises_stays(
    registry: Registry, both: tuple[Version, Version], tmp_path: Path
) -> None:
    champion, previous = both
    state = tmp_path / "state"
    rows = traffic(champion, GOOD, seed=1) + traffic(previous, GOOD, seed=2)
    write_log(state / "log", rows)
    found = look(state, registry, check=check)
    assert not found.is_broken
    assert found.rolled_back_to == ""
    assert registry.get("champion").number == champion.number


def test_a_champion_that_fails_more_often_is_taken_back_exported_and_tagged(
    registry: Registry, both: tuple[Version, Version], tmp_path: Path
) -> None:
    champion, previous = both
    state = tmp_path / "state"
    rows = traffic(champion, BAD, seed=1) + traffic(previous, GOOD, seed=2)
    write_log(state / "log", rows)
    found = look(state, registry, check=check)
    assert found.is_broken
    assert found.rolled_back_to == previous.number
    assert registry.get("champion").number == previous.number
    gone = registry.get("previous")
    assert gone.tags["rollback_reason"].startswith("champion: ")
    assert "sessions failed" in gone.tags["rollback_reason"]
    exported = read_manifest(state / "artifact").version
    assert exported == previous.tags["artifact_version"]
    # the version that is back is not exchanged for the bad one, however it does from now on
    again = traffic(registry.get("champion"), BAD, seed=3)
    write_log(state / "log", again)
    second = look(state, registry)
    assert second.rolled_back_to == ""
    assert registry.get("champion").number == previous.number


def test_a_damaged_rollout_file_does_not_keep_a_bad_champion(
    registry: Registry, both: tuple[Version, Version], tmp_path: Path
) -> None:
    # It ended every look with an error, and nothing was tested any more.
    state = tmp_path / "state"
    write_log(state / "log", [*traffic(both[1], GOOD, seed=1), *traffic(both[0], BAD, seed=2)])
    (state / "rollout.json").write_text("{")
    assert look(state, registry).rolled_back_to == both[1].number


def test_a_canary_that_the_service_stopped_is_noted(
    registry: Registry, both: tuple[Version, Version], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    folder = tmp_path / "next"
    routers.write_artifact(folder, predictor=routers.joint_predictor(seed=3))
    registry.register(folder, params={}, metrics={}, tags={})
    start(RolloutFile(mode="canary", share=0.1), state, registry)
    path = state / "rollout.json"
    path.write_text(path.read_text().replace('"canary"', '"stopped"'))
    write_log(state / "log", traffic(both[0], GOOD, seed=1, n=8))
    assert look(state, registry).rollout == "stopped"
    assert registry.get("challenger").tags["rollout"] == "stopped"
    registry.client.delete_registered_model_alias("router", "challenger")


def test_watching_goes_on_after_an_error_until_it_is_ended() -> None:
    ended = threading.Event()
    told: list[Look | RouterError] = []
    found = Look(champion="1", since_ms=0, tests=(), reason="", rolled_back_to="", rollout="off")

    def take_look() -> Look:
        if len(told) == 1:
            raise DatasetError("busy")
        return found

    def tell(what: Look | RouterError) -> None:
        told.append(what)
        if len(told) == 3:
            ended.set()

    watch(take_look, every_s=0.001, ended=ended, told=tell)
    assert [isinstance(what, RouterError) for what in told] == [False, True, False]


# ---- the command


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_once_exits_with_1_when_a_promise_is_broken(
    registry: Registry,
    both: tuple[Version, Version],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)
    state = tmp_path / "state"
    write_log(state / "log", traffic(both[0], GOOD, seed=1) + traffic(both[1], GOOD, seed=2))
    result = call("watch", "--state", state, "--once")
    assert result.exit_code == 0, result.output
    assert "ok champion: " in result.output
    write_log(state / "log", traffic(both[0], BAD, seed=5))
    result = call("watch", "--state", state, "--once")
    assert result.exit_code == 1, result.output
    assert "BROKEN champion: " in result.output
    assert f"rolled back to version {both[1].number}" in result.output


def test_a_signal_ends_it_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from router_training.cli import app; app()"]
    process = subprocess.Popen(
        [*command, "watch", "--state", str(tmp_path), "--every", "30"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"},
    )
    assert process.stderr is not None
    for line in process.stderr:  # told that there is no champion yet, then waiting
        if line.startswith("error: "):
            assert "champion" in line
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "watch: ended" in out
