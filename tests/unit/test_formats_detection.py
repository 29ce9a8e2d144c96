"""Which dialect a body or a path speaks."""

import json
from typing import Any

import pytest

from router_model import formats
from router_model.errors import InvalidRequestError, MalformedJsonError
from router_model.formats.detection import gemini_path
from router_model.types import WireFormat

CHAT, RESPONSES = WireFormat.OPENAI_CHAT, WireFormat.OPENAI_RESPONSES
ANTHROPIC, GEMINI = WireFormat.ANTHROPIC_MESSAGES, WireFormat.GEMINI
USER = {"role": "user", "content": "Hi"}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}


def detect(body: Any) -> WireFormat:
    return formats.detect(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": [USER]}, CHAT),
        ({"messages": [USER], "max_tokens": 5}, CHAT),
        ({"messages": [USER], "stream_options": {}}, CHAT),
        ({"messages": [USER], "system": "Be brief."}, ANTHROPIC),
        ({"messages": [USER], "anthropic_version": "bedrock-2023-05-31"}, ANTHROPIC),
        ({"messages": [USER], "tools": [{"name": "f", "input_schema": {}}]}, ANTHROPIC),
        ({"messages": [USER], "tools": [{"type": "function", "function": {}}]}, CHAT),
        ({"messages": [USER], "tools": [{"type": "web_search_20250305"}]}, CHAT),
        ({"messages": [{"role": "user", "content": [RESULT]}]}, ANTHROPIC),
        ({"messages": [USER, {"role": "tool", "content": "ok"}]}, CHAT),
        ({"messages": [USER, {"role": "assistant", "tool_calls": []}]}, CHAT),
        # Fields of both: the shape of tools and messages decides.
        ({"messages": [USER], "system": "x", "seed": 1}, CHAT),
        (
            {"messages": [{"role": "user", "content": [RESULT]}], "system": "x", "seed": 1},
            ANTHROPIC,
        ),
        # What looks wrong is left to the parser, which names the field.
        ({"messages": 5}, CHAT),
        ({"messages": [USER], "tools": 5}, CHAT),
        ({"input": "Hi"}, RESPONSES),
        ({"previous_response_id": "r"}, RESPONSES),
        ({"contents": []}, GEMINI),
        ({"contents": [], "messages": []}, GEMINI),
    ],
)
def test_the_body_tells_the_dialect(body: Any, expected: WireFormat) -> None:
    assert detect(body) == expected


def test_text_that_quotes_another_dialect_does_not_mislead() -> None:
    quoting = {"role": "user", "content": json.dumps({"contents": [RESULT], "system": "x"})}
    assert detect({"messages": [quoting]}) == CHAT


@pytest.mark.parametrize("body", [{}, {"model": "m", "prompts": []}])
def test_a_body_without_a_conversation_names_what_is_missing(body: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^messages: .*input .*contents") as caught:
        detect(body)
    assert all(field in str(caught.value) for field in body)


def test_detecting_in_broken_json_is_malformed() -> None:
    for body in (b"", b'{"a', b'{"\xff": 1}'):
        with pytest.raises(MalformedJsonError):
            formats.detect(body)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/chat/completions", CHAT),
        ("/openai/deployments/x/chat/completions?api-version=1", CHAT),
        ("/v1/responses/", RESPONSES),
        ("/backend-api/codex/responses", RESPONSES),
        ("/v1/messages?beta=true", ANTHROPIC),
        ("/v1/messages/count_tokens", ANTHROPIC),
        ("/v1beta/models/gemini-2.5-pro:generateContent", GEMINI),
        ("/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent", GEMINI),
        ("/route", None),
        ("/v1/embeddings", None),
        ("", None),
    ],
)
def test_the_path_tells_the_dialect(path: str, expected: WireFormat | None) -> None:
    assert formats.format_of_path(path) == expected


def test_a_path_of_another_dialect_holds_no_gemini_model() -> None:
    assert gemini_path("/v1/chat/completions") == ("", False)


def test_the_named_dialect_comes_before_the_path_and_the_path_before_the_body() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": [RESULT]}]}).encode()
    by_path = formats.parse(body, path="/v1/chat/completions")
    assert by_path.messages[0].parts[0].kind == "file"
    named = formats.parse(body, wire_format=ANTHROPIC, path="/v1/chat/completions")
    assert named.messages[0].parts[0].kind == "tool_result"
    assert formats.parse(body, path="/route") == formats.parse(body) == named
