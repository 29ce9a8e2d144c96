"""LiteLLM's payloads and rows of SpendLogs become calls with what was really paid."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_samples import CHAT_TOOL, MODEL, START_S, answered, counted, payload, said, spend
from gateway_samples import lines as json_lines
from log_samples import HashEncoder

from router_data.gateway_import import import_gateway_log
from router_data.gateway_log import GatewayCall, Line
from router_data.imports.litellm import CACHED, REFUSED, read_litellm
from router_data.imports.records import Record
from router_data.store import Store

WITH_PROMPT: dict[str, Any] = {
    "proxy_server_request": msgspec.json.encode(
        {"model": "auto", "messages": said(), "tools": [CHAT_TOOL]}
    ).decode(),
    "response": msgspec.json.encode(answered()).decode(),
}


def line(row: Any, **options: Any) -> Line:
    data = row if isinstance(row, bytes) else msgspec.json.encode(row)
    (found,) = read_litellm(Record(1, data), **options)
    return found


def call(row: dict[str, Any], **options: Any) -> GatewayCall:
    found = line(row, **options)
    assert (found.problem, found.left_out) == ("", "")
    assert found.call is not None
    return found.call


def body(found: GatewayCall) -> Any:
    return msgspec.json.decode(bytes(found.request))


def test_a_payload_says_who_asked_what_was_paid_and_how_long_it_took() -> None:
    found = call(payload(), tenant_field="metadata.user_api_key_team_id")
    assert (found.id, found.ts_ms, found.model) == (
        "call-0/chatcmpl-0",
        START_S * 1000 + 250,
        MODEL,
    )
    assert (found.tenant, found.key, found.user) == ("team-1", "ab" * 32, "ann")
    assert (found.session, found.requested_model) == ("session-0", "auto")
    assert (found.cost_usd, found.latency_ms, found.error) == (0.002, 1500.0, None)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.cached_tokens) == (1000, 900)
    assert body(found)["messages"] == said("Fix failing test 0")
    assert body(found)["tools"] == [CHAT_TOOL]


@pytest.mark.parametrize(
    ("call_type", "changes", "part", "wire_format"),
    [
        ("completion", {}, "messages", "openai.chat"),
        ("anthropic_messages", {}, "messages", "anthropic.messages"),
        (
            "aresponses",
            {"messages": [{"role": "user", "content": "x"}]},
            "input",
            "openai.responses",
        ),
        ("aresponses", {"messages": "x"}, "input", "openai.responses"),
        ("agenerate_content", {"messages": [{"parts": [{"text": "x"}]}]}, "contents", "gemini"),
        ("agenerate_content", {}, "messages", "openai.chat"),
    ],
)
def test_the_body_is_that_of_the_route(
    call_type: str, changes: dict[str, Any], part: str, wire_format: str
) -> None:
    found = call(payload(call_type=call_type, **changes))
    assert (found.format, part in body(found)) == (wire_format, True)


def test_rows_of_spendlogs_tell_of_spending_without_prompts() -> None:
    found = call(spend(), tenant_field="team_id")
    assert not found.has_request
    assert found.without_content.startswith("SpendLogs without prompts")
    assert (found.id, found.tenant, found.session) == ("call-0/chatcmpl-0", "team-1", "session-0")
    assert (found.cost_usd, found.latency_ms) == (0.002, 1500.0)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.cached_tokens) == (1000, 900)


def test_rows_that_keep_prompts_have_the_clients_own_body_and_the_answer() -> None:
    found = call(spend(**WITH_PROMPT))
    assert body(found)["model"] == "auto"
    assert msgspec.json.decode(bytes(found.response)) == answered()


def test_a_session_that_litellm_made_up_gives_way_to_what_the_body_shows() -> None:
    made_up = "5f9ac1a4-52fd-41b2-8ab2-bf62f7dbc6e1"
    assert call(spend(session_id=made_up, **WITH_PROMPT)).session is None
    assert call(spend(session_id=made_up)).session == made_up
    assert call(payload(session_id="", trace_id=made_up)).session is None
    assert call(payload(session_id="", trace_id="my-run")).session == "my-run"


def test_every_cell_of_a_csv_export_is_text() -> None:
    cells = {name: "" if value is None else str(value) for name, value in spend().items()}
    found = call(cells)
    assert (found.cost_usd, found.tenant) == (0.002, None)
    assert found.usage == call(spend()).usage


def test_older_rows_without_a_usage_object_still_have_tokens() -> None:
    metadata = {"additional_usage_values": {"cache_read_input_tokens": 900}}
    found = call(spend(metadata=metadata))
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.cached_tokens) == (1000, 900)
    assert call(spend(metadata=None, prompt_tokens=0, completion_tokens=0)).usage is None


@pytest.mark.parametrize("mark", ["redacted-by-litellm", "abc (litellm_truncated 500 chars)"])
def test_content_that_is_not_what_was_sent_is_not_learned_from(mark: str) -> None:
    assert not call(payload(messages=said(mark))).has_request
    cut = msgspec.json.encode({"messages": said(mark)}).decode()
    assert not call(spend(proxy_server_request=cut)).has_request
    found = call(payload(response=answered(mark)))
    assert (found.has_request, found.has_response) == (True, False)


def test_an_error_is_named_by_class_and_code_never_by_its_message() -> None:
    told = {"error_class": "RateLimitError", "error_code": "429", "error_message": "my secret plan"}
    failed = payload(status="failure", response_cost=0.0, response={}, error_information=told)
    failed["metadata"] |= {"usage_object": {}}
    found = call(failed | {"total_tokens": 0, "prompt_tokens": 0, "completion_tokens": 0})
    assert (found.error, found.usage, found.cost_usd) == ("RateLimitError 429", None, 0.0)
    row = spend(status="failure", metadata={"error_information": told, "status": "failure"})
    assert call(row).error == "RateLimitError 429"


def test_each_attempt_of_a_call_has_an_id_of_its_own() -> None:
    failed: dict[str, Any] = {
        "id": "call-0",
        "status": "failure",
        "response_cost": 0.0,
        "response": {},
    }
    first, second = payload(**failed), payload(**failed, startTime=START_S + 9.0)
    ids = {call(row).id for row in (first, second, payload(), payload(id="chatcmpl-9"))}
    assert len(ids) == 4
    same = spend(request_id="call-0", status="failure", spend=0.0, litellm_call_id="call-0")
    assert call(same).id == call(first).id
    assert call(spend()).id == call(payload()).id


def test_a_cost_that_litellm_could_not_know_is_unknown_not_zero() -> None:
    assert call(payload(response_cost=0.0)).cost_usd == 0.0
    assert call(payload(response_cost=0.0, model_map_information={})).cost_usd is None
    failed: dict[str, Any] = {"response_cost_failure_debug_info": {"error_str": "no price"}}
    assert call(payload(response_cost=0.0, **failed)).cost_usd is None
    unpriced: dict[str, Any] = {"metadata": {"usage_object": counted()}, "spend": 0.0}
    assert call(spend(**unpriced)).cost_usd is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (payload(cache_hit=True), CACHED),
        (spend(cache_hit="True"), CACHED),
        (spend(model="", model_group="", status="failure"), REFUSED),
        (payload(call_type="aembedding"), "call type aembedding: no answer of a language model"),
    ],
)
def test_what_no_model_answered_is_left_out_with_the_reason(
    row: dict[str, Any], reason: str
) -> None:
    found = line(row)
    assert (found.call, found.left_out, found.problem) == (None, reason, "")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"{", "not valid JSON"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b"[1]", "expected an object"),
        (b'"text"', "expected an object"),
        ({}, "model: expected `str` of length >= 1"),
        (payload(response_cost="oops"), "response_cost: expected dollars, a number from 0"),
        (spend(spend="oops"), "spend: expected dollars, a number from 0"),
        (payload(startTime="yesterday"), "startTime: expected ISO 8601"),
        (payload(model="", model_group=None), "model: expected `str` of length >= 1"),
        (payload(response_cost=-1), "response_cost: expected dollars"),
        (payload(metadata={"usage_object": counted(-5)}), "usage.prompt_tokens: expected"),
        (payload(metadata={"usage_object": counted(10, cached=900)}), "cached_tokens: expected"),
    ],
)
def test_an_unusable_row_says_why_and_quotes_nothing(row: Any, problem: str) -> None:
    found = line(row)
    assert found.call is None
    assert problem in found.problem


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": "not json"},
        {"metadata": ["a"]},
        {"messages": {"role": "user"}},
        {"messages": [None, 3]},
        {"response": "text", "model_parameters": None},
        {"response_time": "soon", "endTime": None},
        {"end_user": {"a": 1}, "session_id": ["x"]},
        {"model_parameters": {"tools": "none"}},
    ],
)
def test_odd_members_never_stop_an_import(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(json_lines(payload(0), payload(1, **changes)))
    report = import_gateway_log(
        path, tmp_path / "var", encoder=HashEncoder(), reader=read_litellm, progress=False
    )
    assert report.n_lines == 2
    assert report.n_decisions + sum(report.problems.values()) == 2


def test_answers_give_validity_and_signals_and_failures_none(tmp_path: Path) -> None:
    rows = [
        payload(0),
        payload(1, response=answered('{"cmd": 1}')),
        payload(2, response=answered(finish="length"), call_type="anthropic_messages"),
        payload(3, status="failure", response={}),
        payload(4, stream=True),
    ]
    path = tmp_path / "log.jsonl"
    path.write_bytes(json_lines(*rows))
    import_gateway_log(
        path, tmp_path / "var", encoder=HashEncoder(), reader=read_litellm, progress=False
    )
    with Store(tmp_path / "var") as store:
        found = store.query(
            "select tool_call_valid as valid, tool_call_latency_ms as ms, error, n_tool_calls,"
            " json_extract_string(signals, '$.truncated') as cut from outcomes order by ts_ms"
        )
    assert [row["valid"] for row in found] == [True, False, True, None, True]
    assert [row["cut"] for row in found] == ["false", "false", "true", None, "false"]
    assert [row["ms"] for row in found] == [1500.0, 1500.0, 1500.0, None, None]
    assert [row["n_tool_calls"] for row in found] == [1, 1, 1, None, 1]


def test_half_an_emoji_is_no_reason_to_lose_a_call(tmp_path: Path) -> None:
    # Python's own JSON writes what a cut left over; strict readers refuse the line.
    cut = json.dumps({"messages": said("half \ud83d")})
    rows = [payload(0, messages=said("half \ud83d")), spend(1, proxy_server_request=cut)]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    report = import_gateway_log(
        path, tmp_path / "var", encoder=HashEncoder(), reader=read_litellm, progress=False
    )
    assert (report.n_decisions, report.learned.n_with_request) == (2, 2)


def test_a_poorer_row_of_the_same_call_replaces_nothing(tmp_path: Path) -> None:
    def imported(name: str, row: dict[str, Any]) -> tuple[int, int]:
        path = tmp_path / name
        path.write_bytes(json_lines(row))
        report = import_gateway_log(
            path, tmp_path / "var", encoder=HashEncoder(), reader=read_litellm, progress=False
        )
        return report.n_decisions, report.n_known

    assert imported("spend.jsonl", spend()) == (1, 0)
    assert imported("payload.jsonl", payload()) == (1, 0)
    assert imported("spend.jsonl", spend()) == (0, 1)
    assert imported("payload.jsonl", payload()) == (0, 1)
    with Store(tmp_path / "var") as store:
        (row,) = store.query("select features is not null as whole from decisions")
    assert row["whole"]
