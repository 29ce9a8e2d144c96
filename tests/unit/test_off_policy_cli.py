"""`router-train evaluate --from-log`, from a log on disk to the report."""

from pathlib import Path

import msgspec
import pytest
from live_log import live_rows
from log_samples import HashEncoder, write_log
from typer.testing import CliRunner, Result

from router_data.importer import import_tables
from router_data.logging_policy import LoggingPolicy
from router_data.simulator import simulate
from router_training.cli import app

WORLD = simulate(1_200, n_models=3, seed=2)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which every model was as likely, with one decision whose propensity is lost."""
    root = tmp_path_factory.mktemp("off_policy")
    WORLD.write_tables(root / "data")
    import_tables(
        root / "data",
        root / "state",
        encoder=HashEncoder(),
        policy=LoggingPolicy("uniform"),
        progress=False,
    )
    (root / "fixed.toml").write_text('policy = "fixed"\nmodel = "model-01"\n')
    (root / "mine.py").write_text("def policy(decision):\n    return max(decision.candidates)\n")
    (root / "params.toml").write_text("n_resamples = 50\n")
    return root / "state"


@pytest.fixture(autouse=True)
def _no_state_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTER_STATE_DIR", raising=False)


def evaluate(state: Path, tmp_path: Path, *more: str | Path) -> Result:
    return call(
        "evaluate", "--from-log", "--state", state, "--out", tmp_path / "r.json",
        "--params", state.parent / "params.toml", *more,
    )  # fmt: skip


def test_a_fixed_model_is_estimated_from_the_log(state: Path, tmp_path: Path) -> None:
    policy, plots = state.parent / "fixed.toml", tmp_path / "plots"
    result = evaluate(state, tmp_path, "--policy", policy, "--plots", plots)
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    estimate = found["outcomes"]["adequate"]["target"]["dr"]
    assert estimate["low"] <= WORLD.adequate[:, 1].mean() <= estimate["high"]
    assert found["policy"] == "always model-01"
    assert "skipped: 0" in result.output
    assert len(list(plots.iterdir())) == 2


def test_a_python_policy_and_the_dollars_can_be_given(state: Path, tmp_path: Path) -> None:
    result = evaluate(
        state, tmp_path, "--policy", state.parent / "mine.py",
        "--failure-cost", "2", "--router-cost", "0.001", "--tenant", "import",
        "--since", "2020-01-01",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    assert found["terms"]["failure_cost_usd"] == 2
    assert found["terms"]["router_cost_usd"] == 0.001
    assert found["policy"] == "mine"


def test_a_policy_can_be_kept_within_what_the_log_supports(state: Path, tmp_path: Path) -> None:
    result = evaluate(state, tmp_path, "--policy", state.parent / "fixed.toml", "--within-support")
    assert result.exit_code == 0, result.output
    assert "always model-01, within the log's support: n 1200" in result.output


def test_refusal_is_an_exit_code_of_one_and_says_what_to_explore(
    state: Path, tmp_path: Path
) -> None:
    result = evaluate(
        state, tmp_path, "--policy", state.parent / "fixed.toml",
        "--min-effective-sample-size", "100000",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "error: effective sample size: got" in result.output
    assert not (tmp_path / "r.json").exists()


def test_quarantined_rows_are_counted_by_reason(tmp_path: Path) -> None:
    rows = live_rows(800)
    lost = rows[0] | {"decision_id": "lost", "propensity": None}
    write_log(tmp_path / "state" / "log", [*rows, lost])
    (tmp_path / "params.toml").write_text("n_resamples = 50\n")
    (tmp_path / "policy.toml").write_text('policy = "cheapest_adequate"\nmin_adequacy = 0.6\n')
    result = evaluate(tmp_path / "state", tmp_path, "--policy", tmp_path / "policy.toml")
    assert result.exit_code == 0, result.output
    assert "1  decision: propensity missing" in result.output
    assert msgspec.json.decode((tmp_path / "r.json").read_bytes())["n"] == 800


def test_the_exported_artifact_is_evaluated_when_no_policy_is_given(
    state: Path, tmp_path: Path
) -> None:
    result = evaluate(state, tmp_path)
    assert result.exit_code == 2
    assert "there is no artifact at" in " ".join(result.output.split())
    starter = Path(__file__).parents[2] / "router_model" / "starter"
    other = evaluate(state, tmp_path, "--artifact", starter)
    assert other.exit_code == 1
    assert "encoder: got" in other.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "got neither"),
        (("--data", "x", "--from-log"), "got both"),
        (("--data", "x", "--policy", "p.toml"), "--policy: has no meaning with --data"),
        (("--data", "x", "--since", "2026-01-01"), "--since: has no meaning with --data"),
        (("--from-log", "--group-by", "task"), "--group-by: has no meaning with --from-log"),
        (("--from-log", "--since", "soon"), "--since: got 'soon', expected an ISO date"),
        (("--from-log", "--state", "none"), "--state: got none"),
        (("--from-log", "--policy", "p", "--artifact", "a"), "--policy and --artifact: got both"),
    ],
)
def test_wrong_usage_is_an_exit_code_of_two(arguments: tuple[str, ...], message: str) -> None:
    result = call("evaluate", *arguments)
    assert result.exit_code == 2, result.output
    text = " ".join(result.output.replace("│", " ").split())
    assert message in text


# A report that can't be written was a traceback.
def test_a_file_that_cannot_be_written_is_one_line(state: Path, tmp_path: Path) -> None:
    result = evaluate(state, tmp_path, "--policy", state.parent / "fixed.toml", "--out", state)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert f"error: [Errno 21] Is a directory: '{state}'" in result.output


# An empty log said only that it was empty, a full one that it was.
def test_a_log_without_the_asked_decisions_says_what_to_do(state: Path, tmp_path: Path) -> None:
    policy = ("--policy", state.parent / "fixed.toml")
    (tmp_path / "new").mkdir()
    (tmp_path / "params.toml").touch()
    empty = evaluate(tmp_path / "new", tmp_path, *policy).output
    assert "router-data import --format FORMAT FILE" in empty
    nobody = evaluate(state, tmp_path, *policy, "--tenant", "nobody")
    assert "no decision with a known propensity: none of tenant 'nobody'" in nobody.output
    later = evaluate(state, tmp_path, *policy, "--since", "2090-01-01")
    assert "none made from 2090-01-01T00:00:00+00:00 on" in later.output


def test_a_policy_file_that_cannot_be_used_is_one_line(state: Path, tmp_path: Path) -> None:
    result = evaluate(state, tmp_path, "--policy", tmp_path / "none.toml")
    assert result.exit_code == 1
    assert "no such file" in result.output
    assert "Traceback" not in result.output
