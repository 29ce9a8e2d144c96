"""The gate between challenger and champion, check by check and as a whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import routers
from hypothesis import given
from hypothesis import strategies as st
from live_log import COSTS, live_rows
from log_samples import write_log

from router_data.rewards import DEFAULT_RULE
from router_model.artifact import read_manifest
from router_model.contract import Certified, Contracts, write_contracts
from router_model.embedding import N_MATCH
from router_model.errors import DatasetError
from router_model.policy import CheapestAdequate
from router_model.types import Candidate
from router_training.artifact_probe import probe
from router_training.artifacts import load_artifact
from router_training.certification import Sample
from router_training.gate import Finding, GateReport, Limits, gate_metrics, render_gate
from router_training.gate_checks import check_contracts, check_gain, check_slices
from router_training.gate_gain import Gain, choices
from router_training.gate_run import check_artifact, check_latency, judge
from router_training.held_out import HeldOut, HeldOutKeys, load_held_out, read_keys, write_keys
from router_training.intervals import Resampling

RESAMPLING = Resampling(n_resamples=100)
NEVER_SEEN = HeldOutKeys(seen_until_ms=0, keys=())
CHEAPEST: Mapping[str, float | int] = {"min_adequacy": 1e-6}
STRONGEST: Mapping[str, float | int] = {"min_adequacy": 1.0}
BAD_SMALL = {"small": 0.3, "large": 0.95}


def artifact(folder: Path, policy: Mapping[str, float | int] = CHEAPEST) -> Path:
    """An artifact that always takes the cheapest model, or the one of highest p."""
    routers.write_artifact(folder)
    (folder / "MODEL_CARD.md").write_text("# Model card\n")
    write_contracts([], folder)
    routers.seal(folder, policy=dict(policy))
    return folder


def gain(values: Any, *, is_live: bool = True, **changes: Any) -> Gain:
    terms = np.asarray(values, dtype=np.float64)
    n = len(terms)
    columns: dict[str, Any] = {
        "failure_usd": np.full(n, 0.25),
        "groups": np.arange(n),
        "tenant": np.array(["acme"] * n, dtype=object),
        "step_type": np.array(["main"] * n, dtype=object),
    }
    return Gain(source="live", is_live=is_live, gain_usd=terms, **(columns | changes))


def held_out(folder: Path, rows: list[dict[str, Any]]) -> HeldOut:
    write_log(folder / "log", rows)
    return load_held_out(folder, NEVER_SEEN, rule=DEFAULT_RULE, encoder=routers.encoder().hash)


def explored(n: int = 600, **changes: Any) -> list[dict[str, Any]]:
    return live_rows(
        n,
        p_small=0.5,
        n_dimensions=routers.N_DIMENSIONS + N_MATCH,
        encoder=routers.encoder().hash,
        **changes,
    )


# ---- what is gained


def test_no_loss_within_the_margin_is_shown_by_the_lower_end() -> None:
    rng = np.random.default_rng(0)
    found = check_gain(
        gain(rng.normal(0.0, 0.01, 1000)), Limits(), resampling=RESAMPLING, is_deciding=True
    )
    # the margin is 0.02 x 0.25
    assert found.is_ok
    assert found.figures["margin"] == pytest.approx(0.005)
    half = found.figures["estimate"] - found.figures["low"]
    assert half == pytest.approx(1.96 * 0.01 / np.sqrt(1000), rel=0.1)


@pytest.mark.parametrize(
    ("mean", "spread", "is_deciding", "is_ok", "text"),
    [
        (-0.1, 0.01, True, False, "worse by more than the margin of 0.005"),
        (0.0, 1.0, True, False, "can't tell whether the loss is within"),
        (0.0, 1.0, False, True, "can't tell"),
        (-0.1, 0.01, False, False, "worse by more"),
    ],
)
def test_what_cannot_be_shown_counts_against_it_where_it_decides(
    mean: float, spread: float, is_deciding: bool, is_ok: bool, text: str
) -> None:
    values = mean + spread * np.random.default_rng(1).normal(size=200)
    found = check_gain(gain(values), Limits(), resampling=RESAMPLING, is_deciding=is_deciding)
    assert found.is_ok is is_ok
    assert text in found.text


def test_a_tenant_that_surely_loses_is_named_and_small_ones_are_left() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.02, 0.01, 400), rng.normal(-0.05, 0.01, 200), [-9.0]])
    tenant = np.array(["acme"] * 400 + ["beta"] * 200 + ["tiny"], dtype=object)
    by_tenant, by_step = check_slices(gain(values, tenant=tenant), Limits())
    assert not by_tenant.is_ok
    assert "beta -0.049949" in by_tenant.text
    assert "acme" not in by_tenant.text
    assert by_tenant.figures["n_slices"] == 2
    assert by_tenant.figures["beta.high"] < -0.005
    assert by_step.is_ok


@given(
    st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(1e-4, 0.2)), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.sampled_from([0.001, 0.25]),
)
def test_choices_are_those_of_the_served_policy(
    options: list[tuple[float, float]], threshold: float, failure: float
) -> None:
    policy = CheapestAdequate(min_adequacy=threshold, failure_cost_usd=failure)
    candidates = [
        Candidate(
            model=f"m{i}", p_adequate=p, expected_cost=c, input_tokens=1, cached_tokens=0,
            output_tokens=1.0, tool_call_latency_ms=1.0,
        )
        for i, (p, c) in enumerate(options)
    ]  # fmt: skip
    served = policy.choose(candidates).ranked[0]
    p, cost = (np.array([[option[i] for option in options]]) for i in (0, 1))
    found = candidates[int(choices(policy, p, cost, failure_usd=np.array([failure]))[0])]
    if threshold:
        assert (found.p_adequate >= threshold) == (served.p_adequate >= threshold)
        key = "expected_cost" if served.p_adequate >= threshold else "p_adequate"
        assert getattr(found, key) == getattr(served, key)
    else:
        totals = [c.expected_cost + (1 - c.p_adequate) * failure for c in (found, served)]
        assert totals[0] == pytest.approx(totals[1])


# ---- promises


def sample(n: int, rate: float) -> Sample:
    """Requests with both outcomes: the cheap model is adequate with probability 1 - rate."""
    rng = np.random.default_rng(0)
    return Sample(
        tenant=np.array(["acme"] * n, dtype=object),
        group=np.array([f"g{i}" for i in range(n)], dtype=object),
        p=np.tile([0.9, 0.95], (n, 1)),
        cost=np.tile([1.0, 9.0], (n, 1)),
        adequate=np.column_stack([rng.random(n) >= rate, np.ones(n)]).astype(np.float64),
        propensity=np.ones((n, 2)),
        action=np.zeros(n, dtype=np.int64),
    )


def promise(tenant: str = "*", min_adequacy: float | None = 0.8) -> Contracts:
    return Contracts.of(
        [
            Certified(
                tenant=tenant, alpha=0.05, delta=0.1, min_adequacy=min_adequacy,
                n=100, n_downgraded=50, bound=None if min_adequacy is None else 0.04,
            )
        ]
    )  # fmt: skip


def test_a_promise_is_kept_when_its_upper_bound_is_below_alpha() -> None:
    (found,) = check_contracts(promise(), sample(45, 0.0))
    assert found.is_ok
    # Clopper-Pearson: none of 45 is at most 1 - 0.1 ** (1 / 45)
    assert found.figures["bound"] == pytest.approx(1 - 0.1 ** (1 / 45), abs=1e-4)
    assert found.figures["n_downgraded"] == 45


def test_a_promise_that_is_broken_or_cannot_be_shown_counts_against_it() -> None:
    for rows in (sample(300, 0.2), sample(30, 0.0)):
        (found,) = check_contracts(promise(), rows)
        assert not found.is_ok
        assert found.text.startswith("not shown to be kept")
    (found,) = check_contracts(promise(), None)
    assert found.text.startswith("can't tell")


def test_where_nothing_is_promised_or_downgraded_nothing_is_broken() -> None:
    assert check_contracts(Contracts({}), None)[0].is_ok
    assert check_contracts(promise(min_adequacy=None), None)[0].is_ok
    strict = check_contracts(promise(min_adequacy=0.99), sample(40, 1.0))
    assert (strict[0].is_ok, strict[0].text) == (True, "nothing is downgraded")
    (own,) = check_contracts(promise(tenant="acme"), sample(60, 0.0))
    assert own.code == "contract.acme.0.05"


# ---- the artifact


def test_an_artifact_that_loads_as_in_the_service_passes(tmp_path: Path) -> None:
    found = check_artifact(artifact(tmp_path))
    assert found.is_ok, found.text
    assert found.figures["median_us"] > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [("trees.txt", "altered"), ("MODEL_CARD.md", "MODEL_CARD"), ("contracts.json", "contracts")],
)
def test_an_altered_or_incomplete_artifact_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    artifact(tmp_path)
    if name == "trees.txt":
        (tmp_path / name).write_text("tree")
    else:
        (tmp_path / name).unlink()
        routers.seal(tmp_path)
    found = check_artifact(tmp_path)
    assert not found.is_ok
    assert message in found.text


def test_goldens_that_do_not_come_out_again_are_refused_in_a_process_of_its_own(
    tmp_path: Path,
) -> None:
    artifact(tmp_path)
    path = tmp_path / "golden.json"
    text = path.read_text()
    start = text.index('"p_adequate"')
    path.write_text(text[:start] + text[start:].replace("0.", "0.1", 1))
    routers.seal(tmp_path)
    found = check_artifact(tmp_path)
    assert not found.is_ok
    assert "p_adequate" in found.text


def test_latency_is_compared_in_one_process(tmp_path: Path) -> None:
    ours, theirs = artifact(tmp_path / "a"), artifact(tmp_path / "b")
    timings = probe(ours, theirs)
    assert len(timings) == 2
    assert all(t.p95_us >= t.median_us > 0 for t in timings)
    assert check_latency(ours, theirs, Limits(max_latency_ratio=5.0)).is_ok
    strict = check_latency(ours, theirs, Limits(max_latency_ratio=0.01))
    assert not strict.is_ok
    assert "at most 0.01 is allowed" in strict.text


# ---- the whole


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
