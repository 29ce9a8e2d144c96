"""`router-data import` has one way in for every format, and refuses what would do nothing."""

import csv
import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from gateway_samples import exported, observation, payload, score, span, spend
from gateway_samples import lines as json_lines
from paths import REPO
from typer.testing import CliRunner

from router_data.cli import app
from router_data.store import Store


def run(*arguments: object) -> tuple[int, str]:
    """The exit code, and what was printed to both streams."""
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return answer.exit_code, answer.output


def imported(path: Path, *options: object) -> tuple[int, str]:
    return run("import", path, "--state", path.parent / "var", "--no-progress", *options)


def written(path: Path, *rows: Any) -> Path:
    path.write_bytes(json_lines(*rows))
    return path


def columns(folder: Path, names: str) -> list[tuple[Any, ...]]:
    with Store(folder / "var") as store:
        rows = store.query(f"select {names} from rounds order by ts_ms, decision_id")
    return [tuple(row.values()) for row in rows]


def test_each_format_is_named_and_ends_with_what_was_learned(tmp_path: Path) -> None:
    files = {
        "litellm": written(tmp_path / "payloads.jsonl", payload(0), payload(1)),
        "otel": written(tmp_path / "spans.jsonl", exported(span(0), span(1))),
        "langfuse": written(tmp_path / "observations.jsonl", observation(0), observation(1)),
    }
    for kind, path in files.items():
        code, text = imported(path, "--format", kind, "--tenant", kind)
        assert (code, "2 decisions with their outcomes logged" in text) == (0, True)
        assert "learned from 2 calls" in text
        assert "all calls: no estimate yet" in text
        code, text = imported(path, "--format", kind, "--tenant", kind)
        assert (code, "0 decisions with" in text, "2 were there already" in text) == (0, True, True)
    tenants = {tenant for (tenant,) in columns(tmp_path, "tenant")}
    assert tenants == set(files)


def test_the_plain_line_of_the_readme_can_be_imported(tmp_path: Path) -> None:
    readme = (REPO / "data" / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    path = tmp_path / "calls.jsonl"
    path.write_text(line.replace("\n", " ") + "\n")
    code, text = imported(path)
    assert (code, "1 decisions with" in text, " x " in text) == (0, True, False)
    assert columns(tmp_path, "tenant, cached_tokens, cost_usd") == [("acme", 800, 0.01)]


def test_spendlogs_come_as_csv_compressed_or_not(tmp_path: Path) -> None:
    path = tmp_path / "spend.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(spend()))
        writer.writeheader()
        writer.writerows([spend(0), spend(1)])
    packed = tmp_path / "spend.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    code, text = imported(path, "--format", "litellm", "--tenant-field", "team_id")
    assert code == 0
    assert "2 for their spending only: SpendLogs without prompts" in text
    assert "side calls: unknown" in text
    assert columns(tmp_path, "tenant, cost_usd, cached_tokens") == [("team-1", 0.002, 900)] * 2
    code, text = imported(packed, "--format", "litellm", "--tenant-field", "team_id")
    assert (code, "2 were there already" in text) == (0, True)


def test_scores_in_a_file_of_their_own_judge_calls(tmp_path: Path) -> None:
    path = written(tmp_path / "obs.jsonl", *(observation(n) for n in range(3)))
    scores = written(
        tmp_path / "scores.jsonl", score(0), score(1, value=0.2), score(2, name="tone")
    )
    options = ("--format", "langfuse", "--scores", scores)
    code, text = imported(path, *options)
    assert code == 0
    assert "scores: quality 2, tone 1; used 0" in text
    assert "none is used without --score NAME" in text
    code, text = imported(path, *options, "--score", "quality", "--score-threshold", "0.5")
    assert (code, "2 decisions with" in text) == (0, True)
    assert columns(tmp_path, "adequate") == [(True,), (False,), (None,)]


def test_prompts_are_stored_only_where_that_is_asked(tmp_path: Path) -> None:
    row = payload(0)
    row["metadata"] |= {"user_api_key_hash": "sk-very-secret-key"}
    path = written(tmp_path / "log.jsonl", row)
    assert imported(path, "--format", "litellm")[0] == 0
    (segment,) = (tmp_path / "var" / "log" / "segments").iterdir()
    assert b"failing test" not in segment.read_bytes()
    assert b"sk-very-secret-key" not in segment.read_bytes()
    assert imported(path, "--format", "litellm", "--tenant", "other", "--text")[0] == 0
    with Store(tmp_path / "var") as store:
        rows = store.query('select tenant, "key", "text" is null as bare from decisions order by 1')
    assert [(row["tenant"], row["bare"]) for row in rows] == [("default", True), ("other", False)]
    assert all(row["key"].startswith("sha256:") for row in rows)


def test_bad_rows_are_named_and_unknown_models_too(tmp_path: Path) -> None:
    unknown = payload(0, model="m-1", model_map_information={})
    rows = [unknown, payload(1, startTime="soon"), payload(2, cache_hit=True)]
    code, text = imported(written(tmp_path / "log.jsonl", *rows), "--format", "litellm")
    assert code == 0
    assert "1 x line: startTime: expected ISO 8601" in text
    assert "(line 2)" in text
    assert "1 left out: answered from LiteLLM's own cache" in text
    assert "models that the catalog does not know: m-1 (1)" in text


def test_a_catalog_of_ones_own_gives_names_and_prices(tmp_path: Path) -> None:
    overlay = tmp_path / "own.toml"
    overlay.write_text(
        '[models."own"]\nprovider = "self"\ncontext_window = 9000\nmax_output_tokens = 900\n'
        'price = { input = 1.0, output = 2.0 }\naliases = ["m-1"]\n'
    )
    path = written(tmp_path / "log.jsonl", payload(0, model="m-1"))
    code, text = imported(path, "--format", "litellm", "--catalog", overlay, "--compare", "own")
    assert code == 0
    assert "does not know" not in text
    assert columns(tmp_path, "model") == [("own",)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "tables"), "expects a folder"),
        (("--format", "morse"), "morse"),
        (("--policy", "uniform"), "tables only"),
        (("--score", "quality"), "has no scores"),
        (("--format", "langfuse", "--score-threshold", "1"), "need --score NAME"),
        (("--tenant-field", "team"), "name their tenant in"),
        (("--format", "litellm", "--compare", "nobody"), "not in the catalog"),
    ],
)
def test_options_that_would_do_nothing_are_wrong_usage(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    code, text = imported(written(tmp_path / "log.jsonl", payload(0)), *options)
    assert code == 2
    assert message in " ".join(text.replace("│", " ").split())


def test_a_folder_is_tables_and_has_no_options_of_logs(tmp_path: Path) -> None:
    code, text = run("import", tmp_path, "--state", tmp_path / "var", "--text")
    assert (code, "no meaning for tables" in " ".join(text.replace("│", " ").split())) == (2, True)
    code, text = run("import", tmp_path, "--format", "otel")
    assert (code, "expects a file" in " ".join(text.replace("│", " ").split())) == (2, True)
    code, text = run("import", tmp_path, "--state", tmp_path / "var", "--no-progress")
    assert (code, "requests.parquet" in text) == (1, True)


def test_a_file_of_another_format_says_why_nothing_could_be_used(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", observation(0))
    code, text = imported(path, "--format", "otel")
    assert (code, "no usable line" in text, "no call of a model" in text) == (1, True, True)
    assert "Traceback" not in text


def test_a_file_of_another_format_is_told_line_by_line_and_asks_for_the_format(
    tmp_path: Path,
) -> None:
    code, text = imported(written(tmp_path / "log.jsonl", payload(0), payload(1)))
    assert code == 1
    assert "no usable line:\n  2 x line: " in text
    assert "(line 1, 2)" in text
    assert "is --format right? The file was read as jsonl; a file may be jsonl, litellm" in text
    assert "kept in" in text


def test_a_state_that_can_not_be_a_folder_is_wrong_usage(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", payload(0))
    file = tmp_path / "taken"
    file.touch()
    for state in (Path("/proc/nope"), file, file / "below"):
        code, text = run("import", path, "--format", "litellm", "--state", state)
        assert (code, "--state" in text, "Traceback" in text) == (2, True, False)
        assert "repair" not in text


def test_cells_of_a_plain_csv_are_read_as_the_values_they_write(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(
        "id,ts,model,cost_usd,latency_ms,input_tokens,output_tokens,adequate,request\n"
        'a,2026-11-20T10:00:00Z,m-1,0.5,1200,900,20,true,"{""messages"": [{""role"": ""user"", '
        '""content"": ""Hi""}]}"\n'
        "b,1795168801,m-1,1e-3,,,,False,\n"
        "c,1795168802,m-1,oops,,,,,\n"
        "d,1795168803,m-1,nan,,,,,\n"
        "e,1795168804,m-1,0.5,,,,perhaps,\n"
    )
    code, text = imported(path)
    assert (code, "2 decisions with" in text) == (0, True)
    assert "2 x line: cost_usd: expected `float | null`, got `str` (line 3, 4)" in text
    assert "1 x line: adequate: expected `bool | null`, got `str` (line 5)" in text
    found = columns(tmp_path, "cost_usd, input_tokens, adequate")
    assert found == [(0.5, 900, True), (0.001, None, False)]


def test_lines_of_a_file_of_scores_that_are_none_are_counted_and_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "obs.jsonl", observation(0))
    scores = tmp_path / "scores.jsonl"
    scores.write_bytes(json_lines(score(0)) + b"\nno json\n" + json_lines({"a": 1}) + b"\n3\n")
    code, text = imported(path, "--format", "langfuse", "--scores", scores, "--score", "quality")
    assert (code, "used 1" in text) == (0, True)
    assert "3 records are no scores:" in text
    assert "1 x score: not valid JSON (line " in text
    assert "2 x score: no score: expected name and value (line " in text
    (kept,) = (tmp_path / "var" / "log" / "quarantine").glob("import-scores-*.jsonl")
    assert b"no json" in kept.read_bytes()
