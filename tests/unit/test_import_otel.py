"""GenAI spans of three generations of instruments become the same calls."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_samples import BASH, attribute, chat_attributes, console_span, exported, span
from gateway_samples import lines as json_lines
from log_samples import HashEncoder

from router_data.gateway_import import import_gateway_log
from router_data.gateway_log import GatewayCall, Line
from router_data.imports.otel import OTHER_SPAN, read_otel
from router_data.imports.otel_content import NO_CONTENT
from router_data.imports.records import Record
from router_data.imports.scores import ScoreRule
from router_data.store import Store
from router_model import formats
from router_model.types import Request

BARE = {
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-5.1",
    "gen_ai.usage.prompt_tokens": 1000,
    "gen_ai.usage.completion_tokens": 20,
}


def found_in(document: Any, **options: Any) -> list[Line]:
    data = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return list(read_otel(Record(1, data), **options))


def call(document: Any, **options: Any) -> GatewayCall:
    (line,) = found_in(document, **options)
    assert (line.problem, line.left_out) == ("", "")
    assert line.call is not None
    return line.call


def request(found: GatewayCall) -> Request:
    return formats.parse(bytes(found.request))


def with_events(*events: tuple[str, dict[str, Any]], **attributes: Any) -> dict[str, Any]:
    told = [
        {
            "name": name,
            "timeUnixNano": "1",
            "attributes": [attribute(k, v) for k, v in some.items()],
        }
        for name, some in events
    ]
    return exported(span(attributes=BARE | attributes, events=told))


def test_a_span_of_the_exporter_says_what_was_asked_and_used() -> None:
    found = call(exported(span()), tenant_field="service.name")
    assert found.model == "claude-haiku-4-5-20251001"
    assert found.also_named == ("claude-haiku-4-5",)
    assert (found.tenant, found.session, found.latency_ms) == ("agents", "conversation-0", 1500.0)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.cached_tokens) == (1000, 900)
    asked = request(found)
    assert asked.system == "Be brief"
    assert [message.role for message in asked.messages] == ["user", "assistant", "tool"]
    assert [tool.name for tool in asked.tools] == ["bash"]
    assert asked.max_output_tokens == 4096
    (choice,) = msgspec.json.decode(bytes(found.response))["choices"]
    assert choice["message"]["content"] == "I look."
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"command":"cat"}'


def test_a_span_of_the_console_says_the_same() -> None:
    found, other = call(console_span()), call(exported(span()))
    assert request(found) == request(other)
    assert (found.usage, found.latency_ms) == (other.usage, other.latency_ms)
    assert (found.ts_ms, found.session) == (1_795_168_800_250, "conversation-0")


def test_a_line_may_hold_many_spans_and_agents_own_spans_count_nothing() -> None:
    agent = span(5, attributes=BARE | {"gen_ai.operation.name": "invoke_agent"})
    http = span(6, attributes={"http.request.method": "POST"})
    lines = found_in(exported(span(0), agent, span(1), http))
    assert [line.left_out for line in lines] == ["", OTHER_SPAN, "", OTHER_SPAN]
    ids = [line.call.id for line in lines if line.call is not None]
    assert len(set(ids)) == 2


def test_nested_spans_of_one_call_are_one_call_with_its_content(tmp_path: Path) -> None:
    answer = {"gen_ai.response.id": "chatcmpl-0123456789abcdef"}
    inner = span(7, attributes=BARE | answer)
    outer = span(0, attributes=chat_attributes(0, **answer))
    path = tmp_path / "spans.jsonl"
    for spans in ((inner, outer), (outer, inner)):
        path.write_bytes(json_lines(exported(*spans)))
        state = tmp_path / str(spans[0]["spanId"])
        report = import_gateway_log(
            path, state, encoder=HashEncoder(), reader=read_otel, progress=False
        )
        assert (report.n_decisions, report.learned.n_with_request) == (1, 1)
    short = {"gen_ai.response.id": "chatcmpl-1"}  # not unique: some servers only count
    path.write_bytes(json_lines(exported(*(span(n, attributes=BARE | short) for n in range(2)))))
    report = import_gateway_log(
        path, tmp_path / "short", encoder=HashEncoder(), reader=read_otel, progress=False
    )
    assert report.n_decisions == 2


def test_a_trace_is_a_session_unless_the_call_is_all_of_it() -> None:
    alone = exported(span(attributes=BARE))
    inside = exported(span(attributes=BARE, parentSpanId="f" * 16))
    assert call(alone).session is None
    assert call(inside).session == span()["traceId"]


def test_the_same_span_from_two_exporters_is_one_call(tmp_path: Path) -> None:
    other = console_span(0)
    other["context"] = {
        name: f"0x{span()[key]}" for name, key in (("trace_id", "traceId"), ("span_id", "spanId"))
    }
    other |= {"start_time": "2026-11-20T10:00:00Z", "end_time": "2026-11-20T10:00:01.500000Z"}
    path = tmp_path / "spans.jsonl"
    counts = []
    for document in (exported(span(0)), other):
        path.write_bytes(json_lines(document))
        report = import_gateway_log(
            path, tmp_path / "var", encoder=HashEncoder(), reader=read_otel, progress=False
        )
        counts.append((report.n_decisions, report.n_known))
    assert counts == [(1, 0), (0, 1)]


def test_old_attributes_one_for_each_field_are_the_same_conversation() -> None:
    told = BARE | {
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": "Be brief",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": "Fix failing test 0",
        "gen_ai.prompt.2.role": "assistant",
        "gen_ai.prompt.2.tool_calls.0.id": "c0",
        "gen_ai.prompt.2.tool_calls.0.name": "bash",
        "gen_ai.prompt.2.tool_calls.0.arguments": '{"command":"ls"}',
        "gen_ai.prompt.3.role": "tool",
        "gen_ai.prompt.3.tool_call_id": "c0",
        "gen_ai.prompt.3.content": "calc.py",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.finish_reason": "tool_calls",
        "gen_ai.completion.0.tool_calls.0.id": "c1",
        "gen_ai.completion.0.tool_calls.0.name": "bash",
        "gen_ai.completion.0.tool_calls.0.arguments": '{"command": "cat"}',
        "llm.request.functions.0.name": "bash",
        "llm.request.functions.0.description": "Run a command",
        "llm.request.functions.0.parameters": msgspec.json.encode(BASH["parameters"]).decode(),
        "llm.request.type": "chat",
    }
    found = call(exported(span(attributes=told)))
    new = call(exported(span()))
    assert request(found).messages == request(new).messages
    assert request(found).tools == request(new).tools
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (1000, 20)
    (choice,) = msgspec.json.decode(bytes(found.response))["choices"]
    assert choice["finish_reason"] == "tool_calls"


def test_content_may_stand_in_events() -> None:
    each = with_events(
        ("gen_ai.system.message", {"content": "Be brief"}),
        ("gen_ai.user.message", {"content": "Fix it"}),
        ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": '{"content": "Done"}'}),
    )
    whole = with_events(
        ("gen_ai.content.prompt", {"gen_ai.prompt": '[{"role": "user", "content": "Fix it"}]'}),
        ("gen_ai.content.completion", {"gen_ai.completion": '[{"content": "Done"}]'}),
    )
    details = {
        name: value
        for name, value in chat_attributes().items()
        if "messages" in name or "instructions" in name
    }
    newest = with_events(("gen_ai.client.inference.operation.details", details))
    assert request(call(each)).system == "Be brief"
    assert request(call(each)).last_user_text == request(call(whole)).last_user_text == "Fix it"
    assert b"Done" in bytes(call(each).response)
    assert b"Done" in bytes(call(whole).response)
    assert len(request(call(newest)).messages) == 3


def test_a_span_without_content_tells_of_spending() -> None:
    found = call(exported(span(attributes=BARE | {"gen_ai.usage.cost": 0.5})))
    assert (found.has_request, found.without_content, found.cost_usd) == (False, NO_CONTENT, 0.5)


@pytest.mark.parametrize(
    ("counts", "whole"),
    [
        ({"input_tokens": 1000, "output_tokens": 20, "cache_read.input_tokens": 900}, 1000),
        ({"input_tokens": 100, "output_tokens": 20, "cache_read.input_tokens": 900}, 1000),
        (
            {
                "input_tokens": 5000,
                "output_tokens": 20,
                "cache_read_input_tokens": 900,
                "total_tokens": 5920,
            },
            5900,
        ),
        (
            {
                "input_tokens": 5000,
                "output_tokens": 20,
                "cache_read_input_tokens": 900,
                "total_tokens": 5020,
            },
            5000,
        ),
    ],
)
def test_input_that_leaves_out_cached_tokens_is_noticed(counts: dict[str, int], whole: int) -> None:
    told = {"gen_ai.request.model": "m"} | {f"gen_ai.usage.{k}": v for k, v in counts.items()}
    found = call(exported(span(attributes=told)))
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.cached_tokens) == (whole, 900)


def test_errors_are_classes_and_evaluations_of_the_asked_name_judge() -> None:
    failed = exported(span(attributes=BARE | {"error.type": "timeout"}, status={"code": 2}))
    assert call(failed).error == "timeout"
    unnamed = exported(span(attributes=BARE, status={"code": 2, "message": "my secret plan"}))
    assert call(unnamed).error == "error"
    judged = with_events(
        (
            "gen_ai.evaluation.result",
            {"gen_ai.evaluation.name": "quality", "gen_ai.evaluation.score.value": 0.25},
        )
    )
    rule = ScoreRule(names=frozenset({"quality"}))
    assert (call(judged, rule=rule).reward, call(judged).reward) == (0.25, None)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "expected an object"),
        ({"resourceSpans": "none"}, "resourceSpans: expected lists of objects"),
        ({"resourceSpans": [{"scopeSpans": [3]}]}, "resourceSpans: expected lists of objects"),
        (exported(span(startTimeUnixNano="soon")), "startTimeUnixNano: expected ISO 8601"),
        (exported(span(startTimeUnixNano=None)), "startTimeUnixNano: expected ISO 8601"),
        (
            exported(span(attributes={"gen_ai.operation.name": "chat"})),
            "gen_ai.request.model: expected `str`",
        ),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_an_unusable_line_or_span_says_why(document: Any, problem: str) -> None:
    (line,) = found_in(document)
    assert line.call is None
    assert problem in line.problem


def test_of_a_line_of_many_spans_only_the_bad_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    path.write_bytes(json_lines(exported(span(0), span(1, startTimeUnixNano="soon"), span(2))))
    report = import_gateway_log(
        path, tmp_path / "var", encoder=HashEncoder(), reader=read_otel, progress=False
    )
    assert (report.n_lines, report.n_decisions) == (3, 2)
    assert report.quarantine is not None
    (kept,) = report.quarantine.read_bytes().splitlines()
    assert f"{2:016x}" in msgspec.json.decode(kept)["text"]
    assert f"{1:016x}" not in msgspec.json.decode(kept)["text"]
    with Store(tmp_path / "var") as store:
        rows = store.query("select tool_call_valid as valid, model from rounds")
    assert rows == [{"valid": True, "model": "claude-haiku-4-5"}] * 2


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.input.messages": "plain text"},
        {"gen_ai.input.messages": "[1, null, [2]]"},
        {"gen_ai.input.messages": '[{"role": 3, "parts": [null, 4, {"type": 5}]}]'},
        {"gen_ai.input.messages": '[{"parts": [{"type": "blob", "modality": "image"}]}]'},
        {"gen_ai.output.messages": '[{"parts": "none"}]'},
        {"gen_ai.tool.definitions": '[1, {"name": "x", "parameters": "{"}]'},
        {"gen_ai.usage.input_tokens": "many"},
        {"gen_ai.response.finish_reasons": "stop"},
        {"gen_ai.prompt.x.content": "odd", "gen_ai.prompt.1": "odd"},
    ],
)
def test_odd_attributes_never_stop_an_import(tmp_path: Path, attributes: dict[str, Any]) -> None:
    path = tmp_path / "spans.jsonl"
    odd = span(1, attributes=chat_attributes(1, **attributes))
    path.write_bytes(json_lines(exported(span(0), odd)))
    report = import_gateway_log(
        path, tmp_path / "var", encoder=HashEncoder(), reader=read_otel, progress=False
    )
    assert report.n_decisions + sum(report.problems.values()) == 2
