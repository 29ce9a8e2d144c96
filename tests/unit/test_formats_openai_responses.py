"""OpenAI Responses: instructions, tools, settings and kept state."""

import json
from typing import Any

import pytest

from router_model import formats
from router_model.errors import InvalidRequestError
from router_model.types import Message, Part, Request, ToolChoice, ToolSpec, WireFormat


def parse(*items: Any, **fields: Any) -> Request:
    body = {"input": list(items) or "Hi", **fields}
    return formats.parse(json.dumps(body).encode(), wire_format=WireFormat.OPENAI_RESPONSES)


def test_plain_text_input_is_one_user_message() -> None:
    assert parse().messages == (Message("user", (Part("text", "Hi"),)),)


def test_instructions_and_leading_developer_items_are_the_system_text() -> None:
    request = parse(
        {"role": "developer", "content": "Two."},
        {
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": "Three."}],
        },
        {"role": "user", "content": "Hi"},
        {"role": "developer", "content": "Late."},
        instructions="One.",
    )
    assert request.system == "One.\n\nTwo.\n\nThree."
    assert [(m.role, m.text) for m in request.messages] == [("user", "Hi"), ("system", "Late.")]


def test_instructions_may_be_items() -> None:
    assert parse(instructions=[{"role": "developer", "content": "One."}]).system == "One."


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": {"id": "conv_1"}},
        {"conversation": "conv_1"},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"id": "msg_1"}]},
    ],
)
def test_kept_state_is_flagged_and_needs_no_input(fields: Any) -> None:
    request = formats.parse(json.dumps({"model": "m", **fields}).encode())
    assert request.has_provider_state
    assert request.messages == ()


def test_tools_of_every_kind_are_listed_and_namespaces_flattened() -> None:
    function = {"type": "function", "name": "f", "parameters": {}, "strict": True}
    inner = {"type": "function", "name": "g", "parameters": {"type": "object"}}
    tools = [
        function,
        {"type": "namespace", "name": "team", "tools": [inner]},
        {"type": "custom", "name": "patch", "format": {"type": "grammar"}},
        {"type": "web_search", "external_web_access": True},
        {"type": "mcp", "server_label": "github"},
    ]
    request = parse({"type": "additional_tools", "tools": [inner]}, tools=tools)
    assert request.tools == (
        ToolSpec("f", "", b"{}", is_strict=True),
        ToolSpec("g", "", b'{"type":"object"}'),
        ToolSpec("patch", "", b'{"type":"grammar"}', kind="custom"),
        ToolSpec("web_search", kind="web_search"),
        ToolSpec("github", kind="mcp"),
        ToolSpec("g", "", b'{"type":"object"}'),
    )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "f"}, ToolChoice("named", "f")),
        ({"type": "custom", "name": "p"}, ToolChoice("named", "p")),
        ({"type": "web_search"}, ToolChoice("named", "web_search")),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, ToolChoice("required")),
        ({"type": "allowed_tools", "tools": []}, ToolChoice()),
        ({"type": "none"}, ToolChoice("none")),
    ],
)
def test_tool_choices(choice: Any, expected: ToolChoice) -> None:
    assert parse(tool_choice=choice).tool_choice == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, ("text", b"", False)),
        ({"type": "json_object"}, ("json_object", b"", False)),
        ({"type": "json_schema", "schema": {}, "strict": True}, ("json_schema", b"{}", True)),
        (None, ("text", b"", False)),
    ],
)
def test_response_formats(form: Any, expected: Any) -> None:
    found = parse(text={"format": form, "verbosity": "low"})
    assert (found.response_format, found.response_schema, found.is_strict_response) == expected


@pytest.mark.parametrize(
    ("reasoning", "thinking"),
    [({"effort": "XHigh"}, "xhigh"), ({"effort": None}, None), ({"summary": "auto"}, None)],
)
def test_the_effort_is_read(reasoning: Any, thinking: str | None) -> None:
    assert parse(reasoning=reasoning).thinking == thinking


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"prompt_cache_key": "k", "conversation": "c"}, "k"),
        ({"conversation": {"id": "c"}}, "c"),
        ({"client_metadata": {"thread_id": "t"}}, "t"),
        ({"client_metadata": {"session_id": "s", "thread_id": "t"}}, "s"),
        ({"metadata": {"session_id": "m"}, "client_metadata": "text"}, "m"),
        ({}, None),
    ],
)
def test_session_hints(fields: Any, hint: str | None) -> None:
    assert parse(**fields).session_hint == hint


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
        ({"input": ["x", {"role": "user", "content": 5}]}, "input[1].content"),
        ({"input": "x", "text": {"format": 5}}, "text.format"),
        ({"input": "x", "instructions": 5}, "instructions"),
        (
            {"input": [{"type": "tool_search_output", "tools": [{"name": 5}]}]},
            "input[0].tools[0].name",
        ),
    ],
)
def test_wrong_types_name_the_field(body: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        formats.parse(json.dumps(body).encode())
    assert caught.value.field == field
