import json
from typing import Any

import pytest
from answer_dialects import Said, streamed, whole

from router_model.answers import Answer, AnswerStream, read_answer
from router_model.types import WireFormat

CHAT = WireFormat.OPENAI_CHAT


def read(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> Answer:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return read_answer({"choices": [choice], **more}, wire_format=CHAT)


def stream_of(*events: Any) -> AnswerStream:
    stream = AnswerStream(CHAT)
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event)
        stream.feed(f"data: {data}\n\n".encode())
    return stream


def delta(finish: str | None = None, **values: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": values, "finish_reason": finish}]}


def test_text_calls_usage_and_model_are_read() -> None:
    said = Said(text="Hi", calls=(("ls", {"path": "."}),))
    answer = read_answer(whole(said, CHAT), wire_format=CHAT)
    assert (answer.text, answer.finish, answer.raw_finish) == ("Hi", "tool_calls", "tool_calls")
    assert (answer.calls[0].id, answer.calls[0].values) == ("call_0", {"path": "."})
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.cached_tokens) == (100, 40)
    assert answer.model == "m-1"


def test_a_refusal_is_one_whether_said_or_filtered() -> None:
    said = read({"content": None, "refusal": "I can't"})
    assert (said.refusal, said.text) == (True, "I can't")
    assert read({"content": ""}, "content_filter").refusal
    assert stream_of(delta(refusal="I "), delta("stop", refusal="can't")).answer().text == "I can't"


@pytest.mark.parametrize(
    ("raw", "finish"),
    [("length", "length"), ("function_call", "tool_calls"), ("eos", "stop"), ("why", "other")],
)
def test_finish_reasons_have_one_name(raw: str, finish: str) -> None:
    assert read({"content": "a"}, raw).finish == finish


def test_stop_with_calls_means_calls() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert read({"tool_calls": [call]}).finish == "tool_calls"


def test_of_several_answers_the_first_is_read() -> None:
    other = {"index": 1, "delta": {"content": "no"}}
    first = {"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}
    assert stream_of({"choices": [other]}, {"choices": [other, first]}).answer().text == "yes"


def test_whole_calls_of_one_index_stay_apart_where_their_ids_differ() -> None:
    def whole_call(call_id: str) -> dict[str, Any]:
        return {"index": 0, "id": call_id, "function": {"name": "f", "arguments": "{}"}}

    answer = stream_of(delta(tool_calls=[whole_call("a")]), delta(tool_calls=[whole_call("b")]))
    assert [call.id for call in answer.answer().calls] == ["a", "b"]


def test_pieces_without_an_index_belong_to_the_call_in_their_place() -> None:
    first = {"id": "a", "function": {"name": "f", "arguments": '{"a"'}}
    later = {"function": {"arguments": ":1}"}}
    answer = stream_of(delta(tool_calls=[first]), delta(tool_calls=[later])).answer()
    assert [call.values for call in answer.calls] == [{"a": 1}]
    assert answer.n_call_chunks == 2


def test_the_first_complete_call_is_noticed_while_it_streams() -> None:
    stream = AnswerStream(CHAT)
    seen = []
    for line in streamed(Said(calls=(("f", {"a": {"b": 1}}),)), CHAT).split(b"\n\n"):
        stream.feed(line + b"\n\n")
        seen.append(stream.has_complete_call)
    assert seen.index(True) == 4  # the role, the name, and three pieces of arguments
    assert stream.is_terminated


def test_the_old_form_of_a_call_and_custom_tools_are_calls() -> None:
    old = read({"function_call": {"name": "f", "arguments": '{"a":1}'}}, "function_call")
    assert (old.calls[0].name, old.calls[0].values, old.finish) == ("f", {"a": 1}, "tool_calls")
    custom = {"id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    call = read({"tool_calls": [custom]}).calls[0]
    assert (call.kind, call.name, call.arguments) == ("custom", "patch", "*** Begin")


def test_arguments_that_are_no_text_are_no_object() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": {"path": "x"}}}
    assert read({"tool_calls": [call]}).calls[0].values is None


def test_text_in_parts_is_joined_and_pictures_are_noticed() -> None:
    parts = [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "a"}]
    assert read({"content": parts}).text == "a"
    assert read({"content": "", "images": [{"image_url": {}}]}).has_other_content


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "no\ncredits", "code": 402}}, "no credits"),
        ({"error": "plain"}, "plain"),
        ([{"error": {"message": "quota", "status": "RESOURCE_EXHAUSTED"}}], "quota"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"object": "error", "message": "too long", "code": 400}, "too long"),
        ({"error": {"message": "x" * 1000}}, "x" * 300),
        ({"error": {}, "message": "late"}, "late"),
    ],
)
def test_an_error_is_found_in_the_forms_of_servers_and_frameworks(body: Any, message: str) -> None:
    answer = read_answer(json.dumps(body).encode(), wire_format=CHAT)
    assert (answer.error, answer.is_of_format) == (message, True)


def test_an_error_within_a_stream_keeps_what_came_before() -> None:
    answer = stream_of(delta(content="Hel"), {"error": {"message": "overloaded"}}).answer()
    assert (answer.text, answer.error, answer.is_complete) == ("Hel", "overloaded", False)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"3", b"{}", b'{"choices": 1}', b"\xff"])
def test_what_is_no_answer_says_nothing_of_the_model(body: bytes) -> None:
    answer = read_answer(body, wire_format=CHAT)
    assert not answer.is_of_format
    assert answer.error is not None
    assert "not of this format" in answer.error


def test_a_stream_in_which_nothing_came_is_an_error() -> None:
    assert AnswerStream(CHAT).answer().error == "the stream held no event"
    assert stream_of().answer().error == "the stream held no event"


def test_a_last_event_without_its_empty_line_counts() -> None:
    stream = AnswerStream(CHAT)
    stream.feed(b"data: " + json.dumps(delta("stop", content="Hi")).encode())
    assert (stream.answer().text, stream.answer().is_complete) == ("Hi", True)
    stream.feed(b"\n\ndata: [DONE]")
    assert stream.answer().text == "Hi"


def test_an_answer_beyond_all_measure_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router_model.answers.reading.MAX_BYTES", 1000)
    stream = AnswerStream(CHAT)
    for _ in range(100):
        stream.feed(b"data: " + json.dumps(delta(content="a" * 50)).encode() + b"\n\n")
    assert not stream.answer().is_of_format
    assert len(stream.answer().text) < 1000
    assert not read_answer(b" " * 1001, wire_format=CHAT).is_of_format


@pytest.mark.parametrize("form", ["bytes", "text", "decoded", "listed"])
def test_a_body_may_come_as_it_is_or_decoded(form: str) -> None:
    body = whole(Said(text="Hi"), CHAT)
    forms: dict[str, Any] = {
        "bytes": json.dumps(body).encode(),
        "text": json.dumps(body),
        "decoded": body,
        "listed": [body],
    }
    assert read_answer(forms[form], wire_format=CHAT).text == "Hi"


@pytest.mark.parametrize(
    "body", [None, 3, object(), {"a": object()}, {1.5: {}}, "\ud83d", {"a": {3}}]
)
def test_an_object_that_is_no_body_is_no_answer(body: Any) -> None:
    assert not read_answer(body, wire_format=CHAT).is_of_format
