"""A session told in neutral events, and the bodies that clients of each dialect send for it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router_model.types import WireFormat

Json = dict[str, Any]
NATIVE: Mapping[WireFormat, str] = {
    WireFormat.OPENAI_RESPONSES: "openai",
    WireFormat.ANTHROPIC_MESSAGES: "anthropic",
    WireFormat.GEMINI: "google",
}
"""The provider whose signatures a dialect carries; chat carries those of several."""


@dataclass(frozen=True)
class Event:
    """What `model` said, with a call of a tool or without; or what a user or a tool said."""

    role: str
    model: str = ""
    provider: str = ""
    is_signed: bool = False
    call_id: str = ""


def chat(events: Sequence[Event]) -> Json:
    """Chat Completions, with thinking as the gateways pass it on."""
    return {"messages": [_chat_message(event) for event in events]}


def _chat_message(event: Event) -> Json:
    if event.role == "tool":
        return {"role": "tool", "tool_call_id": event.call_id, "content": "a.py"}
    message: Json = {"role": event.role, "content": "well"}
    if event.call_id:
        function = {"name": "ls", "arguments": "{}"}
        message["tool_calls"] = [{"id": event.call_id, "type": "function", "function": function}]
    if event.is_signed:
        message |= _CHAT_THINKING.get(event.provider, {"reasoning_opaque": "S"})
    return message


_ENCRYPTED = {"type": "reasoning.encrypted", "data": "S"}
_CHAT_THINKING: Mapping[str, Json] = {
    "anthropic": {"thinking_blocks": [{"thinking": "hm", "signature": "S"}]},
    "google": {"reasoning_details": [{**_ENCRYPTED, "format": "google-gemini-v1"}]},
    "openai": {"reasoning_details": [{**_ENCRYPTED, "format": "openai-responses-v1"}]},
}


def responses(events: Sequence[Event]) -> Json:
    """Responses, with encrypted reasoning before what it led to."""
    items: list[Json] = []
    for event in events:
        if event.is_signed:
            items.append({"type": "reasoning", "summary": [], "encrypted_content": "S"})
        if event.role == "tool":
            items.append(
                {"type": "function_call_output", "call_id": event.call_id, "output": "a.py"}
            )
        elif event.call_id:
            call = {"type": "function_call", "call_id": event.call_id}
            items.append({**call, "name": "ls", "arguments": "{}"})
        else:
            items.append({"type": "message", "role": event.role, "content": "well"})
    return {"input": items}


def anthropic(events: Sequence[Event]) -> Json:
    """Messages, with signed thinking first and tools' results as the user's."""
    messages: list[Json] = []
    for event in events:
        if event.role == "tool":
            blocks = [{"type": "tool_result", "tool_use_id": event.call_id, "content": "a.py"}]
        else:
            blocks = [{"type": "text", "text": "well"}]
        if event.is_signed:
            blocks.insert(0, {"type": "thinking", "thinking": "hm", "signature": "S"})
        if event.call_id and event.role == "assistant":
            call: Json = {"type": "tool_use", "id": event.call_id, "name": "ls", "input": {}}
            blocks.append(call)
        role = "assistant" if event.role == "assistant" else "user"
        messages.append({"role": role, "content": blocks})
    return {"messages": messages}


def gemini(events: Sequence[Event]) -> Json:
    """generateContent, with the signature on the call, or on the text where there is no call."""
    contents: list[Json] = []
    for event in events:
        signature = {"thoughtSignature": "S"} if event.is_signed else {}
        if event.role == "tool":
            answer = {"id": event.call_id, "name": "ls", "response": {"output": "a.py"}}
            part: Json = {"functionResponse": answer}
        elif event.call_id:
            part = {"functionCall": {"id": event.call_id, "name": "ls", "args": {}}, **signature}
        else:
            part = {"text": "well", **signature}
        contents.append({"role": "model" if event.role == "assistant" else "user", "parts": [part]})
    return {"contents": contents}


_BODIES: Mapping[WireFormat, Callable[[Sequence[Event]], Json]] = {
    WireFormat.OPENAI_CHAT: chat,
    WireFormat.OPENAI_RESPONSES: responses,
    WireFormat.ANTHROPIC_MESSAGES: anthropic,
    WireFormat.GEMINI: gemini,
}


def body(dialect: WireFormat, events: Sequence[Event], **fields: Any) -> bytes:
    """The body that a client sends after these events, with more top-level `fields`."""
    return json.dumps({**_BODIES[dialect](events), **fields}).encode()
