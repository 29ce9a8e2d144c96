import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
from log_samples import write_tables
from paths import DATA, requires_data

from router_data.tables import read_tables
from router_model import formats
from router_model.errors import DatasetError
from router_model.types import WireFormat

TOOL = {"name": "lookup", "description": "d", "parameters": {"type": "object"}}


def request(request_id: object = "r1", **cells: object) -> dict[str, object]:
    return {"request_id": request_id, **cells}


def outcome(request_id: str = "r1", model: str = "m", **cells: object) -> dict[str, object]:
    return {"request_id": request_id, "model": model, **cells}


def test_a_prompt_becomes_a_user_message(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "bench", [request(prompt="add one")], [outcome(score=1)])
    (found,) = read_tables(folder).requests
    parsed = formats.parse(found.body, wire_format=WireFormat.OPENAI_CHAT)
    assert parsed.last_user_text == "add one"
    assert (found.dataset, found.task, found.has_content) == ("bench", "bench", True)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": TOOL},
        TOOL,
        {"name": "lookup", "description": "d", "input_schema": {"type": "object"}},
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_messages_and_tools_are_read_as_json_text_or_nested(
    tmp_path: Path, tool: dict[str, object], *, as_text: bool
) -> None:
    messages: object = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]
    tools: object = [tool]
    if as_text:
        messages, tools = json.dumps(messages), json.dumps(tools)
    folder = write_tables(tmp_path, [request(messages=messages, tools=tools)], [outcome(score=1)])
    (found,) = read_tables(folder).requests
    parsed = formats.parse(found.body, wire_format=WireFormat.OPENAI_CHAT)
    assert parsed.system == "be kind"
    assert [spec.name for spec in parsed.tools] == ["lookup"]
    assert json.loads(parsed.tools[0].schema) == {"type": "object"}


def test_requests_without_text_are_kept_counted_and_not_grouped_together(tmp_path: Path) -> None:
    rows = [request("r1", prompt=None), request("r2", prompt="nan"), request("r3", prompt="x")]
    tables = read_tables(write_tables(tmp_path, rows, [outcome(score=1)]))
    assert [row.has_content for row in tables.requests] == [False, False, True]
    assert tables.requests[0].group == "r1"
    assert tables.problems["request: neither messages nor prompt"] == 2


def test_identical_requests_form_a_group_unless_a_column_says_otherwise(tmp_path: Path) -> None:
    rows = [
        request("r1", prompt="same", task="a", metadata='{"repo":"x"}'),
        request("r2", prompt="same", task="b", metadata='{"repo":"y"}'),
        request("r3", prompt="other", task="a", metadata='{"repo":"y"}'),
        request("r4", prompt="other", task="a", metadata="broken"),
    ]
    folder = write_tables(tmp_path / "plain", rows, [outcome(score=1)])

    def groups(group_by: str | None) -> list[str]:
        return [row.group for row in read_tables(folder, group_by=group_by).requests]

    first, second, third, fourth = groups(None)
    assert first == second != third == fourth
    assert groups("task") == ["a", "b", "a", "a"]
    assert groups("metadata.repo")[:3] == ["x", "y", "y"]
    problems = read_tables(folder, group_by="metadata.repo").problems
    assert problems["request: no value for group_by metadata.repo"] == 1
    named = write_tables(tmp_path / "named", [rows[0] | {"group": "g"}], [outcome(score=1)])
    assert read_tables(named).requests[0].group == "g"
    with pytest.raises(DatasetError, match="group_by: got 'nope', expected one of request_id"):
        read_tables(folder, group_by="nope")


@pytest.mark.parametrize(
    ("cells", "task", "dataset"),
    [
        ({"task": "t", "split": "s", "dataset": "d"}, "t", "d"),
        ({"split": "s", "dataset": "d"}, "s", "d"),
        ({"dataset": "d"}, "d", "d"),
        ({"task": None, "split": "s"}, "s", "folder"),
    ],
)
def test_the_task_is_the_task_else_the_split_else_the_dataset(
    tmp_path: Path, cells: dict[str, object], task: str, dataset: str
) -> None:
    folder = write_tables(tmp_path / "folder", [request(prompt="x", **cells)], [outcome(score=1)])
    (found,) = read_tables(folder).requests
    assert (found.task, found.dataset) == (task, dataset)


def test_a_success_is_a_verdict_and_a_score_is_a_reward(tmp_path: Path) -> None:
    rows = [request("r1", prompt="x")]
    success = [outcome(model=f"m{i}", success=value) for i, value in enumerate([1.0, 0.0, 0.5])]
    table = read_tables(write_tables(tmp_path / "a", rows, success)).outcomes
    np.testing.assert_array_equal(table.verdict, [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(table.reward, [1.0, 0.0, 0.5])
    score = [outcome(model="m0", score=1.0), outcome(model="m1", score=0.25)]
    table = read_tables(write_tables(tmp_path / "b", rows, score)).outcomes
    np.testing.assert_array_equal(table.verdict, [np.nan, np.nan])
    np.testing.assert_array_equal(table.reward, [1.0, 0.25])


@pytest.mark.parametrize("value", [True, "true", "1", 1, 1.0])
def test_a_success_may_be_a_flag_a_text_or_a_number(tmp_path: Path, value: object) -> None:
    folder = write_tables(tmp_path, [request(prompt="x")], [outcome(success=value)])
    assert read_tables(folder).outcomes.verdict.tolist() == [1.0]


def test_latency_is_milliseconds_whatever_the_column(tmp_path: Path) -> None:
    rows = [
        outcome(model="a", score=1, latency_s=1.5),
        outcome(model="b", score=1, latency_ms=250.0),
        outcome(model="c", score=1, latency_s=9.0, latency_ms=20.0),
    ]
    table = read_tables(write_tables(tmp_path, [request(prompt="x")], rows)).outcomes
    assert table.latency_ms.tolist() == [1500.0, 250.0, 20.0]


def test_missing_columns_are_not_observed(tmp_path: Path) -> None:
    table = read_tables(write_tables(tmp_path, [request(prompt="x")], [outcome(score=1)])).outcomes
    for name in ("cost_usd", "input_tokens", "cached_tokens", "output_tokens", "latency_ms"):
        assert np.isnan(getattr(table, name)).all(), name
    assert table.error.tolist() == [None]


def test_cells_without_sense_are_ignored_and_counted(tmp_path: Path) -> None:
    rows = [
        outcome(model="a", score=1.5, cost_usd=-1, tool_call_valid=0.5),
        outcome(model="b", score="good", cost_usd="inf", tool_call_valid=1),
        outcome(model="c", score="0.5", cost_usd="NaN", input_tokens="12.0"),
    ]
    tables = read_tables(write_tables(tmp_path, [request(prompt="x")], rows))
    np.testing.assert_array_equal(tables.outcomes.reward, [np.nan, np.nan, 0.5])
    np.testing.assert_array_equal(tables.outcomes.tool_call_valid, [np.nan, 1.0, np.nan])
    assert np.isnan(tables.outcomes.cost_usd).all()
    assert tables.outcomes.input_tokens[2] == 12.0
    assert tables.problems == {
        "outcome: score is not 0 to 1 (cell ignored)": 1,
        "outcome: cost_usd is not 0 or more (cell ignored)": 2,
        "outcome: tool_call_valid is not true or false (cell ignored)": 1,
        "outcome: neither success nor score (kept, not observed)": 2,
    }


def test_every_row_is_used_or_counted(tmp_path: Path) -> None:
    requests: list[dict[str, object]] = [
        request("r1", prompt="x"),
        request("r1", prompt="x"),
        request("r1", prompt="changed"),
        request("r2", messages="{broken", prompt="y"),
        request("r3", messages='{"role":"user"}'),
        {"request_id": None, "prompt": "z"},
    ]
    outcomes: list[dict[str, object]] = [
        outcome("r1", score=1),
        outcome("unknown", score=1),
        outcome("r2", model="nan", score=1),
        {"request_id": "r2", "model": None, "score": 1},
    ]
    tables = read_tables(write_tables(tmp_path, requests, outcomes))
    assert [row.request_id for row in tables.requests] == ["r1", "r2", "r3"]
    assert len(tables.outcomes) == 1
    assert tables.problems == {
        "request: request_id appears again with other content": 1,
        "request: messages is not JSON": 1,
        "request: messages is not a list": 1,
        "request: neither messages nor prompt": 1,
        "request: no request_id": 1,
        "outcome: request_id is not in requests.parquet": 1,
        "outcome: no model": 2,
    }


def test_trials_are_numbered_in_an_order_that_does_not_depend_on_the_file(tmp_path: Path) -> None:
    requests = [request("r1", prompt="x"), request("r2", prompt="y")]
    outcomes = [
        outcome(key, model=model, score=score, trial=trial)
        for key in ("r2", "r1")
        for model in ("b", "a")
        for trial, score in ((1, 0.0), (0, 1.0))
    ]
    one = read_tables(write_tables(tmp_path / "one", requests, outcomes))
    other = read_tables(write_tables(tmp_path / "other", requests[::-1], outcomes[::-1]))
    assert [r.request_id for r in one.requests] == [r.request_id for r in other.requests]
    for name in ("request_index", "model", "attempt", "reward"):
        found = getattr(one.outcomes, name).tolist()
        assert found == getattr(other.outcomes, name).tolist()
    assert one.outcomes.attempt.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert one.outcomes.model.tolist() == ["a", "a", "b", "b"] * 2


def test_times_are_read_when_the_table_has_them(tmp_path: Path) -> None:
    rows = [request("r1", prompt="x", created_unix=12), request("r2", prompt="y", ts_ms=34)]
    tables = read_tables(write_tables(tmp_path, rows, [outcome(score=1)]))
    assert [row.ts_ms for row in tables.requests] == [12_000, 34]


def test_a_column_of_another_type_or_all_null_is_no_obstacle(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select 7 as request_id, 'x' as prompt, null as tools, "
            f"{{'repo': 'a'}} as metadata) to '{tmp_path / 'requests.parquet'}' (format parquet)"
        )
        connection.execute(
            "copy (select 7::double as request_id, 'm' as model, 0.5::decimal(3, 2) as score, "
            f"null as cost_usd) to '{tmp_path / 'outcomes.parquet'}' (format parquet)"
        )
    tables = read_tables(tmp_path, group_by="metadata.repo")
    assert tables.requests[0].group == "a"
    assert tables.problems == {}
    assert tables.outcomes.reward.tolist() == [0.5]


@pytest.mark.parametrize("missing", ["requests.parquet", "outcomes.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = write_tables(tmp_path, [request(prompt="x")], [outcome(score=1)])
    (folder / missing).unlink()
    with pytest.raises(DatasetError, match=f"{missing}: not found"):
        read_tables(folder)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "a", [{"prompt": "x"}], [outcome(score=1)])
    with pytest.raises(DatasetError, match="no column request_id among prompt"):
        read_tables(folder)
    folder = write_tables(tmp_path / "b", [request(prompt="x")], [outcome(cost_usd=1)])
    with pytest.raises(DatasetError, match="no column success or score among"):
        read_tables(folder)


def test_a_folder_without_any_usable_request_is_an_error(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, [{"request_id": "", "prompt": "x"}], [outcome(score=1)])
    with pytest.raises(DatasetError, match="no usable request"):
        read_tables(folder)


def test_a_row_that_sums_several_calls_keeps_its_cost_but_not_tokens_and_latency(
    tmp_path: Path,
) -> None:
    rows = [
        outcome(model="a", score=1, cost_usd=0.5, output_tokens=900, latency_ms=7, n_calls=12),
        outcome(model="b", score=1, cost_usd=0.1, output_tokens=90, latency_ms=5, n_calls=1),
    ]
    tables = read_tables(write_tables(tmp_path, [request(prompt="x")], rows))
    found = tables.outcomes
    np.testing.assert_array_equal(found.cost_usd, [0.5, 0.1])
    np.testing.assert_array_equal(found.output_tokens, [np.nan, 90])
    np.testing.assert_array_equal(found.latency_ms, [np.nan, 5])
    assert tables.problems["outcome: tokens and latency of several calls (cells ignored)"] == 1


@requires_data
@pytest.mark.parametrize(
    ("name", "n_requests", "n_outcomes", "n_models"),
    [
        ("bfcl", 1177, 83_567, 71),
        ("coderouterbench", 2025, 16_200, 8),
        ("routellm", 14_122, 28_244, 2),
        ("routerbench_subset", 2530, 27_830, 11),
        ("swebench_verified_mini", 250, 10_000, 40),
        ("tau_bench", 165, 315, 2),
        ("tau2_bench", 164, 843, 21),
    ],
)
def test_real_tables_are_read_completely(
    name: str, n_requests: int, n_outcomes: int, n_models: int
) -> None:
    tables = read_tables(DATA / name)
    assert len(tables.requests) == n_requests
    assert len(tables.outcomes) == n_outcomes
    assert len(set(tables.outcomes.model.tolist())) == n_models
    unusable = {reason for reason in tables.problems if "not observed" not in reason}
    assert unusable <= {
        "request: neither messages nor prompt",
        "outcome: tokens and latency of several calls (cells ignored)",
    }
