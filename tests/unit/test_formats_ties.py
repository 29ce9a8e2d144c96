"""Whose signatures and kept state a body holds, by the shape that they have."""

import json
from typing import Any

import pytest

from router_model import formats
from router_model.types import Request, WireFormat

USER = {"role": "user", "content": "Hi"}


def chat(*messages: dict[str, Any]) -> Request:
    body = json.dumps({"messages": [USER, *messages]}).encode()
    return formats.parse(body, wire_format=WireFormat.OPENAI_CHAT)


def responses(*items: dict[str, Any], **fields: Any) -> Request:
    body = json.dumps({"input": [USER, *items], **fields}).encode()
    return formats.parse(body, wire_format=WireFormat.OPENAI_RESPONSES)


def anthropic(*blocks: dict[str, Any], **fields: Any) -> Request:
    messages = [USER, {"role": "assistant", "content": list(blocks)}] if blocks else [USER]
    body = json.dumps({"messages": messages, **fields}).encode()
    return formats.parse(body, wire_format=WireFormat.ANTHROPIC_MESSAGES)


def gemini(*parts: dict[str, Any], **fields: Any) -> Request:
    turns = [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": list(parts)}]
    body = json.dumps({"contents": turns[: 1 + bool(parts)], **fields}).encode()
    return formats.parse(body, wire_format=WireFormat.GEMINI)


SIGNED = {"thinking": "Hm", "signature": "A"}
GOOGLE = {"extra_content": {"google": {"thought_signature": "A"}}}
CALL = {"id": "1", "function": {"name": "f", "arguments": "{}"}}


def detail(name: str) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": "A", "format": name}


@pytest.mark.parametrize(
    ("said", "tied_to"),
    [
        ({"content": "Well."}, ()),
        ({"reasoning_content": "Hm"}, ()),
        ({"thinking_blocks": [SIGNED]}, ("anthropic",)),
        ({"thinking_blocks": [{"thinking": "Hm"}]}, ()),
        ({"thinking_blocks": [{"data": "A"}]}, ("anthropic",)),
        ({"tool_calls": [{**CALL, **GOOGLE}]}, ("google",)),
        ({"tool_calls": [CALL]}, ()),
        ({"audio": {"id": "audio_1"}}, ("openai",)),
        ({"reasoning_details": [detail("anthropic-claude-v1")]}, ("anthropic",)),
        ({"reasoning_details": [detail("google-gemini-v1")]}, ("google",)),
        ({"reasoning_details": [detail("azure-openai-responses-v1")]}, ("openai",)),
        ({"reasoning_details": [detail("openai-responses-v1")]}, ("openai",)),
        ({"reasoning_details": [detail("xai-responses-v1")]}, ("xai",)),
        ({"reasoning_details": [detail("unknown")]}, ("",)),
        ({"reasoning_opaque": "A"}, ("",)),
        (
            {"thinking_blocks": [SIGNED], "tool_calls": [{**CALL, **GOOGLE}]},
            ("anthropic", "google"),
        ),
    ],
)
def test_chat_bodies_show_their_signers(said: dict[str, Any], tied_to: tuple[str, ...]) -> None:
    assert chat({"role": "assistant", **said}).tied_to == tied_to


def test_responses_bodies_hold_reasoning_and_state_in_the_shape_of_openai() -> None:
    reasoning = {"type": "reasoning", "summary": [], "encrypted_content": "A"}
    assert responses().tied_to == ()
    assert responses({**reasoning, "encrypted_content": None}).tied_to == ()
    assert responses(reasoning).tied_to == ("openai",)
    assert responses({"type": "compaction", "encrypted_content": "A"}).tied_to == ("openai",)
    assert responses({"type": "item_reference", "id": "rs_1"}).tied_to == ("openai",)
    assert responses(previous_response_id="resp_1").tied_to == ("openai",)
    assert responses(conversation="conv_1").tied_to == ("openai",)


def test_messages_bodies_hold_signed_thinking_of_anthropic() -> None:
    assert anthropic().tied_to == ()
    assert anthropic({"type": "thinking", "thinking": "Hm"}).tied_to == ()
    assert anthropic({"type": "thinking", **SIGNED}).tied_to == ("anthropic",)
    assert anthropic({"type": "redacted_thinking", "data": "A"}).tied_to == ("anthropic",)
    assert anthropic(container="container_1").tied_to == ("anthropic",)


def test_gemini_bodies_hold_thought_signatures_and_cached_content() -> None:
    assert gemini().tied_to == gemini({"text": "So"}).tied_to == ()
    assert gemini({"text": "So", "thoughtSignature": "A"}).tied_to == ("google",)
    assert gemini(cachedContent="cachedContents/1").tied_to == ("google",)


def test_a_signature_inside_the_id_of_a_call_is_that_of_gemini_in_every_dialect() -> None:
    signed = "call_1__thought__QUJD"
    tool_use = {"type": "tool_use", "id": signed, "name": "f", "input": {}}
    item = {"type": "function_call", "call_id": signed, "name": "f", "arguments": "{}"}
    bodies = (
        chat({"role": "assistant", "tool_calls": [{**CALL, "id": signed}]}),
        responses(item),
        anthropic(tool_use),
        gemini({"functionCall": {"id": signed, "name": "f"}}),
    )
    for request in bodies:
        (call,) = (part for m in request.messages for part in m.parts if part.kind == "tool_call")
        assert (call.is_signed, call.call_id) == (True, signed)
        assert request.tied_to == ("google",)
