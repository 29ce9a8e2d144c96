"""Drift on a real log: what is read, which part is compared, what is written."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from live_log import CATALOG, DAY, PRICES, START, card, live_rows
from log_samples import write_log
from typer.testing import CliRunner, Result

from router_data.bandit_log import log_with_policy
from router_data.logging_policy import LoggingPolicy
from router_data.simulator import simulate
from router_model.catalog import catalog_of
from router_model.errors import DatasetError
from router_model.features import SCHEMA
from router_model.pricing import expected_cost
from router_model.types import PriceCard, PriceTier
from router_training.cli import app
from router_training.drift_log import OLDER_SHARE, days_before, read_traffic, spans_of
from router_training.drift_run import look_at_drift
from router_training.registry import Registry, Version
from router_training.repricing import repriced


def state_with(folder: Path, made: list[dict[str, Any]]) -> Path:
    write_log(folder / "log", made)
    return folder


def test_a_log_is_read_in_order_of_time_with_what_was_predicted_and_observed(
    tmp_path: Path,
) -> None:
    made = live_rows(40)
    unusable = {**made[0], "decision_id": "bad", "propensity": None, "ts_ms": START + 7}
    traffic = read_traffic(state_with(tmp_path, [*made[::-1], unusable]), catalog=CATALOG)
    assert traffic.n == 40
    assert (np.diff(traffic.ts_ms) >= 0).all()
    assert traffic.feature_names == SCHEMA.names
    assert traffic.quarantined_ms.tolist() == [START + 7]
    assert len(set(traffic.session.tolist())) == 10
    small = traffic.model == "small"
    assert np.allclose(traffic.propensity, np.where(small, 0.6, 0.4))
    assert np.allclose(traffic.repriced_cost, traffic.expected_cost)
    assert set(traffic.catalog.tolist()) == {CATALOG.version}
    assert traffic.is_settled.all()


def test_repricing_is_the_formula_of_one_call() -> None:
    tier = PriceTier(above_input_tokens=1000, input=3.0, output=9.0, cache_read=0.3)
    price = PriceCard(input=2.0, output=6.0, cache_read=0.2, tiers=(tier,))
    catalog = catalog_of([card("m", price), card("unpriced", None)], as_of="2026-01-01")
    tokens, cached, output = (1000, 1001, 5000), (0, 500, 6000), (10.0, 20.0, 30.5)
    found = repriced(
        catalog, ["m"] * 3 + ["unpriced", "unknown"],
        input_tokens=np.array([*tokens, 1, 1], dtype=float),
        cached_tokens=np.array([*cached, 0, 0], dtype=float),
        output_tokens=np.array([*output, 1, 1], dtype=float),
    )  # fmt: skip
    assert found[:3].tolist() == pytest.approx(
        [
            expected_cost(price, input_tokens=i, cached_tokens=c, output_tokens=o)
            for i, c, o in zip(tokens, cached, output, strict=True)
        ]
    )
    assert np.isnan(found[3:]).all()


def test_the_window_begins_where_the_champions_training_ended(tmp_path: Path) -> None:
    traffic = read_traffic(state_with(tmp_path, live_rows(200)), catalog=CATALOG)
    cut = int(traffic.ts_ms[120])
    reference, window = spans_of(traffic, trained_until_ms=cut, since_ms=None)
    assert (reference.until_ms, window.since_ms) == (cut, cut)
    later, earlier = int(traffic.ts_ms[150]), int(traffic.ts_ms[60])
    reference, window = spans_of(traffic, trained_until_ms=cut, since_ms=later)
    assert (reference.until_ms, window.since_ms) == (cut, later)
    reference, window = spans_of(traffic, trained_until_ms=cut, since_ms=earlier)
    assert (reference.until_ms, window.since_ms) == (earlier, earlier)
    assert window.until_ms == traffic.ts_ms[-1] + 1


def test_without_a_known_training_the_older_part_is_the_reference(tmp_path: Path) -> None:
    traffic = read_traffic(state_with(tmp_path, live_rows(200)), catalog=CATALOG)
    for trained_until_ms in (None, START - DAY):
        reference, _ = spans_of(traffic, trained_until_ms=trained_until_ms, since_ms=None)
        assert reference.until_ms == traffic.ts_ms[int(200 * OLDER_SHARE)]
    assert days_before(traffic, 0.5) == traffic.ts_ms[-1] - DAY // 2


def test_a_window_without_decisions_is_an_error_that_names_the_times(tmp_path: Path) -> None:
    traffic = read_traffic(state_with(tmp_path, live_rows(40)), catalog=CATALOG)
    with pytest.raises(DatasetError, match=r"live decisions from 2025-06-15T.* on \(window\)"):
        spans_of(traffic, trained_until_ms=int(traffic.ts_ms[-1]) + 1, since_ms=None)


def test_a_simulated_log_has_features_of_its_own_and_no_alarm(tmp_path: Path) -> None:
    world = simulate(1500, seed=3)
    log_with_policy(world, tmp_path, policy=LoggingPolicy("epsilon-greedy", epsilon=0.4))
    report = look_at_drift(tmp_path, feature_schema="simulated")
    assert report.alarms == ()
    assert {shift.name for shift in report.drift.features} == {f"feature {i}" for i in range(4)}


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _no_tracking_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "ROUTER_STATE_DIR", "ROUTER_CATALOG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """An overlay with the models of the log."""
    path = tmp_path / "models.toml"
    text = [
        f'[models.{name}]\nprovider = "p"\ncontext_window = 100000\nmax_output_tokens = 1000\n'
        f"price = {{ input = {price.input}, output = {price.output} }}\n"
        for name, price in PRICES.items()
    ]
    path.write_text("".join(text))
    return path


def test_drift_exits_with_0_writes_its_files_and_shows_in_mlflow(
    tmp_path: Path, prices: Path
) -> None:
    state = state_with(tmp_path / "state", live_rows(400))
    result = call("drift", "--state", state, "--out", tmp_path / "d.json", "--catalog", prices)
    assert result.exit_code == 0, result.output
    assert "no alarm" in result.output
    found = msgspec.json.decode((state / "drift.json").read_bytes())
    assert (found["alarm"], found["n_window"]) == (False, 100)
    assert found["price_ratio"] == pytest.approx({"large": 1.0, "small": 1.0})
    assert (tmp_path / "d.json").read_bytes() == (state / "drift_report.json").read_bytes()
    client = Registry(state).client
    experiment = client.get_experiment_by_name("router")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'drift'")
    assert run.data.tags["alarm"] == "no"
    assert run.data.metrics["n_window"] == 100
    files = client.list_artifacts(run.info.run_id, "report")
    assert [file.path for file in files] == ["report/drift_report.json"]


def test_drift_exits_with_1_on_a_shifted_feature_and_on_a_price_change(
    tmp_path: Path, prices: Path
) -> None:
    made = live_rows(300) + live_rows(100, seed=1, start_ms=START + 4 * DAY, shift=6.0)
    state = state_with(tmp_path / "state", made)
    text = prices.read_text().replace("input = 10.0", "input = 20.0")
    prices.write_text(text)
    result = call("drift", "--state", state, "--catalog", prices, "--since", "2025-06-19")
    assert result.exit_code == 1, result.output
    assert f"alarm: feature {SCHEMA.names[0]}: PSI" in result.output
    assert "alarm: price of large: now 1.667 of the logged one" in result.output
    assert msgspec.json.decode((state / "drift.json").read_bytes())["n_alarms"] == 2
    loose = call(
        "drift", "--state", state, "--catalog", prices, "--days", "1", "--psi", "99", "--price", "2"
    )
    assert loose.exit_code == 0, loose.output


def test_the_champions_training_cut_is_read_from_its_tag(tmp_path: Path) -> None:
    state = state_with(tmp_path, live_rows(200))
    champion = Version(
        number="7", run_id="r", metrics={}, tags={"trained_until_ms": str(START + DAY)}
    )
    report = look_at_drift(state, champion=champion, catalog=CATALOG)
    assert report.champion == "7"
    assert report.window.since_ms == START + DAY


def test_wrong_usage_and_too_small_a_log_are_told_in_one_line(tmp_path: Path) -> None:
    assert call("drift", "--state", tmp_path, "--since", "yesterday").exit_code == 2
    assert call("drift", "--state", tmp_path, "--since", "2025-01-01", "--days", "1").exit_code == 2
    assert call("drift", "--state", tmp_path / "none").exit_code == 2
    result = call("drift", "--state", state_with(tmp_path / "few", live_rows(12)))
    assert result.exit_code == 1
    assert "expected at least 30" in result.output
    empty = call("drift", "--state", tmp_path)
    assert empty.exit_code == 1
    assert "Traceback" not in empty.output
