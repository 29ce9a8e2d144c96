from typing import Any

import msgspec
import pytest

from router_data.probe.asks import Ask, Call, Turn
from router_data.probe.client import _message_of, _number_at, estimate_of
from router_data.probe.dialects import Dialect, body_of, headers_of, read_answer, tells_cache
from router_data.probe.findings import READ_FILE, WRITE_FILE
from router_model import formats
from router_model.types import Request, WireFormat

WIRE: dict[Dialect, WireFormat] = {
    "openai": WireFormat.OPENAI_CHAT,
    "anthropic": WireFormat.ANTHROPIC_MESSAGES,
}
CALLS = (
    Call("c1", "read_file", '{"path": "a.py"}'),
    Call("c2", "read_file", '{"path": "b.py"}'),
)
ROUND_TRIP = Ask(
    system="Be short.",
    turns=(
        Turn(role="user", text="Read a.py and b.py"),
        Turn(role="assistant", calls=CALLS),
        Turn(role="tool", text="one", result_of="c1"),
        Turn(role="tool", text="two", result_of="c2"),
    ),
    tools=(READ_FILE, WRITE_FILE),
    tool_choice="read_file",
    stream=True,
    temperature=0.5,
    schema={"type": "object"},
    is_marked=True,
)


def body(ask: Ask, dialect: Dialect) -> dict[str, Any]:
    return body_of(ask, dialect=dialect, model="m", max_tokens=99, limit_name="max_tokens")


def parsed(ask: Ask, dialect: Dialect) -> Request:
    return formats.parse(msgspec.json.encode(body(ask, dialect)), wire_format=WIRE[dialect])


@pytest.mark.parametrize("dialect", WIRE)
def test_a_body_is_read_by_the_router_as_what_was_asked(dialect: Dialect) -> None:
    request = parsed(ROUND_TRIP, dialect)
    assert request.system == "Be short."
    assert [tool.name for tool in request.tools] == ["read_file", "write_file"]
    assert request.tool_choice.name == "read_file"
    assert request.stream
    assert request.max_output_tokens == 99
    assert request.response_format == "json_schema"
    assert request.n_cache_markers == 1
    parts = [part for message in request.messages for part in message.parts]
    assert [(p.kind, p.call_id) for p in parts if p.kind != "text"] == [
        *(("tool_call", "c1"), ("tool_call", "c2")),
        *(("tool_result", "c1"), ("tool_result", "c2")),
    ]


def test_all_results_of_a_turn_are_in_one_message_of_the_messages_format() -> None:
    messages = body(ROUND_TRIP, "anthropic")["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert len(messages[-1]["content"]) == 2


def test_a_seed_and_json_mode_are_sent_where_the_format_has_them() -> None:
    ask = Ask(turns=(Turn(role="user", text="x"),), seed=3, wants_json=True)
    assert body(ask, "openai")["seed"] == 3
    assert body(ask, "openai")["response_format"] == {"type": "json_object"}
    assert "seed" not in body(ask, "anthropic")


@pytest.mark.parametrize("dialect", WIRE)
def test_an_answer_is_sent_back_with_all_that_came_with_it(dialect: Dialect) -> None:
    block = {"type": "thinking", "thinking": "hm", "signature": "s"}
    documents: dict[str, dict[str, Any]] = {
        "openai": {"choices": [{"message": {"role": "assistant", "reasoning_content": "hm"}}]},
        "anthropic": {"content": [block, {"type": "text", "text": "a"}]},
    }
    answer = read_answer(documents[dialect], dialect=dialect)
    ask = Ask(turns=(Turn(role="user", text="x"), Turn(role="assistant", message=answer.message)))
    assert "hm" in str(body(ask, dialect)["messages"][1])


def test_arguments_of_the_wrong_type_have_no_values() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": {"path": "x"}}}
    document = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    assert read_answer(document, dialect="openai").calls[0].values is None
    block = {"type": "tool_use", "id": "a", "name": "f", "input": '{"path": "x"}'}
    answer = read_answer({"content": [block]}, dialect="anthropic")
    assert answer.calls[0].values is None


def test_text_may_come_in_parts() -> None:
    message = {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    document = {"choices": [{"message": message, "finish_reason": "stop"}]}
    assert read_answer(document, dialect="openai").text == "ab"


@pytest.mark.parametrize("dialect", WIRE)
@pytest.mark.parametrize("document", [{}, {"choices": []}, {"choices": 1, "content": 1}])
def test_an_answer_of_another_form_is_a_problem(dialect: Dialect, document: dict[str, Any]) -> None:
    answer = read_answer(document, dialect=dialect)
    assert not answer.is_ok
    assert "not of this format" in answer.problem


def test_an_error_with_status_200_is_one() -> None:
    answer = read_answer({"error": {"message": "no credits"}}, dialect="openai")
    assert not answer.is_ok
    assert "no credits" in answer.error_text


def test_a_usage_that_can_not_be_is_none_at_all() -> None:
    document = {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": -1}}
    assert read_answer(document, dialect="anthropic").usage is None


def test_whether_a_usage_tells_of_caches_depends_on_its_fields() -> None:
    assert tells_cache({"cache_read_input_tokens": 0})
    assert not tells_cache({"input_tokens": 3})
    assert not tells_cache(None)


def test_the_key_is_in_the_headers_of_the_dialect() -> None:
    assert headers_of("openai", "k") == {"authorization": "Bearer k"}
    assert headers_of("openai", None) == {}
    assert headers_of("anthropic", "k")["x-api-key"] == "k"
    assert "x-api-key" not in headers_of("anthropic", None)


def test_the_estimate_counts_all_that_the_model_reads() -> None:
    plain = Ask(turns=(Turn(role="user", text="word " * 500),))
    assert estimate_of(plain) == pytest.approx(505, rel=0.05)
    assert estimate_of(ROUND_TRIP) > 60


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"error": {"message": "no\\nsuch model"}}', "no such model"),
        (b'{"error": "plain"}', '{"error": "plain"}'),
        (b"<html>gone</html>", "<html>gone</html>"),
        (b"\xff", "\ufffd"),
        (b"x" * 1000, "x" * 300),
    ],
)
def test_the_message_of_an_error_is_found_or_its_beginning_kept(
    content: bytes, message: str
) -> None:
    assert _message_of(content) == message


def test_a_number_is_found_by_its_path() -> None:
    assert _number_at({"data": {"usage": 3}}, "data.usage") == 3.0
    assert _number_at({"data": {"usage": True}}, "data.usage") is None
    assert _number_at({"data": 3}, "data.usage") is None
    assert _number_at([], "data") is None
