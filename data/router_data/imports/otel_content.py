"""The request and the answer in a span, as an OpenAI chat would have them.

Three generations of instruments put them in different places: one attribute of JSON in the parts
form (`gen_ai.input.messages`) or as plain messages (`gen_ai.prompt`), one attribute for each
field (`gen_ai.prompt.0.content`), or one event for each message.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from router_data.imports.loose import count, first, parsed
from router_data.request_table import chat_tool

Events = Sequence[tuple[str, Mapping[str, Any]]]
_PARAMETERS: Final = ("max_tokens", "temperature", "top_p", "seed")
_MESSAGE_EVENT: Final = re.compile(r"gen_ai\.(system|user|assistant|tool)\.message")
_CONTENT_EVENTS: Final = frozenset(
    {
        "gen_ai.client.inference.operation.details",
        "gen_ai.content.prompt",
        "gen_ai.content.completion",
    }
)
NO_CONTENT: Final = "the span has no messages (content capture is off)"


def content_of(attributes: Mapping[str, Any], events: Events) -> dict[str, Any]:
    """`request`, `response` and `format` of a call; why there is none where that is so."""
    every = dict(attributes)
    for kind, told in events:
        if kind in _CONTENT_EVENTS:
            every |= told
    messages = _messages(every, events)
    if not messages:
        return {"without_content": NO_CONTENT}
    body: dict[str, Any] = {"messages": [*_instructions(every), *messages]}
    body |= {
        key: every[f"gen_ai.request.{key}"]
        for key in _PARAMETERS
        if isinstance(every.get(f"gen_ai.request.{key}"), int | float)
    }
    if tools := _tools(every):
        body["tools"] = tools
    if model := every.get("gen_ai.request.model"):
        body["model"] = str(model)
    return {"request": body, "response": _response(every, events), "format": "openai.chat"}


def _messages(every: Mapping[str, Any], events: Events) -> list[dict[str, Any]]:
    told = parsed(first(every, "gen_ai.input.messages", "gen_ai.prompt"))
    if isinstance(told, str):
        return [{"role": "user", "content": told}]
    if isinstance(told, list):
        return [message for item in told for message in chat_messages(item)]
    if isinstance(told, dict) and isinstance(told.get("messages"), list):
        return [message for item in told["messages"] for message in chat_messages(item)]
    if numbered := _numbered(every, "gen_ai.prompt."):
        return [message for item in numbered for message in chat_messages(item)]
    found = ((_MESSAGE_EVENT.fullmatch(kind), told) for kind, told in events)
    return [
        message
        for match, item in found
        if match is not None
        for message in chat_messages({"role": match[1], **item})
    ]


def _instructions(every: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = parsed(every.get("gen_ai.system_instructions"))
    text = told if isinstance(told, str) else _text(told if isinstance(told, list) else [])
    return [{"role": "system", "content": text}] if text else []


def chat_messages(message: Any) -> list[dict[str, Any]]:
    """A message, in parts or plain, as chat messages: tool results are messages of their own."""
    if not isinstance(message, dict):
        return [] if message is None else [{"role": "user", "content": _as_text(message)}]
    parts = parsed(message.get("parts"))
    if not isinstance(parts, list):
        return [_plain_message(message)]
    role = str(message.get("role") or "user")
    results = [
        {"role": "tool", "tool_call_id": _call_id(part), "content": _as_text(_result(part))}
        for part in parts
        if isinstance(part, dict) and part.get("type") == "tool_call_response"
    ]
    said: dict[str, Any] = {"role": role, "content": _content(parts)}
    calls = [_tool_call(p) for p in parts if isinstance(p, dict) and p.get("type") == "tool_call"]
    if calls:
        said["tool_calls"] = calls
    return [*results, said] if said["content"] or calls or not results else results


def _plain_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message in chat's own form, its fields perhaps flattened or as JSON text."""
    content = message.get("content")
    shown = parsed(content)
    plain: dict[str, Any] = {
        "role": str(message.get("role") or "user"),
        "content": shown if isinstance(shown, list) else content,
    }
    calls = parsed(message.get("tool_calls"))
    if isinstance(calls, list):
        plain["tool_calls"] = [_tool_call(call) for call in calls if isinstance(call, dict)]
    if plain["role"] == "tool":
        plain["tool_call_id"] = str(first(message, "tool_call_id", "id") or "")
    return plain


def _tool_call(told: Mapping[str, Any]) -> dict[str, Any]:
    function = told.get("function") if isinstance(told.get("function"), dict) else told
    arguments = (function or {}).get("arguments")
    text = (
        arguments
        if isinstance(arguments, str)
        else _as_text({} if arguments is None else arguments)
    )
    return {
        "id": _call_id(told),
        "type": "function",
        "function": {"name": str((function or {}).get("name") or ""), "arguments": text},
    }


def _call_id(part: Mapping[str, Any]) -> str:
    return str(first(part, "id", "tool_call_id") or "")


def _result(part: Mapping[str, Any]) -> Any:
    return first(part, "response", "result", "content")


def _content(parts: Sequence[Any]) -> Any:
    """The text of parts; a list where there are pictures or files among them."""
    kinds = {str(part.get("modality")) for part in parts if isinstance(part, dict)}
    text = _text(parts)
    if "image" not in kinds:
        return text
    image = {"type": "image_url", "image_url": {"url": ""}}
    pictures = [image for p in parts if isinstance(p, dict) and p.get("modality") == "image"]
    return [{"type": "text", "text": text}, *pictures]


def _text(parts: Sequence[Any]) -> str:
    texts = [
        part if isinstance(part, str) else _as_text(first(part, "content", "text"))
        for part in parts
        if isinstance(part, str)
        or (isinstance(part, dict) and part.get("type", "text") in ("text", "generic"))
    ]
    return "\n".join(text for text in texts if text)


def _as_text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()


def _tools(every: Mapping[str, Any]) -> list[Any]:
    told = parsed(every.get("gen_ai.tool.definitions"))
    if not isinstance(told, list):
        told = _numbered(every, "llm.request.functions.") or _numbered(every, "gen_ai.tool.")
    tools = []
    for tool in told:
        if isinstance(tool, dict) and isinstance(tool.get("parameters"), str):
            tool = tool | {"parameters": parsed(tool["parameters"])}
        tools.append(chat_tool(tool))
    return tools


def _numbered(every: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Objects from attributes like `PREFIX0.name` and `PREFIX0.tool_calls.0.arguments`."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in every.items():
        head, _, field = key.removeprefix(prefix).partition(".")
        index = count(head) if key.startswith(prefix) and field else None
        if index is not None:
            found.setdefault(index, {})[field] = value
    items = [found[index] for index in sorted(found)]
    for item in items:
        calls = (
            _numbered(item, "tool_calls.") if any(k.startswith("tool_calls.") for k in item) else []
        )
        if calls:
            item["tool_calls"] = calls
    return items


def _response(every: Mapping[str, Any], events: Events) -> dict[str, Any] | None:
    """The answer as a chat completion; None where the span does not have it."""
    told = parsed(first(every, "gen_ai.output.messages", "gen_ai.completion"))
    if isinstance(told, str):
        told = [{"role": "assistant", "content": told}]
    if not isinstance(told, list):
        told = _numbered(every, "gen_ai.completion.") or _choices(events)
    answers = [item for item in told if isinstance(item, dict)]
    if not answers:
        return None
    said = [message for message in chat_messages(answers[0]) if message["role"] != "tool"]
    reasons = parsed(every.get("gen_ai.response.finish_reasons"))
    shown = reasons[0] if isinstance(reasons, list) and reasons else None
    finish = first(answers[0], "finish_reason") or shown
    message = said[0] if said else {"content": ""}
    choice = {"index": 0, "message": message | {"role": "assistant"}, "finish_reason": finish}
    return {"choices": [choice]}


def _choices(events: Events) -> list[dict[str, Any]]:
    """Answers in events; the message may be an object, its JSON, or spread over the event."""
    found = []
    for kind, told in events:
        if kind == "gen_ai.choice":
            message = parsed(told.get("message"))
            spread = (
                {**told, **message} if isinstance(message, dict) else {**told, "content": message}
            )
            found.append(spread if message is not None else dict(told))
    return found
