from pathlib import Path

import numpy as np
import pytest
from log_samples import decision, outcome, write_log, write_tables
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from typer.testing import CliRunner

from router_data.cli import app
from router_data.dataset import load_rounds
from router_data.log import segment_paths
from router_data.manifest import read_manifest
from router_data.simulator import simulate
from router_data.store import parquet_types
from router_data.summary import summarize
from router_model.embedding import N_MATCH
from router_model.encoder import StaticEncoder

COMMANDS = (
    *("import", "compact", "verify", "stats", "export", "replay"),
    *("repair", "retain", "snapshot"),
)


def run(*arguments: object) -> tuple[int, str]:
    """The exit code, and what was printed to both streams."""
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return answer.exit_code, answer.output


@pytest.fixture
def state(tmp_path: Path) -> Path:
    rows = [decision(), outcome(), decision("d2"), outcome("d2", adequate=False), outcome("lost")]
    write_log(tmp_path / "var" / "log", rows)
    return tmp_path / "var"


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(WordLevel({"please": 0, "edit": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    table = np.arange(12, dtype=np.int8).reshape(3, 4)
    scale = np.ones(4, dtype=np.float32)
    (tmp_path / "encoder").mkdir()
    StaticEncoder(table, scale, tokenizer.to_str(), name="tiny").save(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    code, text = run(command, "--help")
    assert code == 0
    assert f"router-data {command}" in " ".join(text.split())
    assert "Example:" in text


def test_the_catalog_commands_are_there() -> None:
    code, text = run("catalog", "--help")
    assert code == 0
    assert "refresh" in text


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("export", "nonsense", "x.csv"), ("export", "rounds", "x.xlsx"), ("import",)],
)
def test_wrong_usage_ends_with_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_import_stats_compact_verify_and_export_work_together(
    tmp_path: Path, encoder: Path
) -> None:
    simulate(12, n_models=3).write_tables(tmp_path / "tables")
    state = tmp_path / "var"
    options = ("--state", state, "--encoder", encoder, "--no-progress")
    code, text = run("import", tmp_path / "tables", *options)
    assert (code, "12 decisions and 36 outcomes logged" in text) == (0, True)
    code, text = run("import", tmp_path / "tables", *options)
    assert (code, "12 decisions were there already" in text) == (0, True)
    assert run("verify", "--state", state)[0] == 0
    code, text = run("compact", "--state", state)
    assert (code, "1 segments folded: 48 rows" in text) == (0, True)
    code, text = run("stats", "--state", state)
    assert code == 0
    assert "decisions: 12" in text
    assert "model-00" in text
    assert "segments not compacted: 0" in text
    for ending in ("parquet", "csv"):
        code, text = run("export", "rounds", tmp_path / f"r.{ending}", "--state", state)
        assert (code, "36 rows written" in text) == (0, True)
    assert "propensity" in parquet_types(tmp_path / "r.parquet")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 37
    assert load_rounds(state).n_rows == 36


def test_an_import_with_a_policy_logs_one_outcome_each(tmp_path: Path, encoder: Path) -> None:
    simulate(12, n_models=3).write_tables(tmp_path / "tables")
    options = ("--state", tmp_path / "var", "--encoder", encoder, "--no-progress")
    code, text = run("import", tmp_path / "tables", *options, "--policy", "uniform", "--seed", 3)
    assert (code, "12 decisions and 12 outcomes" in text) == (0, True)
    assert set(load_rounds(tmp_path / "var").propensity.tolist()) == {1 / 3}
    code, text = run("import", tmp_path / "tables", *options, "--policy", "best")
    assert (code, "error: policy: got 'best'" in text) == (1, True)


def test_problems_of_an_import_are_listed(tmp_path: Path, encoder: Path) -> None:
    folder = write_tables(
        tmp_path / "tables",
        [{"request_id": "r1", "prompt": "x"}],
        [{"request_id": key, "model": "m", "score": 1} for key in ("r1", "r2", "r3")],
    )
    code, text = run("import", folder, "--state", tmp_path, "--encoder", encoder, "--no-progress")
    assert code == 0
    assert "2 x outcome: request_id is not in requests.parquet" in text


def test_the_encoder_of_the_artifact_in_use_is_the_default(tmp_path: Path, encoder: Path) -> None:
    simulate(3, n_models=2).write_tables(tmp_path / "tables")
    (tmp_path / "var").mkdir()
    encoder.rename(tmp_path / "var" / "artifact")
    code, _ = run("import", tmp_path / "tables", "--state", tmp_path / "var", "--no-progress")
    assert code == 0
    assert load_rounds(tmp_path / "var").embedding.shape == (3, 4 + N_MATCH)


def test_a_folder_without_tables_is_an_error(tmp_path: Path, encoder: Path) -> None:
    code, text = run("import", tmp_path, "--encoder", encoder)
    assert code == 1
    assert "requests.parquet: not found" in text


def test_verify_fails_on_a_corrupt_line_and_names_it(state: Path) -> None:
    (path,) = segment_paths(state / "log")
    assert run("verify", "--state", state)[0] == 0
    path.write_bytes(path.read_bytes().replace(b'"lost"', b'"lust"'))
    code, text = run("verify", "--state", state)
    assert code == 1
    assert f"corrupt: {path.name}: 1 lines (5)" in text
    code, text = run("compact", "--state", state)
    assert code == 1
    assert "quarantine" in text
    assert run("verify", "--state", state)[0] == 1, "until the damaged segment is deleted"
    assert run("compact", "--state", state, "--grace-s", 0)[0] == 0
    assert run("verify", "--state", state)[0] == 0


def test_verify_fails_on_a_missing_parquet_file(state: Path) -> None:
    run("compact", "--state", state)
    (state / "log" / read_manifest(state / "log").files[0].path).unlink()
    code, text = run("verify", "--state", state)
    assert (code, "damaged: parquet/" in text, ": missing" in text) == (1, True, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify",),
        ("stats",),
        ("compact",),
        ("repair",),
        ("replay",),
        ("retain", "--days", 1),
        ("export", "rounds", "x.csv"),
        ("snapshot", "x.duckdb"),
    ],
)
def test_a_mistyped_state_is_wrong_usage_and_no_empty_log(
    tmp_path: Path, arguments: tuple[object, ...]
) -> None:
    # It once said "0 segments" and exited with 0.
    code, text = run(*arguments, "--state", tmp_path / "vra")
    assert (code, "no folder" in text) == (2, True)
    assert not (tmp_path / "vra").exists()


def test_an_export_into_a_missing_folder_is_wrong_usage(state: Path, tmp_path: Path) -> None:
    # It once ended in a traceback.
    code, text = run("export", "rounds", tmp_path / "none" / "rounds.csv", "--state", state)
    said = " ".join(text.replace("│", " ").split())  # the box wraps lines
    assert (code, "no such folder" in said) == (2, True)


def test_stats_count_what_is_unmatched_and_what_is_adequate(state: Path) -> None:
    summary = summarize(state)
    assert summary.totals == {
        "n_decisions": 2,
        "n_outcomes": 3,
        "n_decisions_without_outcome": 0,
        "n_outcomes_without_decision": 1,
    }
    (model,) = summary.models
    assert model["adequacy_rate"] == pytest.approx(2 / 3)
    assert model["cost_usd"] == 0.75
    code, text = run("stats", "--state", state)
    assert code == 0
    assert "66.7%" in text


def test_stats_of_a_state_without_a_log_are_zero(tmp_path: Path) -> None:
    code, text = run("stats", "--state", tmp_path)
    assert (code, "decisions: 0" in text) == (0, True)


def test_the_state_folder_may_come_from_the_environment(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTER_STATE_DIR", str(state))
    assert "outcomes: 3" in run("stats")[1]


def test_stats_say_what_was_observed_explored_and_left_out(tmp_path: Path) -> None:
    certain = [{"model": "small", "probability": 1.0}]
    rows = [
        decision("d1"),
        outcome("d1"),
        decision("d2", propensity=1.0, candidates=certain),
        outcome("d2", adequate=None, signals={"retried": True}),
        decision("d3"),
        outcome("d3", adequate=None),
        decision("d4", propensity=None),
        decision("d5", feedback="observational", propensity=None, candidates=[]),
        outcome("d5"),
        outcome("lost"),
        outcome("d1", attempt=1) | {"decision_id": None},
    ]
    write_log(tmp_path / "log", rows)
    (path,) = segment_paths(tmp_path / "log")
    path.write_bytes(path.read_bytes().replace(b'"lost"', b'"lust"') + b'{"n":"0000')
    code, text = run("stats", "--state", tmp_path)
    assert code == 0
    for line in (
        "torn last lines: 1",
        "corrupt lines: 1",
        "rows without decision_id: 1",
        "in quarantine: 1",
        "1 x decision: propensity missing",
    ):
        assert line in text
    table = [line.split() for line in text.splitlines()]
    assert ["bandit", "4", "50.0%", "50.0%"] in table
    assert ["observational", "1", "100.0%", "-"] in table
    # The altered line was once counted as an outcome without decision.
    assert ["small", "4", "3", "66.7%", "1.0000"] in table


def test_the_quarantine_is_listed_row_by_row(tmp_path: Path) -> None:
    write_log(tmp_path / "log", [decision(propensity=0), outcome("lost", attempt=2)])
    target = tmp_path / "q.parquet"
    code, text = run("export", "quarantine", target, "--state", tmp_path)
    assert (code, "2 rows written" in text) == (0, True)
    assert list(parquet_types(target)) == ["tenant", "decision_id", "attempt", "kind", "reason"]
    code, _ = run("export", "quarantine", tmp_path / "q.csv", "--state", tmp_path)
    lines = (tmp_path / "q.csv").read_text().splitlines()
    assert lines[1:] == [
        'acme,d1,,decision,"decision: propensity not in (0, 1]"',
        "acme,lost,2,outcome,outcome: no decision",
    ]


def test_a_gateways_log_is_imported_with_its_bad_lines_named(tmp_path: Path, encoder: Path) -> None:
    line = b'{"ts": 1795168800, "model": "m", "request": {"messages": []}}\n'
    good = line.replace(b"[]", b'[{"role": "user", "content": "x"}]')
    path = tmp_path / "gateway.jsonl"
    path.write_bytes(good + line.replace(b'"m"', b'""') + b"{\n" * 12)
    options = ("--state", tmp_path / "var", "--encoder", encoder, "--no-progress")
    code, text = run("import", path, *options, "--tenant", "acme")
    assert code == 0
    assert "14 lines: 1 decisions with their outcomes logged, 0 were there already" in text
    assert "12 x line: not valid JSON (line 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ...)" in text
    assert "unusable lines are kept in" in text
    assert load_rounds(tmp_path / "var").tenant.tolist() == ["acme"]
    code, text = run("import", path, *options, "--tenant", "acme")
    assert (code, "0 decisions" in text, "1 were there already" in text) == (0, True, True)
    stats = run("stats", "--state", tmp_path / "var")[1]
    assert "records set aside in quarantine/: 13\n  13 in import-gateway-" in stats
    path.write_bytes(b"{\n")
    code, text = run("import", path, *options)
    assert (code, "no usable line" in text) == (1, True)
    assert "0.0%" in run("stats", "--state", tmp_path / "var")[1]


# A row without versions or candidates ended the replay of all others with a traceback.
def test_rows_that_can_not_be_replayed_are_counted(tmp_path: Path) -> None:
    rows = [decision(schema=3, versions=None), decision("d2", schema=3, candidates=None)]
    write_log(tmp_path / "log", rows)
    code, text = run("replay", "--state", tmp_path, "--no-progress")
    assert code == 0
    assert "1 not replayed: their rows can't be used\n  decision 'd1': no versions" in text
    assert "1 not replayed: artifact a1" in text
