"""Forecasts of recorded calls whose cache is known, and how their tables are read."""

from pathlib import Path

import pytest
from recorded_calls import BLOCK, P_HIT, RATIO, write_recording
from typer.testing import CliRunner

from router_data.store import write_parquet
from router_model.errors import DatasetError
from router_training.cache_walk import walk
from router_training.cli import app
from router_training.cost_forecast import forecast_folder
from router_training.intervals import Resampling
from router_training.recorded_bills import read_bills

FEW = Resampling(n_resamples=50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("bills"))


def test_prices_and_frames_are_read_from_the_bills_and_requests(folder: Path) -> None:
    (group,) = read_bills(folder)
    assert (group.model, group.unit, group.n_calls) == ("m", "USD", 60 * 25)
    assert group.price.input == pytest.approx(2.0)
    assert group.price.cache_read == pytest.approx(0.2)
    assert group.price.output == pytest.approx(12.0)
    call = group.sessions["s0"][0]
    assert call.usage.input_tokens == pytest.approx(RATIO * call.estimated_tokens, abs=1)


def test_cached_tokens_beside_the_input_are_counted_in(tmp_path: Path, folder: Path) -> None:
    (beside,) = read_bills(write_recording(tmp_path, beside=True))
    (within,) = read_bills(folder)
    assert beside.sessions == within.sessions


def test_what_a_session_knew_before_a_call_has_nothing_of_the_call(folder: Path) -> None:
    calls = next(iter(read_bills(folder)[0].sessions.values()))
    whole = walk(calls, knows_endpoint=True, block=BLOCK)
    for number in range(1, len(calls)):
        before = walk(calls[:number], knows_endpoint=True, block=BLOCK)
        assert before == whole[:number]
    assert whole[0].prefix is None
    assert whole[0].before is None


def test_the_known_cache_is_learned_and_its_costs_are_forecast(folder: Path) -> None:
    known, unknown = forecast_folder(folder, resampling=FEW)
    assert (known.endpoints, unknown.endpoints) == ("known", "unknown")
    for learned in known.learned:
        assert learned.block_tokens == BLOCK
        assert learned.facts.p_hit == pytest.approx(P_HIT, abs=0.03)
        assert learned.token_ratio == pytest.approx(RATIO, rel=0.01)
    assert known.likely_error.estimate < 0.01
    assert known.expected_bias.low < 0.0 < known.expected_bias.high
    assert known.likely_bias.high < -0.1  # a miss costs more than a hit saves: median, not mean
    assert unknown.learned[0].facts.p_hit < known.learned[0].facts.p_hit
    assert abs(unknown.expected_bias.estimate) < 0.03


def test_a_folder_without_usages_is_an_error_in_one_line(tmp_path: Path) -> None:
    write_parquet(tmp_path / "requests.parquet", [{"request_id": "r", "messages": "[]"}])
    with pytest.raises(DatasetError, match="no call with input tokens"):
        read_bills(tmp_path)
    rows = [{"request_id": "r", "model": "m", "prefix_chars": 10, "step": 0}]
    write_parquet(tmp_path / "steps.parquet", rows)
    result = CliRunner().invoke(app, ["forecast", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "error:" in result.output


def test_a_table_without_prefixes_is_an_error(tmp_path: Path) -> None:
    write_parquet(tmp_path / "requests.parquet", [{"request_id": "r", "messages": "[]"}])
    write_parquet(tmp_path / "steps.parquet", [{"request_id": "r", "model": "m", "step": 0}])
    with pytest.raises(DatasetError, match="no column prefix_chars"):
        read_bills(tmp_path)


def test_the_command_prints_a_table_and_writes_its_figures(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "forecast.json"
    arguments = ["forecast", "--data", str(folder), "--out", str(out), "--resamples", "20"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "expected: bias" in result.output
    assert out.is_file()


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(app, ["forecast", "--help"])
    assert "Example: router-train forecast" in " ".join(result.output.split())
