import json
from typing import Any

from router_data.probe.asks import Answer
from router_data.probe.dialects import Dialect
from router_data.probe.streams import StreamReader


def read(dialect: Dialect, *events: Any) -> Answer:
    """The answer; events come ten milliseconds apart, the first at 10."""
    reader = StreamReader(dialect)
    for number, event in enumerate(events, start=1):
        data = event if isinstance(event, str) else json.dumps(event)
        reader.take(data, now_ms=10.0 * number)
    return reader.finished()


def delta(**values: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": values}]}


def piece(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    call = {"index": index, "function": {"arguments": arguments} | more}
    return delta(tool_calls=[call])


def json_piece(index: int, text: str) -> dict[str, Any]:
    inner = {"type": "input_json_delta", "partial_json": text}
    return {"type": "content_block_delta", "index": index, "delta": inner}


def block(index: int, **values: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": values}


def test_a_tool_call_is_complete_with_the_piece_that_closes_its_object() -> None:
    events = [
        piece("", name="f"),
        piece('{"a": {"b"'),
        piece(": 1}"),
        piece("}"),
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
        "[DONE]",
    ]
    answer = read("openai", *events)
    assert answer.tool_call_ms == 40.0
    assert answer.calls[0].values == {"a": {"b": 1}}
    assert answer.n_chunks == 3
    assert answer.finish == "tool_calls"
    assert answer.usage is not None
    assert answer.usage.input_tokens == 5
    assert answer.is_terminated


def test_the_first_of_two_calls_counts_as_the_first_complete_one() -> None:
    answer = read("openai", piece("{}", 0, name="f"), piece("{}", 1, name="g"))
    assert answer.tool_call_ms == 10.0
    assert [call.name for call in answer.calls] == ["f", "g"]


def test_a_stream_that_ends_early_says_what_it_lacks() -> None:
    answer = read("openai", delta(content="a"), piece('{"a": 1', name="f"))
    assert answer.text == "a"
    assert answer.tool_call_ms is None
    assert answer.calls[0].values is None
    assert not answer.is_terminated
    assert answer.usage is None


def test_a_call_without_arguments_is_complete_when_its_block_ends() -> None:
    answer = read(
        "anthropic",
        block(0, type="tool_use", id="t", name="f"),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    )
    assert answer.tool_call_ms == 20.0
    assert answer.calls[0].values == {}
    assert answer.is_terminated


def test_the_usage_of_the_messages_format_is_put_together_from_two_events() -> None:
    start = {"input_tokens": 3, "cache_read_input_tokens": 900, "output_tokens": 1}
    answer = read(
        "anthropic",
        {"type": "message_start", "message": {"usage": start}},
        {"type": "ping"},
        block(1, type="tool_use", id="t", name="f"),
        json_piece(1, '{"a"'),
        json_piece(1, ": 1}"),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 7, "input_tokens": None},
        },
    )
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.cached_tokens) == (903, 900)
    assert answer.usage.output_tokens == 7
    assert answer.tool_call_ms == 50.0
    assert answer.n_chunks == 2


def test_an_error_in_a_stream_is_a_problem_with_its_text() -> None:
    for dialect, event in (
        ("openai", {"error": {"message": "overloaded"}}),
        ("anthropic", {"type": "error", "error": {"message": "overloaded"}}),
    ):
        answer = read("openai" if dialect == "openai" else "anthropic", event)
        assert not answer.is_ok
        assert "overloaded" in answer.error_text


def test_events_of_another_form_are_problems_and_no_crash() -> None:
    for event in ("no json", "[]", "3", {"type": "content_block_delta"}, {"choices": [1]}):
        openai, anthropic = read("openai", event), read("anthropic", event)
        assert "not of this format" in openai.problem + anthropic.problem
