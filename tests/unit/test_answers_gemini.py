import json
from typing import Any

import pytest
from answer_dialects import Said, gemini_events, whole

from router_model.answers import Answer, AnswerStream, read_answer, tool_calls_valid
from router_model.types import Message, Part, Request, ToolSpec, WireFormat

GEMINI = WireFormat.GEMINI


def read(parts: list[Any], finish: str | None = "STOP", **more: Any) -> Answer:
    candidate = {"content": {"parts": parts}, "finishReason": finish}
    return read_answer({"candidates": [candidate], **more}, wire_format=GEMINI)


def test_text_calls_usage_and_model_are_read() -> None:
    said = Said(text="Hi", calls=(("ls", {"path": "."}),))
    answer = read_answer(whole(said, GEMINI), wire_format=GEMINI)
    assert (answer.text, answer.finish, answer.raw_finish) == ("Hi", "tool_calls", "STOP")
    assert (answer.calls[0].id, answer.calls[0].values) == ("call_0", {"path": "."})
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.cached_tokens) == (100, 40)
    assert answer.model == "m-1"


@pytest.mark.parametrize(
    ("raw", "finish", "is_refusal"),
    [
        ("MAX_TOKENS", "length", False),
        ("SAFETY", "content_filter", True),
        ("RECITATION", "content_filter", True),
        ("PROHIBITED_CONTENT", "content_filter", True),
        ("MALFORMED_FUNCTION_CALL", "malformed_call", False),
        ("LANGUAGE", "other", False),
    ],
)
def test_finish_reasons_have_one_name(raw: str, finish: str, is_refusal: bool) -> None:
    answer = read([], raw)
    assert (answer.finish, answer.refusal, answer.is_complete) == (finish, is_refusal, True)


def test_a_blocked_prompt_is_a_refusal() -> None:
    for reason in ("SAFETY", "OTHER"):
        body = {"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 3}}
        answer = read_answer(body, wire_format=GEMINI)
        assert (answer.refusal, answer.error, answer.is_complete) == (True, None, True)


def test_a_call_that_the_model_wrote_wrongly_is_invalid() -> None:
    request = Request(messages=(Message("user", (Part("text", "x"),)),), tools=(ToolSpec("f"),))
    assert tool_calls_valid(request, read([], "MALFORMED_FUNCTION_CALL")) is False


def test_whole_calls_come_in_chunks_and_each_counts_as_a_piece() -> None:
    stream = AnswerStream(GEMINI)
    for event in gemini_events(Said(calls=(("f", {"a": 1}), ("g", {})))):
        stream.feed(b"data: " + json.dumps(event).encode() + b"\r\n\r\n")
    answer = stream.answer()
    assert [(call.name, call.values) for call in answer.calls] == [("f", {"a": 1}), ("g", {})]
    assert answer.n_call_chunks == 2
    assert stream.has_complete_call


def test_arguments_in_pieces_of_their_own_form_are_not_judged() -> None:
    first = {"functionCall": {"name": "f", "willContinue": True}}
    later = {"functionCall": {"partialArgs": [{"jsonPath": "$.a", "numberValue": 1}]}}
    answer = read([first, later, {"functionCall": {}}])
    assert [(call.name, call.kind) for call in answer.calls] == [("f", "partial")]


def test_an_array_of_events_is_a_stream_even_where_it_is_cut() -> None:
    events = gemini_events(Said(text="Hello"))
    whole_array = json.dumps(events).encode()
    assert read_answer(whole_array, wire_format=GEMINI).text == "Hello"
    stream = AnswerStream(GEMINI)
    stream.feed(whole_array[:-3])
    assert not stream.answer().is_of_format
    stream.feed(whole_array[-3:])
    assert stream.answer().text == "Hello"


def test_an_error_is_found_also_in_an_array() -> None:
    error = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}
    assert read_answer(error, wire_format=GEMINI).error == "quota"
    assert read_answer(json.dumps([error]).encode(), wire_format=GEMINI).error == "quota"


def test_an_answer_may_be_wrapped_and_spelled_in_snake_case() -> None:
    call = {"function_call": {"name": "f", "args": {}}}
    inner = {"candidates": [{"content": {"parts": [call]}, "finish_reason": "STOP"}]}
    answer = read_answer(
        {"response": inner | {"usage_metadata": {"prompt_token_count": 3}}}, wire_format=GEMINI
    )
    assert answer.calls[0].name == "f"
    assert answer.usage is not None
    assert answer.finish == "tool_calls"


def test_thoughts_are_no_text_and_pictures_are_noticed() -> None:
    assert read([{"text": "hm", "thought": True}]).text == ""
    assert read([{"inlineData": {"mimeType": "image/png", "data": "x"}}]).has_other_content
    assert read([{"executableCode": {"code": "1"}}]).has_other_content


@pytest.mark.parametrize("body", [{}, {"candidates": 1}, {"candidates": []}, {"choices": []}])
def test_what_is_no_answer_says_nothing_of_the_model(body: dict[str, Any]) -> None:
    assert not read_answer(body, wire_format=GEMINI).is_of_format
