"""The signals of an answer in each of the four formats, from the JSON of both sides."""

import json
from typing import Any

import msgspec
import pytest
from answer_dialects import Said, streamed, whole

from router_data.rewards import AdequacyRule, adequacy
from router_model import formats
from router_model.answers import (
    WIRE_SIGNALS,
    Answer,
    ToolCall,
    read_answer,
    tool_calls_valid,
    wire_signals,
)
from router_model.types import Message, Outcome, Part, Request, ToolSpec, WireFormat

SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "line": {"type": "integer"}},
    "required": ["path"],
    "additionalProperties": False,
}
GOOD, BAD = {"path": "a.py", "line": 3}, {"path": "a.py", "line": "three"}


def body_of(wire_format: WireFormat, *, limit: int | None = None, wants_json: bool = False) -> Any:
    """A request with the tool `read_file`, in the words of a client of that format."""
    make = {
        WireFormat.OPENAI_CHAT: _chat,
        WireFormat.OPENAI_RESPONSES: _responses,
        WireFormat.ANTHROPIC_MESSAGES: _messages,
        WireFormat.GEMINI: _gemini,
    }
    return make[wire_format](limit, SCHEMA if wants_json else None)


def _chat(limit: int | None, schema: Any) -> Any:
    function = {"name": "read_file", "parameters": SCHEMA}
    named = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return {
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": function}],
        "max_tokens": limit,
        "response_format": named if schema else None,
    }


def _responses(limit: int | None, schema: Any) -> Any:
    named = {"format": {"type": "json_schema", "name": "a", "schema": schema}}
    return {
        "input": "x",
        "tools": [{"type": "function", "name": "read_file", "parameters": SCHEMA}],
        "max_output_tokens": limit,
        "text": named if schema else None,
    }


def _messages(limit: int | None, schema: Any) -> Any:
    named = {"format": {"type": "json_schema", "schema": schema}}
    return {
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"name": "read_file", "input_schema": SCHEMA}],
        "max_tokens": limit or 4096,
        "output_config": named if schema else None,
    }


def _gemini(limit: int | None, schema: Any) -> Any:
    config: dict[str, Any] = {"maxOutputTokens": limit}
    if schema:
        config["responseJsonSchema"] = schema
    declared = {"name": "read_file", "parametersJsonSchema": SCHEMA}
    return {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "tools": [{"functionDeclarations": [declared]}],
        "generationConfig": config,
    }


def asked(wire_format: WireFormat, **terms: Any) -> Request:
    body = json.dumps(body_of(wire_format, **terms)).encode()
    return formats.parse(body, wire_format=wire_format)


def answered(wire_format: WireFormat, **said: Any) -> tuple[Answer, Answer]:
    """The same answer, whole and streamed."""
    spoken = Said(**said)
    return (
        read_answer(whole(spoken, wire_format), wire_format=wire_format),
        read_answer(streamed(spoken, wire_format), wire_format=wire_format),
    )


@pytest.mark.parametrize("wire_format", WireFormat)
@pytest.mark.parametrize(
    ("name", "arguments", "is_valid"),
    [("read_file", GOOD, True), ("read_file", BAD, False), ("write_file", GOOD, False)],
)
def test_calls_are_judged_by_the_schemas_of_the_request(
    wire_format: WireFormat, name: str, arguments: dict[str, Any], is_valid: bool
) -> None:
    for answer in answered(wire_format, calls=((name, arguments),)):
        assert tool_calls_valid(asked(wire_format), answer) is is_valid


@pytest.mark.parametrize("wire_format", WireFormat)
def test_one_invalid_call_of_several_is_enough(wire_format: WireFormat) -> None:
    for answer in answered(wire_format, calls=(("read_file", GOOD), ("read_file", BAD))):
        assert tool_calls_valid(asked(wire_format), answer) is False


@pytest.mark.parametrize("wire_format", WireFormat)
@pytest.mark.parametrize(
    ("text", "is_broken"),
    [(json.dumps(GOOD), False), (json.dumps(BAD), True), ("Sure! Here it is", True)],
)
def test_a_structured_answer_is_judged_by_its_schema(
    wire_format: WireFormat, text: str, is_broken: bool
) -> None:
    request = asked(wire_format, wants_json=True)
    for answer in answered(wire_format, text=text):
        assert wire_signals(request, answer)["schema_error"] is is_broken


@pytest.mark.parametrize("wire_format", WireFormat)
def test_a_cut_answer_is_truncated_and_its_json_not_judged(wire_format: WireFormat) -> None:
    request = asked(wire_format, wants_json=True)
    for answer in answered(wire_format, text='{"path": ', end="length"):
        signals = wire_signals(request, answer)
        assert signals["truncated"]
        assert "schema_error" not in signals


@pytest.mark.parametrize("wire_format", WireFormat)
def test_an_answer_without_anything_is_empty(wire_format: WireFormat) -> None:
    request = asked(wire_format)
    for answer in answered(wire_format, text=" \n"):
        assert wire_signals(request, answer)["empty_answer"]
    for answer in answered(wire_format, calls=(("read_file", GOOD),)):
        assert not wire_signals(request, answer)["empty_answer"]


@pytest.mark.parametrize("wire_format", WireFormat)
def test_a_ping_is_no_evidence(wire_format: WireFormat) -> None:
    request = asked(wire_format, limit=1)
    for answer in answered(wire_format, end="length"):
        assert wire_signals(request, answer) == {"refused": False}


@pytest.mark.parametrize(
    ("wire_format", "body"),
    [
        (
            WireFormat.OPENAI_CHAT,
            {"choices": [{"message": {"refusal": "no"}, "finish_reason": "stop"}]},
        ),
        (
            WireFormat.OPENAI_CHAT,
            {"choices": [{"message": {}, "finish_reason": "content_filter"}]},
        ),
        (
            WireFormat.OPENAI_RESPONSES,
            {
                "status": "completed",
                "output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}],
            },
        ),
        (WireFormat.ANTHROPIC_MESSAGES, {"content": [], "stop_reason": "refusal"}),
        (WireFormat.GEMINI, {"candidates": [{"finishReason": "SAFETY"}]}),
        (WireFormat.GEMINI, {"promptFeedback": {"blockReason": "SAFETY"}}),
    ],
)
def test_a_refusal_is_neither_empty_nor_a_broken_schema(
    wire_format: WireFormat, body: dict[str, Any]
) -> None:
    request = asked(wire_format, wants_json=True)
    signals = wire_signals(request, read_answer(body, wire_format=wire_format))
    assert signals == {"refused": True, "truncated": False, "empty_answer": False}


def test_an_error_or_a_cut_stream_gives_no_signals() -> None:
    request = asked(WireFormat.OPENAI_CHAT, wants_json=True)
    assert wire_signals(request, Answer(error="overloaded", is_complete=True)) == {}
    assert wire_signals(request, Answer(text="Hel")) == {}


def make(tools: tuple[ToolSpec, ...], **fields: Any) -> Request:
    return Request(messages=(Message("user", (Part("text", "x"),)),), tools=tools, **fields)


def calling(arguments: str, name: str = "f", kind: Any = "function") -> Answer:
    return Answer(calls=(ToolCall("c", name, arguments, kind),), is_complete=True)


@pytest.mark.parametrize(
    ("tool", "answer", "is_valid"),
    [
        (ToolSpec("f"), calling("{}"), True),
        (ToolSpec("f"), calling(""), True),
        (ToolSpec("f"), calling('{"a": '), False),
        (ToolSpec("f"), calling("[]"), False),
        (ToolSpec("f", schema=b'{"required": ["a"]}'), calling(""), False),
        (ToolSpec("f", schema=b'{"required": 5}'), calling("{}"), None),
        (ToolSpec("f", schema=b"oops"), calling("{}"), None),
        (ToolSpec("f", kind="bash_20250124"), calling('{"command": "ls"}'), None),
        (ToolSpec("f", kind="custom"), calling("*** Begin", kind="custom"), True),
        (ToolSpec("f", kind="custom"), calling("{}"), None),
        (ToolSpec("f"), calling("", "local_shell", "provider"), None),
        (ToolSpec("f"), Answer(text="a", is_complete=True), None),
        (ToolSpec("f"), Answer(calls=(ToolCall("c", "f", '{"a'),)), None),
    ],
)
def test_what_can_not_be_judged_is_neither_valid_nor_invalid(
    tool: ToolSpec, answer: Answer, is_valid: bool | None
) -> None:
    assert tool_calls_valid(make((tool,)), answer) is is_valid


def test_tools_that_a_provider_keeps_are_not_unknown() -> None:
    assert tool_calls_valid(make(()), calling("{}")) is False
    assert tool_calls_valid(make((), has_provider_state=True), calling("{}")) is None


def test_json_mode_asks_for_an_object() -> None:
    request = make((), response_format="json_object")
    for text, is_broken in (("{}", False), ("[]", True), ("", True), ("{", True)):
        answer = Answer(text=text, is_complete=True, finish="stop")
        assert wire_signals(request, answer)["schema_error"] is is_broken


def test_content_of_another_kind_and_pauses_are_not_empty() -> None:
    for answer in (
        Answer(has_other_content=True, is_complete=True),
        Answer(finish="pause", is_complete=True),
    ):
        assert not wire_signals(make(()), answer)["empty_answer"]


@pytest.mark.parametrize("name", WIRE_SIGNALS)
def test_every_signal_has_a_rule_that_can_be_switched_off(name: str) -> None:
    outcome = Outcome(decision_id="d", model="m", signals={name: True})
    assert adequacy(outcome) is False
    assert adequacy(outcome, msgspec.convert({name: 0.0}, AdequacyRule)) is None


def test_the_names_are_those_that_the_rules_know() -> None:
    request = make((), response_format="json_object")
    assert set(wire_signals(request, Answer(text="{}", is_complete=True))) == set(WIRE_SIGNALS)
