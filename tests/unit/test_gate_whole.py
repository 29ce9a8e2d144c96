"""The gate between challenger and champion as a whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import routers
from gate_samples import (
    BAD_SMALL,
    RESAMPLING,
    STRONGEST,
    artifact,
    explored,
    gain,
    held_out,
)
from live_log import COSTS, live_rows
from log_samples import write_log

from router_data.rewards import DEFAULT_RULE
from router_model.artifact import read_manifest
from router_model.embedding import N_MATCH
from router_model.errors import DatasetError
from router_training.artifacts import load_artifact
from router_training.gate import Finding, GateReport, Limits, gate_metrics, render_gate
from router_training.gate_checks import check_gain
from router_training.gate_run import judge
from router_training.held_out import HeldOut, HeldOutKeys, load_held_out, read_keys, write_keys


def judged(challenger: Path, champion: Path | None, data: HeldOut) -> GateReport:
    return judge(
        challenger, champion, data,
        load=load_artifact, champion_name="1", resampling=RESAMPLING,
        limits=Limits(max_calibration_loss=1.0, max_latency_ratio=9.0),
    )  # fmt: skip


def by_code(report: GateReport) -> Mapping[str, Finding]:
    return {finding.code: finding for finding in report.findings}


def test_a_challenger_that_avoids_a_bad_model_passes_and_the_other_way_round_does_not(
    tmp_path: Path,
) -> None:
    cheap, strong = artifact(tmp_path / "c"), artifact(tmp_path / "s", STRONGEST)
    data = held_out(tmp_path / "state", explored(rates=BAD_SMALL))
    better = judged(strong, cheap, data)
    assert better.verdict == "passed", render_gate(better)
    found = by_code(better)["utility.live"]
    # 0.25 x (0.95 - 0.3) less the dearer calls, 0.015 - 0.0015
    assert found.figures["low"] < 0.25 * 0.65 - 0.0135 < found.figures["high"]
    worse = judged(cheap, strong, data)
    codes = {reason.code for reason in worse.reasons}
    assert codes == {"utility.live", "tenant.live", "step_type.live"}
    assert "acme" in by_code(worse)["tenant.live"].text


def test_equal_artifacts_differ_by_exactly_nothing(tmp_path: Path) -> None:
    data = held_out(tmp_path / "state", explored(200))
    found = by_code(judged(artifact(tmp_path / "a"), artifact(tmp_path / "b"), data))
    assert found["utility.live"].figures["estimate"] == 0.0
    assert found["utility.live"].figures["differ_share"] == 0.0


def test_a_log_that_explored_nothing_cannot_tell_and_says_what_to_explore(tmp_path: Path) -> None:
    rows = live_rows(
        300, p_small=1.0, n_dimensions=routers.N_DIMENSIONS + N_MATCH,
        encoder=routers.encoder().hash,
    )  # fmt: skip
    for row in rows:
        if row["kind"] == "decision":
            other = {"model": "large", "expected_cost": COSTS["large"], "probability": 0.0}
            row["candidates"].append(row["candidates"][0] | other)
    data = held_out(tmp_path / "state", rows)
    report = judged(artifact(tmp_path / "s", STRONGEST), artifact(tmp_path / "c"), data)
    reason = by_code(report)["utility.live"]
    assert not reason.is_ok
    assert reason.text.startswith("can't tell: ")
    assert "explore large" in reason.text


def canary_log(folder: Path, champion: Path, challenger: Path, rates: Any) -> HeldOut:
    """Both sides take small only, 200 sessions of the champion and 200 of the canary."""
    made: list[dict[str, Any]] = []
    for seed, artifact_folder, of_side in ((1, champion, BAD_SMALL), (2, challenger, rates)):
        version = read_manifest(artifact_folder).version
        made += live_rows(
            800, seed=seed, p_small=1.0, rates=of_side, artifact=version,
            n_dimensions=routers.N_DIMENSIONS + N_MATCH, encoder=routers.encoder().hash,
        )  # fmt: skip
    for row in made:
        if row["kind"] == "decision":
            other = {"model": "large", "expected_cost": COSTS["large"], "probability": 0.0}
            row["candidates"].append(row["candidates"][0] | other)
    return held_out(folder, made)


def test_a_canary_shows_what_a_log_without_exploration_cannot(tmp_path: Path) -> None:
    champion, challenger = artifact(tmp_path / "c"), artifact(tmp_path / "s", STRONGEST)
    (challenger / "MODEL_CARD.md").write_text("# Another model card\n")
    routers.seal(challenger, policy=dict(STRONGEST))
    good = canary_log(tmp_path / "1", champion, challenger, {"small": 0.6, "large": 0.6})
    report = judged(challenger, champion, good)
    found = by_code(report)
    assert report.verdict == "passed", render_gate(report)
    assert found["utility.live"].text.endswith("(the canary tells)")
    assert found["utility.canary"].figures["n_canary_sessions"] == 200
    # (0.6 - 0.3) x 0.25
    assert found["utility.canary"].figures["estimate"] == pytest.approx(0.075, abs=0.02)
    bad = canary_log(tmp_path / "2", champion, challenger, {"small": 0.1, "large": 0.1})
    codes = {reason.code for reason in judged(challenger, champion, bad).reasons}
    assert codes == {"utility.live", "utility.canary"}


@pytest.mark.statistical
def test_a_challenger_at_the_margin_passes_at_most_once_in_forty() -> None:
    n_passed = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(100), 5)
        terms = -0.005 + (rng.normal(size=100)[groups] + rng.normal(size=500)) * 0.02
        found = check_gain(
            gain(terms, groups=groups), Limits(), resampling=RESAMPLING, is_deciding=True
        )
        n_passed += found.is_ok
    # 0.025 x 400 = 10 are expected; 17 has probability 0.03
    assert n_passed <= 17


def test_without_a_champion_only_absolute_checks_are_made(tmp_path: Path) -> None:
    report = judged(artifact(tmp_path / "a"), None, held_out(tmp_path / "s", explored(100)))
    assert {finding.code for finding in report.findings} == {"artifact", "calibration", "contract"}
    assert report.verdict == "passed"


def test_a_broken_challenger_is_not_compared_and_a_broken_champion_cannot_tell(
    tmp_path: Path,
) -> None:
    good, broken = artifact(tmp_path / "a"), artifact(tmp_path / "b")
    (broken / "trees.txt").write_text("tree")
    data = held_out(tmp_path / "s", explored(100))
    assert [f.code for f in judged(broken, good, data).findings] == ["artifact"]
    report = judged(good, broken, data)
    assert [reason.code for reason in report.reasons] == ["champion"]


def test_a_challenger_that_is_miscalibrated_is_refused_with_the_error(tmp_path: Path) -> None:
    data = held_out(tmp_path / "s", explored(400, rates={"small": 0.02, "large": 0.02}))
    report = judge(artifact(tmp_path / "a"), None, data, load=load_artifact, resampling=RESAMPLING)
    (reason,) = report.reasons
    assert reason.code == "calibration"
    assert "at most 0.1 is allowed" in reason.text
    assert reason.figures["challenger_low"] > 0.1


def test_the_verdict_the_metrics_and_the_text_have_every_figure() -> None:
    report = GateReport(
        champion="3", n_held_out=9, n_live=4, limits=Limits(),
        findings=(
            Finding(code="latency", is_ok=True, text="quick", figures={"ratio": 1.1}),
            Finding(code="tenant.live", is_ok=False, text="worse", figures={"a:b": 2, "n": np.nan}),
        ),
    )  # fmt: skip
    assert report.verdict == "tenant.live: worse"
    assert gate_metrics(report) == {
        "gate.n_reasons": 1.0,
        "gate.n_live": 4.0,
        "gate.latency.ratio": 1.1,
        "gate.tenant.live.a_b": 2.0,
    }
    lines = render_gate(report).splitlines()
    assert lines[0] == "gate: 9 held-out requests, 4 live; champion version 3"
    assert lines[1:] == ["  ok  latency: quick", "  NO  tenant.live: worse"]


# ---- the held-out part


def test_held_out_is_the_test_part_and_what_came_later(tmp_path: Path) -> None:
    rows = explored(40)
    ids = [row["decision_id"] for row in rows if row["kind"] == "decision"]
    times = [row["ts_ms"] for row in rows if row["kind"] == "decision"]
    write_log(tmp_path / "log", rows)
    keys = HeldOutKeys(seen_until_ms=times[29], keys=(("acme", ids[3]), ("other", ids[4])))
    assert read_keys(write_keys(keys, tmp_path)) == keys
    encoder = routers.encoder().hash
    found = load_held_out(tmp_path, keys, rule=DEFAULT_RULE, encoder=encoder)
    expected = {ids[3], *ids[30:]}
    assert set(found.rounds.decision_id.tolist()) == expected
    assert found.logged is not None
    assert set(found.logged.decision_id.tolist()) == expected
    with pytest.raises(DatasetError, match="nothing in the log was held out"):
        load_held_out(
            tmp_path, HeldOutKeys(seen_until_ms=times[-1], keys=()),
            rule=DEFAULT_RULE, encoder=encoder,
        )  # fmt: skip
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DatasetError, match=r"broken\.json"):
        read_keys(tmp_path / "broken.json")


def test_a_held_out_part_without_outcomes_cannot_tell(tmp_path: Path) -> None:
    rows = [row for row in explored(60) if row["kind"] == "decision"]
    report = judged(
        artifact(tmp_path / "s", STRONGEST),
        artifact(tmp_path / "c"),
        held_out(tmp_path / "l", rows),
    )
    reasons = {reason.code: reason.text for reason in report.reasons}
    assert reasons.keys() == {"utility.live", "calibration"}
    assert all(text.startswith("can't tell: ") for text in reasons.values())
