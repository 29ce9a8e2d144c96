import json
from typing import Any

import pytest
from answer_dialects import Said, streamed, whole

from router_model.answers import Answer, AnswerStream, read_answer
from router_model.types import WireFormat

RESPONSES = WireFormat.OPENAI_RESPONSES


def read(output: list[Any], status: str = "completed", **more: Any) -> Answer:
    body = {"object": "response", "status": status, "output": output, **more}
    return read_answer(body, wire_format=RESPONSES)


def stream_of(*events: dict[str, Any]) -> Answer:
    stream = AnswerStream(RESPONSES)
    for event in events:
        stream.feed(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    return stream.answer()


def message(**part: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [part]}


def test_text_calls_usage_and_model_are_read() -> None:
    said = Said(text="Hi", calls=(("ls", {"path": "."}),))
    answer = read_answer(whole(said, RESPONSES), wire_format=RESPONSES)
    assert (answer.text, answer.finish, answer.model) == ("Hi", "tool_calls", "m-1")
    assert (answer.calls[0].id, answer.calls[0].values) == ("call_0", {"path": "."})
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.cached_tokens) == (100, 40)


def test_a_refusal_is_one_whole_and_streamed() -> None:
    assert read([message(type="refusal", refusal="I can't")]).refusal
    at = {"output_index": 0, "content_index": 0}
    answer = stream_of(
        {"type": "response.refusal.delta", "delta": "I can't", **at},
        {"type": "response.completed", "response": {"status": "completed", "output": []}},
    )
    assert (answer.refusal, answer.text, answer.is_complete) == (True, "I can't", True)


@pytest.mark.parametrize(
    ("reason", "finish", "is_refusal"),
    [("max_output_tokens", "length", False), ("content_filter", "content_filter", True)],
)
def test_an_incomplete_answer_says_why(reason: str, finish: str, is_refusal: bool) -> None:
    answer = read([], "incomplete", incomplete_details={"reason": reason})
    assert (answer.finish, answer.refusal, answer.is_complete) == (finish, is_refusal, True)


def test_a_failed_answer_is_an_error() -> None:
    error = {"code": "server_error", "message": "try again"}
    assert read([], "failed", error=error).error == "try again"
    failed = {"type": "response.failed", "response": {"status": "failed", "error": error}}
    assert stream_of(failed).error == "try again"
    assert stream_of({"type": "error", "message": "rate limit"}).error == "rate limit"
    assert read([], "cancelled").error == "the answer was cancelled"


def test_an_answer_that_still_runs_is_not_complete() -> None:
    assert not read([], "in_progress").is_complete


def test_items_of_the_end_take_the_place_of_pieces_and_count_once() -> None:
    answer = stream_of(
        {"type": "response.output_text.delta", "delta": "Hel", "output_index": 0},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": message(type="output_text", text="Hello"),
        },
        {
            "type": "response.completed",
            "response": {"output": [message(type="output_text", text="Hello")]},
        },
    )
    assert (answer.text, answer.finish) == ("Hello", "stop")


def test_an_end_without_items_leaves_what_was_streamed() -> None:
    added = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    answer = stream_of(
        {"type": "response.output_item.added", "output_index": 1, "item": added},
        {
            "type": "response.function_call_arguments.delta",
            "output_index": 1,
            "delta": '{"a":1}',
        },
        {"type": "response.completed", "response": {"status": "completed", "output": []}},
    )
    assert [call.values for call in answer.calls] == [{"a": 1}]
    assert answer.n_call_chunks == 1


def test_calls_that_the_client_carries_out_are_told_from_those_of_the_provider() -> None:
    answer = read(
        [
            {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": "*** Begin"},
            {"type": "local_shell_call", "call_id": "b", "action": {"command": ["ls"]}},
            {"type": "web_search_call", "id": "c", "status": "completed"},
        ]
    )
    assert [(call.name, call.kind) for call in answer.calls] == [
        ("patch", "custom"),
        ("local_shell", "provider"),
    ]
    assert answer.has_other_content


def test_the_first_complete_call_is_noticed_while_it_streams() -> None:
    stream = AnswerStream(RESPONSES)
    body = streamed(Said(text="Hi", calls=(("f", {"a": 1}),)), RESPONSES)
    before, _, _ = body.partition(b"event: response.completed")
    stream.feed(before)
    assert stream.has_complete_call
    assert not stream.is_terminated


@pytest.mark.parametrize("body", [{}, {"output": 1}, {"choices": []}])
def test_what_is_no_answer_says_nothing_of_the_model(body: dict[str, Any]) -> None:
    assert not read_answer(body, wire_format=RESPONSES).is_of_format
