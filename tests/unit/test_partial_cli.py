from pathlib import Path

import msgspec
import pytest
from synthetic_rounds import write_tables
from typer.testing import CliRunner

from router_training.cli import app
from router_training.partial_report import PartialReport

QUICK = (
    "n_estimators = 5\nridges = [500.0]\nn_skills = 1\nmax_linear_steps = 10\nn_resamples = 20\n"
)


def test_a_folder_is_compared_in_a_table_and_a_file(tmp_path: Path) -> None:
    data = write_tables(tmp_path / "data", n=90, models=("cheap", "middle", "strong"))
    params, out = tmp_path / "params.toml", tmp_path / "partial.json"
    params.write_text(QUICK + "embedding_dim = 16\n")
    size = ["--rounds", "1,2", "--seeds", "1", "--max-models", "2", "--max-contexts", "80"]
    files = ["--data", str(data), "--params", str(params), "--out", str(out)]
    result = CliRunner().invoke(app, ["partial", *files, *size])
    assert result.exit_code == 0, result.output
    assert result.output.count("| biased |") == 2
    report = msgspec.json.decode(out.read_bytes())
    assert report["models"] == ["cheap", "strong"]
    assert report["n_contexts"] == 80
    assert set(report) == set(PartialReport.__struct_fields__)


@pytest.mark.parametrize("rounds", ["", "0", "1,x", "-3"])
def test_rounds_that_are_no_numbers_are_a_usage_error(tmp_path: Path, rounds: str) -> None:
    arguments = ["partial", "--data", str(tmp_path), f"--rounds={rounds}"]
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_an_unknown_logging_policy_is_a_usage_error(tmp_path: Path) -> None:
    arguments = ["partial", "--data", str(tmp_path), "--policies", "uniform,greedy"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "greedy" in result.output


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    arguments = ["partial", "--data", str(tmp_path / "none")]
    assert CliRunner().invoke(app, arguments).exit_code == 2
