from pathlib import Path

import msgspec
import numpy as np
import pytest
from recorded_samples import call, model, prepared, session, write_recording
from typer.testing import CliRunner

from router_model.cards import PriceCard
from router_training.cli import app
from router_training.intervals import Resampling
from router_training.session_economy import cross_fitted, economics_of
from router_training.session_figures import difference_of, figures_of, session_sums
from router_training.session_policies import fixed, greedy
from router_training.session_replay import play
from router_training.session_replay_report import SessionReplayReport

CHEAP, DEAR = PriceCard(input=1.0, output=0.0), PriceCard(input=3.0, output=0.0)


def test_figures_are_sums_over_calls_with_intervals_over_sessions() -> None:
    cards = [model("cheap", CHEAP), model("dear", DEAR)]
    sessions = [session([call(500), call(500)], name=f"s{n}") for n in range(4)]
    replayed = prepared(sessions, cards, [[[0.5, 1.0]] * 2] * 4, failure_cost_usd=0.01)
    cheap, dear = play(replayed, fixed(0)), play(replayed, fixed(1))
    sums, others = session_sums(cheap, decision_cost_usd=1e-4), session_sums(dear)
    resampling = Resampling(n_resamples=50)
    found = figures_of("cheap", cheap, sums, ("cheap", "dear"), resampling)
    assert found.bill_usd.estimate == pytest.approx(8 * 500e-6 + 8e-4)
    assert found.bill_usd.low == pytest.approx(found.bill_usd.high)
    assert found.total_usd.estimate == pytest.approx(found.bill_usd.estimate + 8 * 0.5 * 0.01)
    assert found.p_adequate.estimate == 0.5
    assert found.shares == {"cheap": 1.0}
    change = difference_of("cheap", "dear", sums, others, resampling)
    assert change.bill_usd.estimate == pytest.approx(8 * 500e-6 + 8e-4 - 8 * 1500e-6)
    assert change.bill_share.estimate == pytest.approx(0.6 / 1.5 - 1)


def test_what_is_learned_of_sessions_is_what_they_show() -> None:
    sessions = [session([call(1_000 + 100 * t) for t in range(5)], name=f"s{n}") for n in range(90)]
    learned = economics_of(sessions)
    first = learned.horizons["main"][0]
    assert first.n == 90
    assert 4.0 < first.turns < 8.0  # 4 calls follow; the prior says more, and counts as 10
    assert learned.growth_tokens == 100.0
    assert learned.p_within(10.0) == 1.0
    learned.check()


def test_no_session_teaches_the_policy_it_is_replayed_with() -> None:
    cards = [model("cheap", CHEAP), model("dear", DEAR)]
    sessions = [session([call(500)] * (2 + n % 3), name=f"s{n // 2}") for n in range(12)]
    p = [[[0.5, 1.0]] * len(one.calls) for one in sessions]
    policies = cross_fitted(prepared(sessions, cards, p), seed=1)
    assert len({id(policy) for policy in policies}) == 2
    assert all(policies[n] is policies[n + 1] for n in range(0, 12, 2))  # tasks stay together


def test_nothing_is_cached_without_a_cache_price() -> None:
    cards = [model("cheap", CHEAP), model("dear", DEAR)]
    replayed = prepared([session([call(5_000)] * 2)], cards, [[[0.9, 0.9]] * 2], min_adequacy=0.5)
    assert np.array_equal(play(replayed, greedy).cost_microusd, [5_000, 5_000])


@pytest.mark.parametrize("strengths", ["predicted", "recorded", "differ"])
def test_a_folder_becomes_a_table_and_a_file(tmp_path: Path, strengths: str) -> None:
    data, out = write_recording(tmp_path / "data"), tmp_path / "sub" / "replay.json"
    arguments = ["replay", "--data", str(data), "--min-adequacy", "0.6", "--out", str(out)]
    if strengths == "predicted":
        arguments += ["--models", "gpt-5.4,glm-5"]
    result = CliRunner().invoke(app, [*arguments, "--strengths", strengths, "--sessions", "5"])
    assert result.exit_code == 0, result.output
    report = msgspec.json.decode(out.read_bytes(), type=SessionReplayReport)
    assert (report.n_sessions, report.n_calls) == (5, 20)
    assert report.terms.compared == "bill"
    for name in ("always best", "sticky", "greedy", "greedy with caches", "router"):
        assert name in result.output
        assert report.policy(name).bill_usd.estimate > 0
    assert [goal.n_unsafe_switches for goal in report.goals] == [0] * 4


@pytest.mark.parametrize(("more", "compared"), [((), "bill"), (("--total-cost",), "total cost")])
def test_bills_compare_under_a_threshold_and_total_costs_under_the_own_rule(
    tmp_path: Path, more: tuple[str, ...], compared: str
) -> None:
    data, out = write_recording(tmp_path / "data"), tmp_path / "replay.json"
    arguments = ["replay", "--data", str(data), "--out", str(out), *more]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    report = msgspec.json.decode(out.read_bytes(), type=SessionReplayReport)
    assert report.terms.compared == compared


@pytest.mark.parametrize(
    "arguments",
    [
        ["--strengths", "none"],
        ["--artifact", "/nowhere"],
        ["--min-adequacy", "1.5"],
        ["--sessions", "0"],
    ],
)
def test_wrong_usage_has_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    data = write_recording(tmp_path / "data", n_sessions=1)
    result = CliRunner().invoke(app, ["replay", "--data", str(data), *arguments])
    assert result.exit_code == 2, result.output


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["replay", "--data", str(tmp_path / "none")])
    assert result.exit_code == 2


@pytest.mark.parametrize("models", ["gpt-5.4,nothing", ""])
def test_unknown_models_are_named_in_one_line(tmp_path: Path, models: str) -> None:
    data = write_recording(tmp_path / "data", n_sessions=1)
    result = CliRunner().invoke(app, ["replay", "--data", str(data), "--models", models])
    assert result.exit_code == 1
    said = [line for line in result.stderr.splitlines() if "sessions:" not in line]  # the bar
    assert len(said) == 1
    assert "not among those with a price" in said[0]


def test_a_folder_without_steps_is_an_error_in_one_line(tmp_path: Path) -> None:
    data = write_recording(tmp_path / "data", n_sessions=2)
    (data / "steps.parquet").unlink()
    result = CliRunner().invoke(app, ["replay", "--data", str(data)])
    assert result.exit_code == 1
    assert "no session in steps*.parquet" in result.stderr
