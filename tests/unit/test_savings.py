import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from log_samples import decision, outcome, write_log
from savings_samples import calls_of, paid_calls, with_draws
from scipy.stats import ttest_ind
from typer.testing import CliRunner

from router_data.agents import simulate_agents
from router_data.log import read_segment, segment_paths
from router_data.traffic import Kept, log_traffic, router_for
from router_model.artifact import STARTER
from router_model.catalog import Catalog, catalog_of
from router_model.errors import DatasetError
from router_model.types import ModelCard, PolicyOverrides, PriceCard
from router_training.cli import app
from router_training.savings import SavingsOptions, net_of, router_cost, savings_of
from router_training.savings_experiment import Experiment, compared, in_trial
from router_training.savings_log import PaidCalls, load_paid
from router_training.savings_report import SavingsReport, render

CANDIDATES = [
    {"model": "small", "p_adequate": 0.9, "probability": 0.5, "expected_cost": 0.03},
    {"model": "large", "p_adequate": 0.95, "probability": 0.5, "expected_cost": 0.05},
]


def catalog() -> Catalog:
    price = PriceCard(input=10.0, output=50.0, cache_read=1.0, cache_write=12.5)
    card = ModelCard(
        id="small",
        provider="p",
        snapshot="small",
        family="f",
        context_window=10**6,
        max_output_tokens=10**4,
        price=price,
    )
    return catalog_of([card], as_of="2026-01-01")


def live(decision_id: str = "d1", **changes: Any) -> dict[str, Any]:
    return decision(decision_id, schema=3, candidates=CANDIDATES, **changes)


def told(decision_id: str = "d1", **changes: Any) -> dict[str, Any]:
    return outcome(decision_id, schema=3, **{"adequate": True, "cost_usd": None, **changes})


def paid(state: Path, *rows: dict[str, Any], **options: Any) -> PaidCalls:
    write_log(state, rows)
    return load_paid(state, catalog=catalog(), **options)


def test_all_attempts_of_a_call_are_paid_for_and_the_last_one_tells_how_it_went(
    tmp_path: Path,
) -> None:
    calls = paid(
        tmp_path,
        live(),
        told(attempt=0, error="timeout", adequate=None, cost_usd=0.01),
        told(attempt=1, model="large", cost_usd=0.2),
    )
    assert calls.paid_usd.tolist() == pytest.approx([0.21])
    assert (calls.model.tolist(), calls.adequate.tolist()) == (["large"], [1.0])
    assert calls.is_billed.all()


def test_a_bill_without_a_cost_is_priced_from_its_tokens_caches_included(tmp_path: Path) -> None:
    usage = {
        "input_tokens": 10_000,
        "cached_tokens": 6_000,
        "cache_write_tokens": 3_000,
        "output_tokens": 100,
    }
    calls = paid(tmp_path, live(), told(usage=usage))
    expected = (1_000 * 10.0 + 6_000 * 1.0 + 3_000 * 12.5 + 100 * 50.0) / 1e6
    assert calls.paid_usd.tolist() == pytest.approx([expected])
    assert calls.is_billed.all()


def test_without_a_bill_the_expected_cost_stands_for_it(tmp_path: Path) -> None:
    calls = paid(tmp_path, live(), live("d2"), told("d2", error="refused", usage=None))
    by_id = dict(zip(calls.decision_id, calls.paid_usd, strict=True))
    assert by_id == {"d1": 0.03, "d2": 0.0}
    assert calls.is_billed[calls.decision_id == "d2"].all()
    assert not calls.is_billed[calls.decision_id == "d1"].any()
    assert np.isnan(calls.adequate[calls.decision_id == "d1"]).all()


def test_a_row_says_its_arm_and_imports_are_no_live_calls(tmp_path: Path) -> None:
    kept = live(
        "d2",
        policy="incumbent",
        feedback="observational",
        propensity=1.0,
        adoption={"arm": "incumbent", "share": 0.25},
        took_us=1_500,
    )
    imported = live("d3", feedback="observational", policy="unknown", dataset="gateway")
    other = live("d4", feedback="observational", policy="gateway")
    calls = paid(tmp_path, live(), kept, imported, other, *(told(f"d{i}") for i in range(1, 5)))
    assert calls.decision_id.tolist() == ["d1", "d2"]
    assert calls.is_routed.tolist() == [True, False]
    assert calls.share.tolist() == [1.0, 0.25]
    assert calls.took_us[1] == 1_500.0
    assert math.isnan(calls.took_us[0])
    assert calls.exploring_usd[0] == pytest.approx(0.5 * 0.03 + 0.5 * 0.05 - 0.03)


def test_sessions_that_began_before_are_left_out_whole(tmp_path: Path) -> None:
    rows = [live(), live("d2", ts_ms=3_000), live("d3", ts_ms=3_000, session="s2")]
    calls = paid(tmp_path, *rows, since_ms=2_000)
    assert calls.decision_id.tolist() == ["d3"]
    with pytest.raises(DatasetError, match=r"no live decision of tenant 'nobody'"):
        load_paid(tmp_path, catalog=catalog(), tenant="nobody")


def test_a_session_belongs_to_the_share_that_held_when_it_began() -> None:
    session = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4])
    share = np.array([0.5, 0.8, 0.5, 0.5, 0.5, 0.5, 0.0, 0.5, 0.5])
    routed = np.array([0, 1, 0, 0, 1, 1, 0, 0, 1], dtype=bool)
    trial = in_trial(calls_of(session, share=share, is_routed=routed))
    assert trial.session.tolist() == [0, 1, 1, 2, 2, 4]
    assert set(trial.share.tolist()) == {0.5}


def test_a_comparison_of_two_arms_by_hand() -> None:
    session = np.repeat(np.arange(40), 2)
    routed = (session % 2).astype(bool)
    cost = np.where(routed, 0.01, 0.03)
    adequate = np.where(routed & (session % 4 == 1), 0.0, 1.0)
    found = compared(calls_of(session, is_routed=routed, paid_usd=cost, adequate=adequate))
    assert isinstance(found, Experiment)
    assert found.usd_per_session.routed.estimate == pytest.approx(0.02)
    assert found.usd_per_session.kept.estimate == pytest.approx(0.06)
    assert found.usd_per_session.difference.estimate == pytest.approx(-0.04)
    assert found.usd_per_call.difference.estimate == pytest.approx(-0.02)
    assert found.calls_per_session.difference.estimate == 0.0
    assert found.saving_share.estimate == pytest.approx(2.0 / 3.0)
    assert found.adequate is not None
    assert found.adequate.difference.estimate == pytest.approx(-0.5)
    trial = calls_of(session, is_routed=routed)
    net = net_of(found, trial, router_usd=0.001)
    assert net.per_session_usd.estimate == pytest.approx(0.04 - 2 * 0.001)
    assert net.saved_usd.estimate == pytest.approx(20 * 0.038)
    assert net.if_full_usd.estimate == pytest.approx(40 * 0.038)
    assert net.usd_per_lost_answer == pytest.approx(0.04)
    assert net.per_30_days_usd is None


def test_an_interval_of_one_share_is_that_of_welch() -> None:
    calls = with_draws(3, n_sessions=80, share=0.4)
    found = compared(calls)
    assert isinstance(found, Experiment)
    sums = np.bincount(calls.session, weights=calls.paid_usd)
    arm = calls.is_routed[:: len(calls.session) // 80]
    interval = ttest_ind(sums[arm], sums[~arm], equal_var=False).confidence_interval(0.95)
    assert found.usd_per_session.difference.low == pytest.approx(interval.low, rel=1e-6)
    assert found.usd_per_session.difference.high == pytest.approx(interval.high, rel=1e-6)


def test_too_few_sessions_are_no_trial_and_too_few_labels_no_adequacy() -> None:
    few = with_draws(1, n_sessions=20, share=0.5)
    assert "sessions: got" in str(compared(few))
    assert "expected at least 20 of either" in str(compared(few))
    many = with_draws(1, n_sessions=80, share=0.5)
    unseen = calls_of(many.session, is_routed=many.is_routed, adequate=np.full(many.n, np.nan))
    found = compared(unseen)
    assert isinstance(found, Experiment)
    assert found.adequate is None
    assert isinstance(compared(paid_calls(many, few)), Experiment)


def test_the_routers_cost_is_what_was_measured() -> None:
    calls = calls_of(np.arange(3), took_us=np.array([1_000.0, 3_000.0, np.nan]))
    cost = router_cost(calls, core_hour_usd=0.09)
    assert (cost.mean_us, cost.n_measured) == (2_000.0, 2)
    assert cost.usd_per_decision == pytest.approx(2 * 2e-3 * 0.09 / 3_600)
    unknown = router_cost(calls_of(np.arange(2), took_us=np.full(2, np.nan)), core_hour_usd=0.09)
    assert (unknown.n_measured, unknown.usd_per_decision) == (0, 1e-7)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    world = simulate_agents(50, seed=2, reports="all")
    log_traffic(
        world, folder, router=router_for(world, STARTER), kept=Kept(0.5, world.models[-1], seed=4)
    )
    return folder


@pytest.fixture(scope="module")
def printed(simulated: Path) -> bytes:
    """What the command prints as JSON."""
    asked = ["savings", "--state", str(simulated), "--json", "--resamples", "50"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    return result.stdout.encode()


def test_a_report_is_printed_as_json(printed: bytes) -> None:
    report = msgspec.json.decode(printed)
    assert report["schema_version"] == 1
    assert report["missing"] == {}
    assert report["experiment"]["saving_share"]["low"] > 0.0
    measured, *_ = [one for one in report["references"]["fixed"] if one["how"] == "measured"]
    kept = report["experiment"]["usd_per_call"]["kept"]
    assert (measured["model"], measured["usd_per_call"]) == ("claude-opus-4-6", kept)


def test_an_estimate_corrects_the_cost_model_by_the_bills(printed: bytes) -> None:
    report = msgspec.json.decode(printed)
    estimate, kept = report["estimate"], report["arms"][1]
    assert estimate["paid_usd"] == pytest.approx(kept["paid_usd"])
    as_it_was = next(one for one in estimate["fixed"] if one["model"] == "claude-opus-4-6")
    assert as_it_was["usd_per_call"]["estimate"] == pytest.approx(kept["usd_per_call"])
    saved = estimate["paid_usd"] - estimate["estimated_usd"]["estimate"]
    assert estimate["saving_usd"]["estimate"] == pytest.approx(saved)
    net = saved - estimate["n_calls"] * report["router"]["usd_per_decision"]
    assert report["estimate_net_usd"]["estimate"] == pytest.approx(net)


def test_a_report_reads_as_text(printed: bytes) -> None:
    text = render(msgspec.json.decode(printed, type=SavingsReport))
    for said in ("net of the router", "ESTIMATE", "not measured", "fixed models", "core-hour"):
        assert said in text
    assert "note: exploration is in the bills" in text


# Off-policy costs were those that the router had expected, two or three times the bills.
def test_the_routers_only_model_costs_what_the_router_cost_where_usage_alone_is_known(
    tmp_path: Path,
) -> None:
    world = simulate_agents(50, seed=2, reports="all")
    cheap = world.models[0]
    log_traffic(
        world,
        tmp_path / "told",
        router=router_for(world, STARTER),
        overrides=PolicyOverrides(models=(cheap,)),
        kept=Kept(0.5, world.models[-1], seed=4),
    )
    rows = [row for path in segment_paths(tmp_path / "told" / "log") for row in read_segment(path)]
    priceless = [row | {"cost_usd": None} if "usage" in row else row for row in rows]
    write_log(tmp_path / "log", priceless)
    report = savings_of(tmp_path, options=SavingsOptions(n_resamples=50))
    assert report.experiment is not None
    assert report.references is not None
    (always,) = [one for one in report.references.fixed if one.model == cheap]
    routed = report.experiment.usd_per_call.routed.estimate
    assert always.how == "off-policy"
    assert always.usd_per_call.estimate == pytest.approx(routed, rel=0.01)


def test_an_uncertain_loss_of_answers_has_no_price() -> None:
    calls = with_draws(3, n_sessions=60, share=0.5)
    same = replace(calls, adequate=(np.arange(calls.n) % 5 > 0).astype(np.float64))
    found = compared(same)
    assert isinstance(found, Experiment)
    assert found.adequate is not None
    difference = found.adequate.difference
    assert difference.low < 0.0 < difference.high
    net = net_of(found, in_trial(same), 0.0)
    assert net.usd_per_lost_answer is None


def test_the_report_refuses_with_what_is_missing(tmp_path: Path) -> None:
    write_log(tmp_path, [live(), told(cost_usd=0.01)])
    result = CliRunner().invoke(app, ["savings", "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "too little to compare" in result.output
    assert "expected at least 20 of either" in result.output
    assert "got 0 that kept their own model" in result.output
    empty = CliRunner().invoke(app, ["savings", "--state", str(tmp_path / "nowhere")])
    assert empty.exit_code == 2
    bad = CliRunner().invoke(app, ["savings", "--state", str(tmp_path), "--since", "soon"])
    assert bad.exit_code == 2
    assert "--since: got 'soon'" in bad.output
