"""Input items of the Responses API, one test for each kind."""

import json
from typing import Any

import pytest

from router_model import formats
from router_model.types import Message, Part, Request, WireFormat


def parse(*items: Any, **fields: Any) -> Request:
    body = {"input": list(items) or "Hi", **fields}
    return formats.parse(json.dumps(body).encode(), wire_format=WireFormat.OPENAI_RESPONSES)


def parts(*items: Any) -> list[tuple[str, Part]]:
    return [(message.role, part) for message in parse(*items).messages for part in message.parts]


def test_message_parts_have_the_kind_of_their_type() -> None:
    content = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": {"data": "AAAA"}},
        {"type": "refusal", "refusal": "No."},
        "bare",
        None,
    ]
    found = parts({"role": "user", "content": content})
    kinds = ["text", "image", "file", "file", "text", "text"]
    assert [part.kind for _, part in found] == kinds


def test_reasoning_calls_and_text_of_one_turn_are_one_assistant_message() -> None:
    summary = [{"type": "summary_text", "text": "I look."}]
    request = parse(
        {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "AAAA"},
        {"type": "function_call", "call_id": "c", "name": "ls", "arguments": '{ "path": "." }'},
        {"type": "function_call_output", "call_id": "c", "output": "a.py"},
    )
    assert request.messages == (
        Message(
            "assistant",
            (
                Part("thinking", "I look.", is_signed=True),
                Part("tool_call", '{"path":"."}', "ls", "c"),
            ),
        ),
        Message("tool", (Part("tool_result", "a.py", "ls", "c"),)),
    )


@pytest.mark.parametrize(
    ("item", "name", "arguments"),
    [
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"},
            "patch",
            "*** Begin",
        ),
        (
            {"type": "local_shell_call", "call_id": "c", "action": {"command": ["ls"]}},
            "local_shell",
            '{"command":["ls"]}',
        ),
        (
            {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
            "shell",
            '{"commands":["ls"]}',
        ),
        (
            {"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file"}},
            "apply_patch",
            '{"type":"delete_file"}',
        ),
        (
            {"type": "computer_call", "call_id": "c", "action": {"type": "wait"}},
            "computer",
            '{"type":"wait"}',
        ),
        (
            {"type": "web_search_call", "id": "c", "action": {"query": "q"}},
            "web_search",
            '{"query":"q"}',
        ),
        (
            {"type": "file_search_call", "id": "c", "queries": ["q"], "results": []},
            "file_search",
            '["q"]',
        ),
        (
            {"type": "code_interpreter_call", "id": "c", "code": "print(1)", "outputs": []},
            "code_interpreter",
            "print(1)",
        ),
        (
            {"type": "tool_search_call", "call_id": "c", "arguments": {"query": "q"}},
            "tool_search",
            '{"query":"q"}',
        ),
        ({"type": "mcp_call", "id": "c", "name": "issues", "arguments": "{}"}, "issues", "{}"),
    ],
)
def test_calls_of_every_tool_type(item: Any, name: str, arguments: str) -> None:
    assert parts(item) == [("assistant", Part("tool_call", arguments, name, "c"))]


@pytest.mark.parametrize(
    ("item", "text", "kinds"),
    [
        (
            {
                "type": "function_call_output",
                "output": [{"type": "input_text", "text": "a"}, {"type": "input_image"}],
            },
            "a",
            ["image"],
        ),
        ({"type": "custom_tool_call_output", "output": "done"}, "done", []),
        ({"type": "local_shell_call_output", "output": "{}"}, "{}", []),
        (
            {
                "type": "shell_call_output",
                "output": [{"stdout": "out", "stderr": "err", "outcome": {}}],
            },
            "out\nerr",
            [],
        ),
        ({"type": "shell_call_output", "output": [{"stdout": "", "stderr": ""}]}, "", []),
        ({"type": "apply_patch_call_output", "status": "completed"}, "", []),
        (
            {
                "type": "computer_call_output",
                "output": {"type": "computer_screenshot", "image_url": "u"},
            },
            "",
            ["image"],
        ),
        ({"type": "function_call_output", "output": None}, "", []),
    ],
)
def test_outputs_of_every_tool_type(item: Any, text: str, kinds: list[str]) -> None:
    found = parts({**item, "call_id": "c"})
    assert found[0] == ("tool", Part("tool_result", text, call_id="c"))
    assert [part.kind for _, part in found[1:]] == kinds


def test_a_hosted_call_that_holds_its_output_is_call_and_result() -> None:
    item = {"type": "mcp_call", "id": "m", "name": "issues", "arguments": "{}"}
    call = ("assistant", Part("tool_call", "{}", "issues", "m"))
    done = Part("tool_result", "two", "issues", "m")
    failed = Part("tool_result", '{"code":404}', "issues", "m", is_error=True)
    assert parts({**item, "output": "two"}) == [call, ("tool", done)]
    assert parts({**item, "error": {"code": 404}}) == [call, ("tool", failed)]


def test_a_generated_image_is_an_image() -> None:
    item = {"type": "image_generation_call", "id": "i", "result": "AAAA"}
    assert [part.kind for _, part in parts(item)] == ["tool_call", "tool_result", "image"]


def test_a_compaction_is_signed_thinking() -> None:
    item = {"type": "compaction", "encrypted_content": "AAAA"}
    assert parts(item) == [("assistant", Part("thinking", is_signed=True))]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "mcp_list_tools", "server_label": "s", "tools": []},
        {"type": "mcp_approval_request", "id": "a", "arguments": "{}"},
        {"type": "mcp_approval_response", "approve": True},
        {"type": "of_tomorrow"},
    ],
)
def test_items_that_say_nothing_are_passed_over(item: Any) -> None:
    assert parts({"role": "user", "content": "Hi"}, item) == [("user", Part("text", "Hi"))]


def test_an_unknown_item_with_text_is_kept() -> None:
    item = {"type": "agent_message", "content": [{"type": "input_text", "text": "done"}]}
    assert parts(item) == [("user", Part("text", "done"))]


def test_a_message_of_role_tool_is_a_result() -> None:
    item = {"type": "message", "role": "tool", "call_id": "c", "name": "ls", "content": "a.py"}
    assert parts(item) == [("tool", Part("tool_result", "a.py", "ls", "c"))]


def test_cache_markers_that_gateways_add_are_counted() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    request = parse(
        {"role": "user", "content": [{"type": "input_text", "text": "Hi", **mark}]},
        {"role": "assistant", "content": "Well.", **mark},
        {"type": "function_call_output", "call_id": "c", "output": "ok", **mark},
    )
    assert request.n_cache_markers == 3
    assert all(message.parts[0].has_cache_marker for message in request.messages)
