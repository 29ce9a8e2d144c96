"""Gemini generateContent: parts of every kind, both spellings, settings."""

import json
from typing import Any

import msgspec
import pytest

from router_model import formats
from router_model.errors import InvalidRequestError
from router_model.types import Message, Part, Request, ToolChoice, ToolSpec, WireFormat

USER = {"role": "user", "parts": [{"text": "Hi"}]}


def parse(*contents: Any, **fields: Any) -> Request:
    body = {"contents": list(contents) or [USER], **fields}
    return formats.parse(json.dumps(body).encode(), wire_format=WireFormat.GEMINI)


def model(*parts: Any) -> tuple[Part, ...]:
    (message,) = parse({"role": "model", "parts": list(parts)}).messages
    assert message.role == "assistant"
    return message.parts


def test_model_and_streaming_come_from_the_path() -> None:
    body = json.dumps({"contents": [USER]}).encode()
    path = "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    request = formats.parse(body, path=path)
    assert (request.requested_model, request.stream) == ("gemini-2.5-pro", True)
    whole = formats.parse(body, path=path.replace("streamG", "g"))
    assert (whole.requested_model, whole.stream) == ("gemini-2.5-pro", False)
    assert parse(model="models/gemini-2.5-pro").requested_model == "gemini-2.5-pro"


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
@pytest.mark.parametrize(
    "value",
    [
        "Be brief.",
        {"parts": [{"text": "Be brief."}]},
        {"role": "user", "parts": {"text": "Be brief."}},
    ],
)
def test_the_system_instruction_is_read_in_each_form(name: str, value: Any) -> None:
    assert parse(**{name: value}).system == "Be brief."


@pytest.mark.parametrize(
    "contents",
    [
        {"parts": {"text": "Hi"}},
        [{"parts": [{"text": "Hi"}]}],
        [{"role": "user", "parts": ["Hi"]}],
        ["Hi"],
        [{"role": "user", "parts": [{"text": ""}]}, USER, {"role": "model", "parts": None}],
    ],
)
def test_contents_may_leave_out_role_and_lists(contents: Any) -> None:
    request = formats.parse(json.dumps({"contents": contents}).encode())
    assert request.messages == (Message("user", (Part("text", "Hi"),)),)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"text": "Hm", "thought": True}, Part("thinking", "Hm")),
        (
            {"text": "Hm", "thought": True, "thoughtSignature": "A"},
            Part("thinking", "Hm", is_signed=True),
        ),
        ({"thoughtSignature": "A"}, Part("thinking", is_signed=True)),
        ({"text": "So", "thought_signature": "A"}, Part("text", "So", is_signed=True)),
        ({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}, Part("image")),
        ({"inline_data": {"mime_type": "image/png", "data": "AAAA"}}, Part("image")),
        ({"fileData": {"mimeType": "application/pdf", "fileUri": "u"}}, Part("file")),
        ({"file_data": {"mime_type": "image/jpeg", "file_uri": "u"}}, Part("image")),
        ({"ofTomorrow": {}}, Part("file")),
        (
            {"functionCall": {"name": "ls", "args": {"path": "."}}},
            Part("tool_call", '{"path":"."}', "ls"),
        ),
        ({"function_call": {"name": "ls", "id": "c"}}, Part("tool_call", "{}", "ls", "c")),
        (
            {"functionCall": {"name": "ls"}, "thoughtSignature": "A"},
            Part("tool_call", "{}", "ls", is_signed=True),
        ),
        (
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            Part("tool_call", '{"language":"PYTHON","code":"1"}', "code_execution"),
        ),
        (
            {"toolCall": {"toolType": "GOOGLE_SEARCH", "args": {"q": 1}, "id": "t"}},
            Part("tool_call", '{"q":1}', "google_search", "t"),
        ),
    ],
)
def test_the_models_parts(part: Any, expected: Part) -> None:
    assert model(part) == (expected,)


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "2 passed"}, "2 passed", False),
        ({"result": "2 passed"}, "2 passed", False),
        ({"error": "no such file"}, "no such file", True),
        ({"error": {"code": 5}}, '{"error":{"code":5}}', True),
        ({"output": "a", "exit_code": 0}, '{"output":"a","exit_code":0}', False),
        ({"output": {"n": 1}}, '{"output":{"n":1}}', False),
        ({}, "", False),
        (None, "", False),
        ("bare", "bare", False),
        ([1], "[1]", False),
    ],
)
def test_function_responses(response: Any, text: str, is_error: bool) -> None:
    part = {"functionResponse": {"id": "c", "name": "run", "response": response}}
    expected = Part("tool_result", text, "run", "c", is_error=is_error)
    assert parse({"role": "user", "parts": [part]}).messages == (Message("tool", (expected,)),)


@pytest.mark.parametrize("role", ["user", "function", "tool"])
def test_responses_come_before_the_users_words_with_their_images(role: str) -> None:
    blob = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    answer = {"function_response": {"name": "shot", "response": {"output": "ok"}, "parts": [blob]}}
    request = parse({"role": role, "parts": [{"text": "Go on"}, answer]})
    result = Part("tool_result", "ok", "shot")
    assert request.messages == (
        Message("tool", (result, Part("image"))),
        Message("user", (Part("text", "Go on"),)),
    )


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
            Part("tool_result", "1", "code_execution"),
        ),
        (
            {"code_execution_result": {"outcome": "OUTCOME_FAILED", "output": "E"}},
            Part("tool_result", "E", "code_execution", is_error=True),
        ),
        (
            {"toolResponse": {"toolType": "GOOGLE_SEARCH", "response": {"n": 1}}},
            Part("tool_result", '{"n":1}', "google_search"),
        ),
    ],
)
def test_results_of_tools_that_google_runs(part: Any, expected: Part) -> None:
    request = parse({"role": "model", "parts": [part]})
    assert request.messages == (Message("tool", (expected,)),)


def test_a_system_role_later_stays_in_place() -> None:
    request = parse(USER, {"role": "system", "parts": [{"text": "Late."}]})
    assert [(m.role, m.text) for m in request.messages] == [("user", "Hi"), ("system", "Late.")]


def test_tools_of_every_kind_are_listed_with_lower_case_types() -> None:
    upper = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "description": "OBJECT"}}}
    lower = {"type": "object", "properties": {"a": {"type": "string", "description": "OBJECT"}}}
    tools = [
        {"functionDeclarations": [{"name": "f", "description": "d", "parameters": upper}]},
        {"function_declarations": [{"name": "g", "parametersJsonSchema": lower}, {"name": "h"}]},
        {"googleSearch": {}, "url_context": {}},
        {"codeExecution": {}},
    ]
    request = parse(tools=tools)
    assert [json.loads(tool.schema or b"null") for tool in request.tools[:3]] == [
        lower,
        lower,
        None,
    ]
    assert [(tool.name, tool.kind) for tool in request.tools] == [
        ("f", "function"),
        ("g", "function"),
        ("h", "function"),
        ("google_search", "google_search"),
        ("url_context", "url_context"),
        ("code_execution", "code_execution"),
    ]
    assert request.tools[1] == ToolSpec("g", "", msgspec.json.encode(lower))


@pytest.mark.parametrize(
    ("calling", "expected"),
    [
        ({"mode": "AUTO"}, ToolChoice()),
        ({"mode": "VALIDATED"}, ToolChoice()),
        ({"mode": "none"}, ToolChoice("none")),
        ({"mode": "ANY"}, ToolChoice("required")),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice("named", "f")),
        ({"mode": "ANY", "allowed_function_names": ["f", "g"]}, ToolChoice("required")),
        (None, ToolChoice()),
    ],
)
def test_tool_choices_in_both_spellings(calling: Any, expected: ToolChoice) -> None:
    camel = parse(toolConfig={"functionCallingConfig": calling})
    snake = parse(tool_config={"function_calling_config": calling})
    assert camel.tool_choice == snake.tool_choice == expected


def test_generation_settings_in_both_spellings() -> None:
    camel = {"temperature": 0, "seed": 3, "topP": 0.5, "maxOutputTokens": 9}
    snake = {"temperature": 0, "seed": 3, "top_p": 0.5, "max_output_tokens": 9}
    request = parse(generationConfig=camel)
    assert request == parse(generation_config=snake)
    assert (request.temperature, request.seed) == (0.0, 3)
    assert (request.top_p, request.max_output_tokens) == (0.5, 9)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"responseMimeType": "application/json"}, ("json_object", b"", False)),
        ({"response_mime_type": "text/plain"}, ("text", b"", False)),
        ({"responseSchema": {"type": "STRING"}}, ("json_schema", b'{"type":"string"}', True)),
        ({"response_schema": {"type": "STRING"}}, ("json_schema", b'{"type":"string"}', True)),
        ({"responseJsonSchema": {"type": "null"}}, ("json_schema", b'{"type":"null"}', True)),
        ({"response_json_schema": {}}, ("json_schema", b"{}", True)),
        ({"responseSchema": None}, ("text", b"", False)),
    ],
)
def test_response_formats(config: Any, expected: Any) -> None:
    found = parse(generationConfig=config)
    assert (found.response_format, found.response_schema, found.is_strict_response) == expected


@pytest.mark.parametrize(
    ("config", "thinking", "budget"),
    [
        ({"thinkingBudget": 8192, "includeThoughts": True}, "budget", 8192),
        ({"thinking_budget": 0}, "none", None),
        ({"thinkingBudget": -1}, "adaptive", None),
        ({"thinkingLevel": "HIGH"}, "high", None),
        ({"thinking_level": "low"}, "low", None),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None, None),
        ({"includeThoughts": True}, None, None),
    ],
)
def test_thinking(config: Any, thinking: str | None, budget: int | None) -> None:
    request = parse(generationConfig={"thinkingConfig": config})
    assert (request.thinking, request.thinking_budget) == (thinking, budget)


def test_cached_content_is_state_that_the_provider_keeps() -> None:
    assert parse(cachedContent="cachedContents/1").has_provider_state
    assert parse(cached_content="cachedContents/1").has_provider_state


@pytest.mark.parametrize(("value", "hint"), [("s", "s"), (5, None), (None, None)])
def test_a_session_id_in_the_body_is_a_hint(value: Any, hint: str | None) -> None:
    assert parse(session_id=value).session_hint == hint


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0].text"),
        ({"contents": [USER], "tools": [5]}, "tools[0]"),
        (
            {"contents": [USER], "tools": [{}, {"functionDeclarations": [{"name": 5}]}]},
            "tools[1].functionDeclarations[0].name",
        ),
        ({"contents": [USER], "generationConfig": {"topP": "x"}}, "generationConfig.topP"),
    ],
)
def test_wrong_types_name_the_field(fields: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        formats.parse(json.dumps(fields).encode())
    assert caught.value.field == field
