"""Anthropic Messages: blocks, split tool results, thinking, cache markers, sessions."""

import json
from typing import Any

import pytest

from router_model import formats
from router_model.errors import InvalidRequestError
from router_model.types import Message, Part, Request, ToolChoice, ToolSpec, WireFormat

USER = {"role": "user", "content": "Hi"}
MARK = {"cache_control": {"type": "ephemeral"}}


def parse(*messages: Any, **fields: Any) -> Request:
    body = {"messages": list(messages) or [USER], **fields}
    return formats.parse(json.dumps(body).encode(), wire_format=WireFormat.ANTHROPIC_MESSAGES)


def user(*blocks: Any) -> Request:
    return parse({"role": "user", "content": list(blocks)})


def test_a_user_message_is_split_into_tool_results_and_the_rest() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "ls", "input": {"path": "."}}
    text = {"type": "text", "text": "Go on"}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "a.py", "is_error": True}
    request = parse(
        {"role": "assistant", "content": [call]}, {"role": "user", "content": [text, result]}
    )
    assert request.messages == (
        Message("assistant", (Part("tool_call", '{"path":"."}', "ls", "t1"),)),
        Message("tool", (Part("tool_result", "a.py", "ls", "t1", is_error=True),)),
        Message("user", (Part("text", "Go on"),)),
    )


def test_a_tool_result_is_flattened_with_images_and_documents_after_it() -> None:
    content = [
        {"type": "text", "text": "one"},
        {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
        {"type": "document", "source": {"type": "text", "data": "page"}},
        {"type": "text", "text": "two"},
        "three",
    ]
    request = user({"type": "tool_result", "tool_use_id": "t", "content": content})
    result = Part("tool_result", "one\ntwo\nthree", call_id="t")
    assert request.messages[0].parts == (result, Part("image"), Part("file", "page"))


@pytest.mark.parametrize("content", [None, "", []])
def test_an_empty_tool_result_is_still_a_result(content: Any) -> None:
    request = user({"type": "tool_result", "tool_use_id": "t", "content": content})
    assert request.messages == (Message("tool", (Part("tool_result", call_id="t"),)),)


def test_bare_text_and_nulls_among_blocks_are_survived() -> None:
    assert user("Hi", None, "there").messages[0].text == "Hi\nthere"


def test_system_blocks_are_joined_and_a_system_role_later_stays_in_place() -> None:
    request = parse(
        {"role": "system", "content": "Two."},
        USER,
        {"role": "system", "content": [{"type": "text", "text": "Late."}]},
        system=[{"type": "text", "text": "One"}, {"type": "text", "text": "and a half."}],
    )
    assert request.system == "One\nand a half.\n\nTwo."
    assert [(m.role, m.text) for m in request.messages] == [("user", "Hi"), ("system", "Late.")]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            {"type": "thinking", "thinking": "Hm", "signature": "A"},
            Part("thinking", "Hm", is_signed=True),
        ),
        ({"type": "thinking", "thinking": "Hm"}, Part("thinking", "Hm")),
        ({"type": "redacted_thinking", "data": "A"}, Part("thinking", is_signed=True)),
        ({"type": "image", "source": {"type": "url", "url": "u"}}, Part("image")),
        ({"type": "document", "source": {"type": "base64", "data": "AAAA"}}, Part("file")),
        ({"type": "document", "source": {"type": "text", "data": "page"}}, Part("file", "page")),
        (
            {
                "type": "document",
                "source": {"type": "content", "content": [{"type": "text", "text": "p"}]},
            },
            Part("file", "p"),
        ),
        ({"type": "document", "source": None}, Part("file")),
        (
            {"type": "search_result", "title": "t", "content": [{"type": "text", "text": "p"}]},
            Part("file", "p"),
        ),
        ({"type": "container_upload", "file_id": "f"}, Part("file")),
        ({"type": "compaction", "content": "so far"}, Part("text", "so far")),
        ({"type": "of_tomorrow"}, Part("file")),
        ({"text": "typeless"}, Part("text", "typeless")),
    ],
)
def test_blocks_become_parts(block: Any, expected: Part) -> None:
    assert parse({"role": "assistant", "content": [block]}).messages[0].parts == (expected,)


@pytest.mark.parametrize(
    ("kind", "content", "text", "is_error"),
    [
        (
            "web_search_tool_result",
            [{"type": "web_search_result", "title": "News", "url": "u"}],
            "News",
            False,
        ),
        (
            "web_search_tool_result",
            {"type": "web_search_tool_result_error", "error_code": "x"},
            "",
            True,
        ),
        (
            "web_fetch_tool_result",
            {
                "type": "web_fetch_result",
                "content": {"type": "document", "source": {"type": "text", "data": "page"}},
            },
            "",
            False,
        ),
        (
            "bash_code_execution_tool_result",
            {"type": "bash_code_execution_result", "stdout": "out", "stderr": "err", "content": []},
            "out\nerr",
            False,
        ),
        (
            "text_editor_code_execution_tool_result",
            {"type": "view", "content": "lines"},
            "lines",
            False,
        ),
        ("mcp_tool_result", [{"type": "text", "text": "ok"}], "ok", False),
    ],
)
def test_server_tools_are_calls_and_results_too(
    kind: str, content: Any, text: str, is_error: bool
) -> None:
    call = {"type": "server_tool_use", "id": "s1", "name": "web", "input": {}}
    result = {"type": kind, "tool_use_id": "s1", "content": content}
    after = {"type": "text", "text": "So."}
    request = parse({"role": "assistant", "content": [call, result, after]})
    assert [message.role for message in request.messages] == ["assistant", "tool", "assistant"]
    found = request.messages[1].parts[0]
    assert (found.kind, found.tool_name, found.text) == ("tool_result", "web", text)
    assert found.is_error == is_error


def test_a_fetched_document_is_a_file_with_its_text() -> None:
    document = {"type": "document", "source": {"type": "text", "data": "page"}}
    content = {"type": "web_fetch_result", "url": "u", "content": document}
    request = user({"type": "web_fetch_tool_result", "tool_use_id": "s", "content": content})
    assert request.messages[0].parts[1] == Part("file", "page")


def test_cache_markers_are_counted_wherever_they_are() -> None:
    marked_text = {"type": "text", "text": "a", **MARK}
    call = {"type": "tool_use", "id": "t", "name": "ls", "input": {}, **MARK}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [marked_text], **MARK}
    request = parse(
        {"role": "assistant", "content": [call]},
        {
            "role": "user",
            "content": [result, marked_text, {"type": "text", "text": "b", "cache_control": None}],
        },
        system=[marked_text],
        tools=[{"name": "ls", **MARK}],
        cache_control={"type": "ephemeral"},
    )
    assert request.n_cache_markers == 7
    marked = [part.has_cache_marker for message in request.messages for part in message.parts]
    assert marked == [True, True, True, True]


def test_tools_of_every_kind_are_listed() -> None:
    tools = [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True},
        {"type": "custom", "name": "g", "input_schema": {}},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "mcp_toolset", "mcp_server_name": "github"},
        {"type": "function", "function": {"name": "h", "parameters": {}}},
    ]
    assert parse(tools=tools).tools == (
        ToolSpec("f", "d", b'{"type":"object"}', is_strict=True),
        ToolSpec("g", "", b"{}"),
        ToolSpec("bash", kind="bash_20250124"),
        ToolSpec("github", kind="mcp_toolset"),
        ToolSpec("h", "", b"{}"),
    )


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, ToolChoice(), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        (
            {"type": "tool", "name": "f", "disable_parallel_tool_use": False},
            ToolChoice("named", "f"),
            True,
        ),
        ({"type": "none"}, ToolChoice("none"), None),
        ("any", ToolChoice("required"), None),
    ],
)
def test_tool_choices(choice: Any, expected: ToolChoice, parallel: bool | None) -> None:
    request = parse(tool_choice=choice)
    assert (request.tool_choice, request.parallel_tool_calls) == (expected, parallel)


@pytest.mark.parametrize(
    ("fields", "thinking", "budget"),
    [
        ({"thinking": {"type": "disabled"}}, "none", None),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, "budget", 4000),
        ({"thinking": {"type": "adaptive"}}, "adaptive", None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, "high", None),
        ({}, None, None),
    ],
)
def test_thinking(fields: Any, thinking: str | None, budget: int | None) -> None:
    request = parse(**fields)
    assert (request.thinking, request.thinking_budget) == (thinking, budget)


@pytest.mark.parametrize("place", ["output_format", "output_config"])
def test_a_schema_for_the_answer_is_strict_in_both_places(place: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    request = parse(**{place: form if place == "output_format" else {"format": form}})
    assert request.response_schema == b'{"type":"object"}'
    assert request.response_format == "json_schema"
    assert request.is_strict_response


@pytest.mark.parametrize(
    ("metadata", "hint"),
    [
        ({"user_id": '{"device_id": "d", "session_id": "s-1"}'}, "s-1"),
        ({"user_id": "user_ab12_account__session_0b8f6f0e-4a57-4c35"}, "0b8f6f0e-4a57-4c35"),
        ({"user_id": "someone@example.com"}, None),
        ({"user_id": "{cut off"}, None),
        ({"user_id": '{"session_id": 5}'}, None),
        ({"user_id": None, "session_id": "plain"}, "plain"),
        ({}, None),
        (None, None),
    ],
)
def test_the_session_is_found_in_the_metadata(metadata: Any, hint: str | None) -> None:
    assert parse(metadata=metadata).session_hint == hint


def test_a_container_is_state_that_the_provider_keeps() -> None:
    assert parse(container="container_1").has_provider_state
    assert not parse().has_provider_state


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": [USER], "system": 5}, "system"),
        ({"messages": [{"role": "user", "content": [{"type": 5}]}]}, "messages[0].content[0].type"),
        ({"messages": [USER], "thinking": {"budget_tokens": "x"}}, "thinking.budget_tokens"),
        ({"messages": [USER], "tools": [{"name": 5}]}, "tools[0].name"),
    ],
)
def test_wrong_types_name_the_field(body: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        formats.parse(json.dumps(body).encode(), wire_format=WireFormat.ANTHROPIC_MESSAGES)
    assert caught.value.field == field
