"""Laws of reading answers that hold for every answer, every cut of a stream and any bytes."""

import copy
import json
from itertools import pairwise
from typing import Any

import pytest
from answer_dialects import Said, gemini_events, streamed, whole
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from router_model.answers import (
    WIRE_SIGNALS,
    Answer,
    AnswerStream,
    read_answer,
    tool_calls_valid,
    wire_signals,
)
from router_model.answers.schemas import fits
from router_model.types import Message, Part, Request, ToolSpec, WireFormat

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | words
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
arguments = st.dictionaries(
    names, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words, max_size=3
)
formats = st.sampled_from(list(WireFormat))
answers = st.builds(
    Said,
    text=words,
    calls=st.lists(st.tuples(names, arguments), max_size=3).map(tuple),
    end=st.sampled_from(["", "length"]),
    tokens=st.tuples(st.integers(50, 10**6), st.integers(0, 50), st.integers(0, 10**5)),
    model=names,
    pieces=st.integers(1, 9),
)
# Names and values of real answers, so that random JSON gets past the first check.
# fmt: off
FIELDS = [
    "type", "choices", "message", "delta", "content", "tool_calls", "function", "name", "arguments",
    "index", "id", "finish_reason", "usage", "prompt_tokens", "output", "item", "response", "input",
    "output_index", "content_index", "content_block", "partial_json", "stop_reason", "candidates",
    "parts", "text", "functionCall", "args", "finishReason", "promptFeedback", "blockReason",
    "usageMetadata", "promptTokenCount", "error", "status", "incomplete_details", "reason",
    "refusal", "partialArgs", "willContinue", "call_id", "custom", "function_call",
    "prompt_tokens_details", "properties", "required", "items", "anyOf", "$ref", "$defs", "enum",
    "minimum", "uniqueItems",
]
VALUES = [
    "message_start", "content_block_start", "content_block_delta", "content_block_stop",
    "message_delta", "message_stop", "text", "tool_use", "text_delta", "input_json_delta", "error",
    "response.created", "response.completed", "response.output_item.added",
    "response.output_item.done", "response.output_text.delta", "output_text", "refusal",
    "response.function_call_arguments.delta", "function_call", "custom_tool_call", "completed",
    "incomplete", "failed", "stop", "SAFETY", "object", "string", "#", "#/$defs/a",
    "http://127.0.0.1:9/", "{}", "",
]
# fmt: on
leaves = scalars | st.sampled_from(VALUES)
keyed = st.sampled_from(FIELDS) | names
odd_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keyed, inner, max_size=5),
    max_leaves=25,
)
odd_objects = st.dictionaries(keyed, odd_values, max_size=6)


ASKED = Request(
    messages=(Message("user", (Part("text", "x"),)),),
    tools=(ToolSpec("f", schema=b'{"type":"object"}'),),
    response_format="json_object",
)


def chunks(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in pairwise(places)]


def read_stream(pieces: list[bytes], wire_format: WireFormat) -> Answer:
    stream = AnswerStream(wire_format)
    for piece in pieces:
        stream.feed(piece)
    return stream.answer()


def without_counts(answer: Answer) -> Answer:
    """Calls come in pieces only where they are streamed."""
    return replace(answer, n_call_chunks=0)


@given(answers, formats)
def test_what_was_said_is_read(said: Said, wire_format: WireFormat) -> None:
    answer = read_answer(whole(said, wire_format), wire_format=wire_format)
    assert answer.text == said.text
    assert [(call.name, call.values) for call in answer.calls] == [*said.calls]
    assert answer.finish == {"calls": "tool_calls"}.get(said.kind, said.kind)
    assert answer.usage is not None
    usage = (answer.usage.input_tokens, answer.usage.cached_tokens, answer.usage.output_tokens)
    assert usage == said.tokens
    assert (answer.model, answer.error, answer.is_complete) == (said.model, None, True)


@given(answers, formats)
def test_a_stream_says_what_the_whole_says(said: Said, wire_format: WireFormat) -> None:
    read = read_stream([streamed(said, wire_format)], wire_format)
    assert without_counts(read) == read_answer(whole(said, wire_format), wire_format=wire_format)


@given(answers, formats, st.lists(st.integers(0, 10**6), max_size=20), st.booleans())
def test_where_a_stream_is_cut_into_chunks_does_not_matter(
    said: Said, wire_format: WireFormat, cuts: list[int], with_returns: bool
) -> None:
    body = streamed(said, wire_format)
    if with_returns:
        body = b"\xef\xbb\xbf: comment\r\n\r\n" + body.replace(b"\n", b"\r\n")
    expected = read_stream([streamed(said, wire_format)], wire_format)
    assert read_stream(chunks(body, cuts), wire_format) == expected
    assert read_stream([bytes([byte]) for byte in body], wire_format) == expected


@given(answers, st.lists(st.integers(0, 10**6), max_size=20))
def test_an_array_of_events_says_what_the_stream_says(said: Said, cuts: list[int]) -> None:
    body = json.dumps(gemini_events(said), indent=1).encode()
    read = read_stream(chunks(body, cuts), WireFormat.GEMINI)
    expected = read_stream([streamed(said, WireFormat.GEMINI)], WireFormat.GEMINI)
    assert without_counts(read) == without_counts(expected)


@given(answers, formats, st.integers(0, 10**6))
def test_a_stream_that_is_cut_says_no_more_than_the_whole(
    said: Said, wire_format: WireFormat, end: int
) -> None:
    body = streamed(said, wire_format)
    answer = read_stream([body[: end % (len(body) + 1)]], wire_format)
    assert said.text.startswith(answer.text)
    assert answer.is_of_format or answer.error == "the stream held no event"
    assert [call.name for call in answer.calls] == [name for name, _ in said.calls][
        : len(answer.calls)
    ]


@given(answers, formats)
def test_asking_for_the_answer_so_far_changes_nothing(said: Said, wire_format: WireFormat) -> None:
    body = streamed(said, wire_format)
    stream = AnswerStream(wire_format)
    for piece in chunks(body, list(range(0, len(body), 31))):
        stream.feed(piece)
        stream.answer()
    assert stream.answer() == read_stream([body], wire_format)


@given(st.binary(max_size=200), formats, st.lists(st.integers(0, 200), max_size=5))
@example(b"data: [DONE]", WireFormat.GEMINI, [])
@example(b"[" * 100_000, WireFormat.GEMINI, [])
@example(b'{"choices":' * 5_000, WireFormat.OPENAI_CHAT, [])
@example(b"data: " + b"[" * 100_000 + b"\n\n", WireFormat.OPENAI_CHAT, [])
@example(b'{"usage":' + b"[" * 900 + b"]" * 900 + b"}", WireFormat.OPENAI_CHAT, [])
@example(b'data: {"usage":{"a":' + b"[" * 900 + b"]" * 900 + b"}}", WireFormat.OPENAI_CHAT, [])
@example(b'{"error":' + b"9" * 5_000 + b"}", WireFormat.OPENAI_CHAT, [])
@example(b'{"choices":[{"message":{"content":"\\ud83d"}}]}', WireFormat.OPENAI_CHAT, [])
def test_any_bytes_give_an_answer(body: bytes, wire_format: WireFormat, cuts: list[int]) -> None:
    assert isinstance(read_answer(body, wire_format=wire_format), Answer)
    stream = AnswerStream(wire_format)
    for piece in chunks(body, cuts):
        stream.feed(piece)
    assert isinstance(stream.answer(), Answer)


@given(odd_objects, st.lists(odd_objects, max_size=6), formats)
def test_any_json_gives_an_answer(
    document: dict[str, Any], events: list[dict[str, Any]], wire_format: WireFormat
) -> None:
    assert isinstance(read_answer(document, wire_format=wire_format), Answer)
    stream = AnswerStream(wire_format)
    for event in events:
        stream.take(event)
    assert isinstance(stream.answer(), Answer)


@given(answers, formats, st.lists(st.tuples(st.integers(0, 999), odd_values), max_size=3))
def test_a_real_answer_with_odd_values_in_it_gives_an_answer(
    said: Said, wire_format: WireFormat, odd: list[tuple[int, Any]]
) -> None:
    document = whole(said, wire_format)
    lines = [
        line for line in streamed(said, wire_format).split(b"\n") if line.startswith(b"data: {")
    ]
    events = [json.loads(line.removeprefix(b"data: ")) for line in lines]
    for place, value in odd:
        replace_nth(document, place, value)
        replace_nth(events[place % len(events)], place, value)
    answer = read_answer(document, wire_format=wire_format)
    stream = AnswerStream(wire_format)
    for event in events:
        stream.take(event)
    for read in (answer, stream.answer()):
        assert isinstance(read, Answer)
        assert tool_calls_valid(ASKED, read) in (True, False, None)
        assert set(wire_signals(ASKED, read)) <= set(WIRE_SIGNALS)


def replace_nth(document: Any, place: int, value: Any) -> None:
    """Put a value in the place of one of those in a document, whichever has this number."""
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        node = waiting.pop()
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, inner in pairs:
            places.append((node, key))
            if isinstance(inner, dict | list):
                waiting.append(inner)
    if places:
        node, key = places[place % len(places)]
        node[key] = copy.deepcopy(value)  # put into itself it would never end


@given(odd_objects, json_values)
def test_any_schema_of_a_client_gives_a_verdict_or_none(schema: dict[str, Any], value: Any) -> None:
    raw = json.dumps(schema, allow_nan=False, default=str) if _is_finite(schema) else "{}"
    request = Request(
        messages=(Message("user", (Part("text", "x"),)),),
        tools=(ToolSpec("f", schema=raw.encode()),),
        response_format="json_schema",
        response_schema=raw.encode(),
    )
    assert fits(value, raw.encode()) in (True, False, None)
    for wire_format in WireFormat:
        said = Said(calls=(("f", {"a": 1}),), text="{}")
        answer = read_answer(whole(said, wire_format), wire_format=wire_format)
        assert tool_calls_valid(request, answer) in (True, False, None)
        text_only = read_answer(whole(Said(text="{}"), wire_format), wire_format=wire_format)
        assert set(wire_signals(request, text_only).values()) <= {True, False}


def _is_finite(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("wire_format", WireFormat)
def test_a_body_sent_whole_to_who_asked_for_a_stream_is_read(wire_format: WireFormat) -> None:
    said = Said(text="Hi", calls=(("f", {"a": 1}),))
    body = json.dumps(whole(said, wire_format)).encode()
    assert read_stream([body[:9], body[9:]], wire_format) == read_answer(
        body, wire_format=wire_format
    )
    events = streamed(said, wire_format)
    assert read_answer(events, wire_format=wire_format) == read_stream([events], wire_format)
