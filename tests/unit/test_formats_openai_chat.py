"""OpenAI Chat Completions, with what compatible clients and servers add."""

import json
from typing import Any

import pytest

from router_model import formats
from router_model.errors import InvalidRequestError
from router_model.types import Message, Part, Request, ToolChoice, ToolSpec, WireFormat

USER = {"role": "user", "content": "Hi"}


def parse(*messages: Any, **fields: Any) -> Request:
    body = {"messages": list(messages) or [USER], **fields}
    return formats.parse(json.dumps(body).encode(), wire_format=WireFormat.OPENAI_CHAT)


def only_message(*messages: Any) -> Message:
    (message,) = parse(*messages).messages
    return message


def test_leading_system_and_developer_text_is_joined_and_later_text_stays_in_place() -> None:
    request = parse(
        {"role": "system", "content": "One."},
        {"role": "developer", "content": [{"type": "text", "text": "Two."}, "Three."]},
        USER,
        {"role": "system", "content": "Late."},
    )
    assert request.system == "One.\n\nTwo.\nThree."
    assert [(m.role, m.text) for m in request.messages] == [("user", "Hi"), ("system", "Late.")]


def test_neighbours_of_one_role_merge_and_empty_text_is_dropped() -> None:
    empty = {"role": "assistant", "content": ""}
    message = only_message(
        USER, empty, {"role": "user", "content": [{"type": "text", "text": ""}, "you"]}
    )
    assert message == Message("user", (Part("text", "Hi"), Part("text", "you")))


def test_content_parts_have_the_kind_of_their_type() -> None:
    content = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "refusal", "refusal": "No."},
        {"type": "of_tomorrow"},
        {"type": "of_tomorrow", "text": "with text"},
        None,
        "bare",
    ]
    parts = only_message({"role": "user", "content": content}).parts
    kinds = ["text", "image", "file", "file", "text", "file", "text", "text"]
    assert [part.kind for part in parts] == kinds
    assert [part.text for part in parts if part.text] == ["Look:", "No.", "with text", "bare"]


def test_calls_may_be_functions_custom_tools_or_the_legacy_single_call() -> None:
    calls = [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{ "a": 1 }'}},
        {"id": "2", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}},
        {"id": "3", "function": {"name": "g", "arguments": {"a": 1}}},
        {"id": "4", "function": {"name": "h", "arguments": ""}},
        {"id": "5", "function": {"name": "i", "arguments": '{"cut'}},
        {"id": "6", "type": "of_tomorrow"},
    ]
    legacy = {"name": "old", "arguments": "{}"}
    message = {"role": "assistant", "content": None, "tool_calls": calls, "function_call": legacy}
    found = [(part.tool_name, part.text, part.call_id) for part in only_message(message).parts]
    assert found == [
        ("old", "{}", ""),
        ("f", '{"a":1}', "1"),
        ("patch", "*** Begin", "2"),
        ("g", '{"a":1}', "3"),
        ("h", "{}", "4"),
        ("i", '{"cut', "5"),
        ("of_tomorrow", "{}", "6"),
    ]


def test_a_tool_result_is_flattened_with_its_images_after_it() -> None:
    content = [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "https://example.com"}},
        {"type": "text", "text": "two"},
    ]
    message = only_message(
        {"role": "tool", "tool_call_id": "c", "name": "shot", "content": content}
    )
    result = Part("tool_result", "one\ntwo", tool_name="shot", call_id="c")
    assert message == Message("tool", (result, Part("image")))


def test_the_legacy_function_role_is_a_tool_result() -> None:
    message = only_message({"role": "function", "name": "old", "content": "42"})
    assert message == Message("tool", (Part("tool_result", "42", tool_name="old"),))


@pytest.mark.parametrize(
    ("field", "text", "is_signed"),
    [
        ({"reasoning_content": "Hm"}, "Hm", False),
        ({"reasoning": "Hm"}, "Hm", False),
        ({"reasoning_text": "Hm", "reasoning_opaque": "AAAA"}, "Hm", True),
        ({"reasoning_opaque": "AAAA"}, "", True),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}, "Hm", False),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "A"}]}, "", True),
        ({"thinking_blocks": [{"thinking": "Hm", "signature": "A"}], "reasoning": "X"}, "Hm", True),
        ({"content": [{"type": "thinking", "thinking": [{"text": "Hm"}]}]}, "Hm", False),
        ({"content": [{"type": "thinking", "thinking": "Hm"}]}, "Hm", False),
        ({"content": [{"type": "reasoning", "thinking": 5}]}, "", False),
    ],
)
def test_reasoning_is_thinking_in_each_spelling(field: Any, text: str, is_signed: bool) -> None:
    message = only_message({"role": "assistant", **field})
    assert message.parts == (Part("thinking", text, is_signed=is_signed),)


def test_a_thought_signature_on_a_call_is_seen() -> None:
    extra = {"extra_content": {"google": {"thought_signature": "AAAA"}}}
    call = {"id": "1", "function": {"name": "f", "arguments": "{}"}, **extra}
    (part,) = only_message({"role": "assistant", "tool_calls": [call]}).parts
    assert part.is_signed


def test_refusals_are_text_and_audio_answers_are_state() -> None:
    request = parse(USER, {"role": "assistant", "refusal": "No.", "audio": {"id": "audio_1"}})
    assert request.messages[1].text == "No."
    assert request.has_provider_state


def test_cache_markers_are_counted_on_parts_messages_and_tools() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    request = parse(
        {"role": "system", "content": [{"type": "text", "text": "S", **mark}]},
        {"role": "user", "content": "Hi", "copilot_cache_control": {"type": "ephemeral"}},
        {"role": "assistant", "content": [{"type": "text", "text": "a", **mark}, "b"]},
        {"role": "tool", "tool_call_id": "c", "content": "r", **mark},
        tools=[{"type": "function", "function": {"name": "f"}, **mark}],
    )
    assert request.n_cache_markers == 5
    marked = [part.has_cache_marker for message in request.messages for part in message.parts]
    assert marked == [True, True, False, True]
    assert request.tools[0].has_cache_marker


def test_tools_of_every_form_are_listed() -> None:
    tools = [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {}, "strict": True},
        },
        {"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}},
        {"name": "flat", "input_schema": {"type": "object"}},
        {"type": "web_search_preview"},
        {"type": "function", "function": {"name": "bare", "parameters": None}},
    ]
    functions = [{"name": "old", "parameters": {"type": "object"}}]
    assert parse(tools=tools, functions=functions).tools == (
        ToolSpec("f", "d", b"{}", is_strict=True),
        ToolSpec("patch", "", b'{"type":"text"}', kind="custom"),
        ToolSpec("flat", "", b'{"type":"object"}'),
        ToolSpec("web_search_preview", kind="web_search_preview"),
        ToolSpec("bare"),
        ToolSpec("old", "", b'{"type":"object"}'),
    )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ("any", ToolChoice("required")),
        ("of_tomorrow", ToolChoice()),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("named", "f")),
        ({"type": "custom", "custom": {"name": "p"}}, ToolChoice("named", "p")),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required"}}, ToolChoice("required")),
        ({"type": "none"}, ToolChoice("none")),
    ],
)
def test_tool_choices(choice: Any, expected: ToolChoice) -> None:
    assert parse(tool_choice=choice).tool_choice == expected


def test_the_legacy_function_call_setting_is_a_tool_choice() -> None:
    assert parse(function_call={"name": "old"}).tool_choice == ToolChoice("named", "old")


def test_settings() -> None:
    request = parse(
        max_tokens=5, max_completion_tokens=7, seed=3, top_p=0.5, stream=True,
        parallel_tool_calls=False, temperature=0,
    )  # fmt: skip
    assert (request.max_output_tokens, request.seed, request.top_p) == (7, 3, 0.5)
    assert (request.stream, request.parallel_tool_calls, request.temperature) == (True, False, 0.0)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, ("text", b"", False)),
        ({"type": "json_object"}, ("json_object", b"", False)),
        (
            {"type": "json_schema", "json_schema": {"schema": {}, "strict": True}},
            ("json_schema", b"{}", True),
        ),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, ("json_schema", b"", False)),
        ({"type": "json_schema", "schema": {}}, ("json_schema", b"{}", False)),
    ],
)
def test_response_formats(form: Any, expected: Any) -> None:
    request = parse(response_format=form)
    assert (
        request.response_format,
        request.response_schema,
        request.is_strict_response,
    ) == expected


@pytest.mark.parametrize(
    ("fields", "thinking", "budget"),
    [
        ({"reasoning_effort": "High"}, "high", None),
        ({"reasoning": {"effort": "low"}}, "low", None),
        ({"reasoning": {"max_tokens": 2000}}, "budget", 2000),
        ({"reasoning": {"enabled": False}}, "none", None),
        ({"reasoning": {"enabled": True}}, "adaptive", None),
        ({"reasoning": {"exclude": True}}, None, None),
        ({"thinking": {"type": "disabled"}}, "none", None),
        ({"thinking": {"type": "enabled", "budget_tokens": 99}}, "budget", 99),
        ({"enable_thinking": True, "thinking_budget": 50}, "budget", 50),
        ({"enable_thinking": True}, "adaptive", None),
        ({"enable_thinking": False}, "none", None),
        ({"thinking_budget": 50}, "budget", 50),
        ({}, None, None),
    ],
)
def test_thinking_is_read_in_each_spelling(fields: Any, thinking: Any, budget: Any) -> None:
    request = parse(**fields)
    assert (request.thinking, request.thinking_budget) == (thinking, budget)


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"prompt_cache_key": "k", "session_id": "s"}, "k"),
        ({"session_id": "s"}, "s"),
        ({"litellm_session_id": "l"}, "l"),
        ({"metadata": {"sessionId": "m"}}, "m"),
        ({"session_id": 5, "metadata": "text"}, None),
    ],
)
def test_session_hints(fields: Any, hint: str | None) -> None:
    assert parse(**fields).session_hint == hint


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": [USER, {"content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x", 5]}]}, "messages[0].content[1]"),
        ({"messages": [USER], "temperature": "hot"}, "temperature"),
        ({"messages": [USER], "tools": [{"function": {"name": []}}]}, "tools[0].function.name"),
        ({"messages": [USER], "max_tokens": 1.5}, "max_tokens"),
    ],
)
def test_wrong_types_name_the_field(body: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        formats.parse(json.dumps(body).encode())
    assert caught.value.field == field


def test_a_role_nobody_documents_counts_as_the_users() -> None:
    assert only_message({"role": "critic", "content": "Hm"}).role == "user"


def test_a_request_with_only_system_text_has_no_messages() -> None:
    request = parse({"role": "system", "content": "Be brief."})
    assert (request.system, request.messages, request.last_user_text) == ("Be brief.", (), "")
