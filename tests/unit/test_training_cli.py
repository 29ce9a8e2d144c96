"""`router-train`: exit codes, one-line errors, and the whole way from a folder to an export."""

from pathlib import Path

import msgspec
import pytest
import routers
from signing_keys import key_pair
from synthetic_rounds import write_tables
from typer.testing import CliRunner, Result

from router_data.importer import import_tables
from router_model.artifact import verify
from router_model.encoder import StaticEncoder
from router_model.signature import check_signature
from router_training.cli import app
from router_training.registry import Registry
from router_training.rollout import RolloutFile, start

FAST = """
n_resamples = 50
n_folds = 2
n_inner_folds = 2
n_estimators = 20
ridges = [500.0]
embedding_dim = 16
"""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables, parameters and a state that holds their log."""
    root = tmp_path_factory.mktemp("cli")
    (root / "params.toml").write_text(FAST)
    encoder = StaticEncoder.from_sentence_transformer("wordllama", dimension=16)
    import_tables(
        write_tables(root / "data", n=90), root / "state", encoder=encoder, progress=False
    )
    return root


@pytest.fixture(autouse=True)
def _no_tracking_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("ROUTER_STATE_DIR", raising=False)


@pytest.mark.parametrize(
    "command",
    ["run", "evaluate", "promote", "export", "rollback", "gate", "drift", "rollout", "watch"],
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"Example: router-train {command}" in " ".join(result.output.split())


def test_evaluate_writes_a_report_a_table_and_plots(folder: Path, tmp_path: Path) -> None:
    result = call(
        "evaluate", "--data", folder / "data", "--out", tmp_path / "r.json",
        "--params", folder / "params.toml", "--plots", tmp_path / "plots",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    assert found["size"]["n"] == 90
    assert found["pair"]["strong"] == "strong"
    assert "always-best" in result.output
    assert len(list((tmp_path / "plots").glob("*.png"))) == 2


def test_evaluate_takes_groups_folds_and_a_part(folder: Path, tmp_path: Path) -> None:
    result = call(
        "evaluate", "--data", folder / "data", "--out", tmp_path / "r.json",
        "--params", folder / "params.toml", "--group-by", "task", "--folds", "0",
        "--max-contexts", "60",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    assert (found["size"]["n"], found["method"]["n_groups"]) == (60, 3)
    assert found["method"]["n_folds"] == 3


def test_evaluate_without_costs_says_so(folder: Path, tmp_path: Path) -> None:
    data = write_tables(tmp_path / "free", models=("cheap", "middle", "strong"), has_cost=False)
    result = call(
        "evaluate", "--data", data, "--out", tmp_path / "r.json",
        "--params", folder / "params.toml",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "cost results are impossible" in result.output


def test_train_promote_export_and_roll_back(folder: Path, tmp_path: Path) -> None:
    state, params = folder / "state", folder / "params.toml"
    for n in (1, 2):
        result = call("run", "--state", state, "--params", params)
        assert result.exit_code == 0, result.output
        assert f"challenger: version {n}" in result.output
        assert "90 of them with an outcome" in result.output
        assert "ok  artifact: " in result.output
        result = call("promote", "--state", state, "--force")
        assert result.exit_code == 0, result.output
        assert f"champion: version {n}" in result.output
        verify(state / "artifact")
    result = call("gate", "--state", state, "--params", params)
    assert result.exit_code == 1
    assert "challenger: no version has this alias" in result.output
    result = call("rollback", "--state", state)
    assert result.exit_code == 0, result.output
    assert "champion: version 1 (rolled back)" in result.output
    result = call("export", "--state", state, "--alias", "previous", "--dest", tmp_path / "old")
    assert result.exit_code == 0, result.output
    assert "version 2" in result.output
    verify(tmp_path / "old")
    _sign_what_is_exported(state, tmp_path)
    result = call(
        "evaluate", "--data", folder / "data", "--out", tmp_path / "r.json",
        "--params", params, "--artifact", state / "artifact",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "may have been trained on this data" in result.output


def _sign_what_is_exported(state: Path, keys: Path) -> None:
    private, public = key_pair(keys)
    result = call("export", "--state", state, "--sign-key", private)
    assert result.exit_code == 0, result.output
    check_signature(state / "artifact", public)
    before = (state / "artifact").resolve()
    result = call("export", "--state", state, "--sign-key", public)
    assert result.exit_code == 1
    assert "expected an Ed25519 private key" in result.output
    assert (state / "artifact").resolve() == before


def test_an_empty_log_is_one_line_and_a_failed_check(tmp_path: Path) -> None:
    result = call("run", "--state", tmp_path)
    assert result.exit_code == 1
    assert "no decision to learn from" in result.output
    ways = ("POST /outcomes", "router-data import DIR", "router-data import --format FORMAT FILE")
    for way in ways:
        assert way in result.output
    assert "Traceback" not in result.output


def test_a_missing_folder_is_wrong_usage(tmp_path: Path) -> None:
    for arguments in (
        ("run", "--state", tmp_path / "none"),
        ("rollback", "--state", tmp_path / "none"),  # made the folder
        ("export", "--state", tmp_path / "none"),
        ("evaluate", "--data", tmp_path / "none"),
        ("evaluate", "--data", tmp_path, "--artifact", tmp_path / "none"),
    ):
        result = call(*arguments)
        assert result.exit_code == 2
        assert "expected an existing folder" in " ".join(result.output.replace("│", "").split())


def test_a_folder_without_tables_is_a_failed_check_that_names_the_file(tmp_path: Path) -> None:
    result = call("evaluate", "--data", tmp_path, "--out", tmp_path / "r.json")
    assert result.exit_code == 1
    assert "requests.parquet" in result.output


def test_one_model_is_a_failed_check(folder: Path, tmp_path: Path) -> None:
    data = write_tables(tmp_path / "one", models=("cheap",))
    result = call(
        "evaluate", "--data", data, "--out", tmp_path / "r.json",
        "--params", folder / "params.toml",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "at least 2 models" in result.output


def test_too_small_a_log_is_a_failed_check(folder: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.toml"
    params.write_text(FAST + "min_contexts = 1000\n")
    result = call("run", "--state", folder / "state", "--params", params)
    assert result.exit_code == 1
    assert "got 90 decisions with outcomes, expected at least 1000" in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [("folds = 3", "unknown key 'folds'"), ("n_folds = 1", "n_folds: got 1")],
)
def test_wrong_parameters_are_wrong_usage(tmp_path: Path, text: str, message: str) -> None:
    params = tmp_path / "params.toml"
    params.write_text(text)
    result = call("evaluate", "--data", tmp_path, "--params", params)
    assert result.exit_code == 2
    assert message in result.output


def test_one_fold_and_an_unknown_alias_are_wrong_usage(tmp_path: Path) -> None:
    assert call("evaluate", "--data", tmp_path, "--folds", "1").exit_code == 2
    result = call("export", "--state", tmp_path, "--alias", "best")
    assert result.exit_code == 2
    assert "champion" in result.output


def test_promote_refuses_what_the_gate_objects_to_with_every_reason(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    artifact = tmp_path / "made"
    routers.write_artifact(artifact)
    verdict = "utility.live: worse by 0.1\ntenant.live: acme"
    registry.register(artifact, params={}, metrics={}, tags={"gate": verdict})
    result = call("promote", "--state", tmp_path)
    assert result.exit_code == 1
    assert "gate: utility.live: worse by 0.1\ngate: tenant.live: acme\n" in result.output
    assert registry.find("champion") is None
    result = call("gate", "--state", tmp_path)
    assert result.exit_code == 1
    assert "kept no held_out.json" in result.output
    start(RolloutFile(mode="canary", share=0.5), tmp_path, registry)
    result = call("promote", "--state", tmp_path, "--force")
    assert result.exit_code == 0, result.output
    champion = registry.get("champion")
    assert (champion.tags["rollout"], champion.tags["rollout_reason"]) == ("off", "promoted")


@pytest.mark.parametrize("command", ["promote", "export", "rollback"])
def test_nothing_registered_is_a_failed_check_that_says_what_to_do(
    command: str, tmp_path: Path
) -> None:
    result = call(command, "--state", tmp_path)
    assert result.exit_code == 1
    assert "no version has this alias" in result.output
    assert "router-train" in result.output
