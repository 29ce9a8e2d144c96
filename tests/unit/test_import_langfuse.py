"""Langfuse's observations become calls, and its scores judge them by the stated rule."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_samples import CHAT_TOOL, MODEL, answered, observation, said, score
from gateway_samples import lines as json_lines
from log_samples import HashEncoder

from router_data.dataset import load_rounds
from router_data.gateway_import import import_gateway_log
from router_data.gateway_log import GatewayCall, Line
from router_data.imports.langfuse import SCORE, read_langfuse, read_scores
from router_data.imports.records import Record
from router_data.imports.scores import ScoreRule, Scores
from router_model import formats
from router_model.types import Request

QUALITY = ScoreRule(names=frozenset({"quality"}))


def found_in(row: Any, scores: Scores | None = None, **options: Any) -> list[Line]:
    data = row if isinstance(row, bytes) else msgspec.json.encode(row)
    return list(read_langfuse(Record(1, data), scores=scores or Scores(None), **options))


def call(row: Any, scores: Scores | None = None, **options: Any) -> GatewayCall:
    (line,) = found_in(row, scores, **options)
    assert (line.problem, line.left_out) == ("", "")
    assert line.call is not None
    return line.call


def request(found: GatewayCall) -> Request:
    return formats.parse(bytes(found.request))


def scored(*rows: dict[str, Any], rule: ScoreRule = QUALITY) -> Scores:
    scores = Scores(rule)
    for row in rows:
        scores.add(row)
    return scores


def test_an_observation_says_who_asked_and_what_it_cost() -> None:
    found = call(observation(), tenant_field="environment")
    assert (found.id, found.model, found.ts_ms) == ("obs-0", MODEL, 1_795_168_800_250)
    assert (found.tenant, found.user, found.session) == ("production", "ann", "session-0")
    assert (found.cost_usd, found.latency_ms, found.error) == (0.002, 1500.0, None)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.cached_tokens) == (1000, 900)
    assert [tool.name for tool in request(found).tools] == ["bash"]
    assert request(found).max_output_tokens == 4096


def test_names_of_the_api_are_the_same() -> None:
    other = {
        "id": "obs-0",
        "traceId": "trace-0",
        "type": "GENERATION",
        "startTime": "2026-11-20T10:00:00.250Z",
        "endTime": "2026-11-20T10:00:01.750Z",
        "model": MODEL,
        "modelParameters": {"max_tokens": 4096},
        "usageDetails": {"input": 100, "input_cached_tokens": 900, "output": 20},
        "costDetails": {"total": 0.002},
        "input": {"messages": said("Fix failing test 0"), "tools": [CHAT_TOOL]},
        "output": answered(),
    }
    found, same = call(other), call(observation())
    assert (found.ts_ms, found.latency_ms, found.cost_usd) == (same.ts_ms, 1500.0, 0.002)
    assert (found.usage, request(found)) == (same.usage, request(same))
    assert found.session == "trace-0"


@pytest.mark.parametrize(
    ("told", "role"),
    [
        (said("x"), "user"),
        (msgspec.json.encode(said("x")).decode(), "user"),
        ("x", "user"),
        ({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}, "user"),
        ({"model": "m", "input": "x"}, "user"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "user"),
    ],
)
def test_the_input_may_be_messages_a_whole_body_or_text(told: Any, role: str) -> None:
    asked = request(call(observation(input=told)))
    assert asked.last_user_text == "x"
    assert asked.messages[-1].role == role


@pytest.mark.parametrize(
    ("buckets", "whole", "output"),
    [
        ({"input": 100, "output": 20, "cache_read_input_tokens": 900}, 1000, 20),
        ({"input": 100, "output": 20, "input_cached_tokens": 900, "total": 1020}, 1000, 20),
        ({"input": 1000, "output": 20, "input_cached_tokens": 900, "total": 1020}, 1000, 20),
        (
            {
                "input": 150,
                "output": 20,
                "cache_read_input_tokens": 900,
                "cache_creation_input_tokens": 50,
                "total": 1070,
            },
            1050,
            20,
        ),
        ({"input": 100, "output": 15, "output_reasoning_tokens": 5, "total": 120}, 100, 20),
        ({"promptTokens": 100, "completionTokens": 20, "totalTokens": 120}, 100, 20),
    ],
)
def test_buckets_are_read_as_their_total_says(
    buckets: dict[str, int], whole: int, output: int
) -> None:
    usage = call(observation(usage_details=buckets)).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (whole, output)


@pytest.mark.parametrize(
    ("changes", "rule", "adequate", "reward"),
    [
        ({}, QUALITY, None, 0.9),
        ({"data_type": "BOOLEAN", "value": 0}, QUALITY, False, None),
        ({"value": True}, QUALITY, True, None),
        ({"value": 3}, QUALITY, None, None),
        ({"value": 3}, ScoreRule(names=QUALITY.names, threshold=3.0), True, None),
        ({"value": 2.9}, ScoreRule(names=QUALITY.names, threshold=3.0), False, None),
        (
            {"data_type": "CATEGORICAL", "value": None, "string_value": "good"},
            ScoreRule(names=QUALITY.names, passing=frozenset({"good"})),
            True,
            None,
        ),
        ({"data_type": "CATEGORICAL", "value": 1, "string_value": "good"}, QUALITY, None, None),
        ({"name": "tone"}, QUALITY, None, None),
        ({"value": "high"}, QUALITY, None, None),
    ],
)
def test_a_score_judges_its_call_by_the_rule(
    changes: dict[str, Any], rule: ScoreRule, adequate: bool | None, reward: float | None
) -> None:
    found = call(observation(), scored(score(**changes), rule=rule))
    assert (found.adequate, found.reward) == (adequate, reward)


def test_a_score_of_a_whole_trace_is_shared_out_by_credit(tmp_path: Path) -> None:
    scores = scored(score(observation_id=None, value=0.2))
    path = tmp_path / "obs.jsonl"
    path.write_bytes(json_lines(*(observation(n) for n in range(6))))

    def read(record: Record) -> Any:
        return read_langfuse(record, scores=scores)

    import_gateway_log(path, tmp_path / "var", encoder=HashEncoder(), reader=read, progress=False)
    rounds = load_rounds(tmp_path / "var")
    of_trace = rounds.session[rounds.context_index] == "trace-0"
    assert of_trace.sum() == 3
    assert set(rounds.adequate[of_trace]) == {0.0}


def test_scores_may_be_in_the_same_file_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_bytes(json_lines(observation(0), score(1), observation(1), score(0, value=0.1)))
    scores = Scores(QUALITY)
    unread = [line.problem for line in read_scores(path, scores)]
    assert set(unread) <= {"no score: expected name and value"}
    assert (scores.n_used, dict(scores.names)) == (2, {"quality": 2})
    found = [line for row in path.read_bytes().splitlines() for line in found_in(row, scores)]
    assert [line.left_out for line in found] == ["", SCORE, "", SCORE]
    assert [line.call.reward for line in found if line.call] == [0.1, 0.9]


def test_what_is_no_generation_is_left_out_and_errors_are_not_quoted() -> None:
    (line,) = found_in(observation(type="SPAN"))
    assert line.left_out == "an observation of type SPAN: no call of a model"
    failed = call(observation(level="ERROR", status_message="my secret plan", output=None))
    assert (failed.error, failed.has_response) == ("error", False)
    assert call(observation(input=None)).without_content == "the observation has no input"


def test_a_page_of_the_api_holds_many_rows() -> None:
    page = {"data": [observation(0), observation(1), observation(2, model=3, start_time=None)]}
    lines = found_in(page | {"meta": {"page": 1}})
    assert [line.problem[:10] for line in lines] == ["", "", "startTime:"]
    assert b"obs-2" in lines[2].text
    assert b"obs-1" not in lines[2].text


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"{", "not valid JSON"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b"3", "expected an object"),
        ({"data": [3]}, "expected an object"),
        (observation(start_time="soon"), "startTime: expected ISO 8601"),
        (observation(provided_model_name=None), "providedModelName: expected `str`"),
        (observation(cost_details={"total": -1}), "costDetails.total: expected dollars"),
    ],
)
def test_an_unusable_row_says_why(row: Any, problem: str) -> None:
    (line,) = found_in(row)
    assert line.call is None
    assert problem in line.problem


@pytest.mark.parametrize(
    "changes",
    [
        {"output": 3},
        {"output": [None]},
        {"output": {"odd": True}},
        {"input": {"odd": True}},
        {"input": [1, None]},
        {"usage_details": "none", "cost_details": [1]},
        {"end_time": None, "latency": "slow"},
        {"end_time": "2026-11-20T10:00:01.750Z", "latency": None},
        {"model_parameters": "{"},
        {"user_id": {"a": 1}, "session_id": 3},
    ],
)
def test_odd_members_never_stop_an_import(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "obs.jsonl"
    path.write_bytes(json_lines(observation(0), observation(1, **changes)))

    def read(record: Record) -> Any:
        return read_langfuse(record, scores=Scores(None))

    report = import_gateway_log(
        path, tmp_path / "var", encoder=HashEncoder(), reader=read, progress=False
    )
    assert report.n_decisions + sum(report.problems.values()) == 2
