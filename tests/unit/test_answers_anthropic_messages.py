import json
from typing import Any

import pytest
from answer_dialects import Said, whole

from router_model.answers import Answer, AnswerStream, read_answer
from router_model.types import WireFormat

MESSAGES = WireFormat.ANTHROPIC_MESSAGES


def read(content: list[Any], stop: str | None = "end_turn", **more: Any) -> Answer:
    body = {"type": "message", "content": content, "stop_reason": stop, **more}
    return read_answer(body, wire_format=MESSAGES)


def stream_of(*events: dict[str, Any]) -> AnswerStream:
    stream = AnswerStream(MESSAGES)
    for event in events:
        stream.feed(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    return stream


def block(index: int, **values: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": values}


def test_cached_tokens_are_part_of_the_input() -> None:
    answer = read_answer(whole(Said(text="Hi"), MESSAGES), wire_format=MESSAGES)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.cached_tokens) == (100, 40)


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
    ],
)
def test_stop_reasons_have_one_name(stop: str, finish: str) -> None:
    answer = read([{"type": "text", "text": "a"}], stop)
    assert (answer.finish, answer.refusal) == (finish, finish == "refusal")


def test_an_error_is_one_whole_and_within_a_stream() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert read_answer(error, wire_format=MESSAGES).error == "Overloaded"
    answer = stream_of(block(0, type="text", text="Hel"), error).answer()
    assert (answer.text, answer.error, answer.is_complete) == ("Hel", "Overloaded", False)


def test_thoughts_are_no_text_and_tools_of_the_provider_no_calls() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    assert not read([thought, {"type": "redacted_thinking"}]).has_other_content
    assert read([thought]).text == ""
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    answer = read([search, {"type": "web_search_tool_result", "content": []}])
    assert (answer.calls, answer.has_other_content) == ((), True)


def test_counts_of_a_stream_grow_and_a_later_zero_takes_none_back() -> None:
    start = {"input_tokens": 3, "cache_read_input_tokens": 900, "output_tokens": 1}
    end = {"output_tokens": 7, "input_tokens": 0, "cache_read_input_tokens": None}
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end}
    answer = stream_of({"type": "message_start", "message": {"usage": start}}, stop).answer()
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (903, 7)


def test_a_call_sent_whole_with_its_beginning_is_read() -> None:
    begun = block(0, type="tool_use", id="t", name="f", input={"a": 1})
    stop = {"type": "content_block_stop", "index": 0}
    assert stream_of(begun).has_complete_call
    assert [call.values for call in stream_of(begun, stop).answer().calls] == [{"a": 1}]


def test_a_call_without_arguments_is_complete_when_its_block_ends() -> None:
    begun = block(0, type="tool_use", id="t", name="f", input={})
    assert not stream_of(begun).has_complete_call
    ended = stream_of(begun, {"type": "content_block_stop", "index": 0})
    assert ended.has_complete_call
    assert ended.answer().calls[0].values == {}


def test_input_that_is_no_object_has_no_values() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": '{"a": 1}'}
    assert read([call]).calls[0].values is None


def test_an_event_of_another_form_is_told_from_an_error_of_the_provider() -> None:
    answer = stream_of({"type": "content_block_delta"}).answer()
    assert not answer.is_of_format
    assert "not of this format" in str(answer.error)


@pytest.mark.parametrize("body", [{}, {"content": 1}, {"content": None}])
def test_what_is_no_answer_says_nothing_of_the_model(body: dict[str, Any]) -> None:
    assert not read_answer(body, wire_format=MESSAGES).is_of_format
