"""Asks as the bodies of two wire formats, and their whole answers read back."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from router_data.probe.asks import Answer, Ask, Call, Tool, Turn
from router_model import answers
from router_model.types import WireFormat

Dialect = Literal["openai", "anthropic"]
MARKER: Final = {"cache_control": {"type": "ephemeral"}}
ANTHROPIC_VERSION: Final = "2023-06-01"
_CACHE_NAMES: Final = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens")
WIRE_FORMATS: Final[Mapping[Dialect, WireFormat]] = {
    "openai": WireFormat.OPENAI_CHAT,
    "anthropic": WireFormat.ANTHROPIC_MESSAGES,
}
_PATHS: Final = {"openai": "/chat/completions", "anthropic": "/v1/messages"}

Json = dict[str, Any]


def url_of(base_url: str, dialect: Dialect) -> str:
    """Where calls go: OpenAI's base ends with its version, Anthropic's may.

    >>> url_of("http://localhost:8000/v1/", "openai")
    'http://localhost:8000/v1/chat/completions'
    >>> url_of("http://localhost:8000/v1", "anthropic")
    'http://localhost:8000/v1/messages'
    """
    base = base_url.rstrip("/")
    if dialect == "anthropic":
        base = base.removesuffix("/v1")
    return base + _PATHS[dialect]


def headers_of(dialect: Dialect, key: str | None) -> dict[str, str]:
    """The headers that carry the key; without a key none do."""
    if dialect == "openai":
        return {"authorization": f"Bearer {key}"} if key else {}
    version = {"anthropic-version": ANTHROPIC_VERSION}
    return version | ({"x-api-key": key} if key else {})


def body_of(ask: Ask, *, dialect: Dialect, model: str, max_tokens: int, limit_name: str) -> Json:
    """The body of a call. `limit_name` is what the endpoint calls the limit on its output."""
    body: Json = {"model": ask.model or model, limit_name: ask.max_tokens or max_tokens}
    if ask.temperature is not None:
        body["temperature"] = ask.temperature
    if ask.stream:
        body["stream"] = True
    return body | (_openai(ask) if dialect == "openai" else _anthropic(ask))


def read_answer(document: Mapping[str, Any], *, dialect: Dialect) -> Answer:
    """A whole answer; `problem` says what it lacks."""
    found = answers.read_answer(document, wire_format=WIRE_FORMATS[dialect])
    answer = Answer(
        status=200,
        message=_message(document) if found.error is None else None,
        tells_cache=tells_cache(document.get("usage")),
    )
    return filled(answer, found)


def filled(answer: Answer, found: answers.Answer) -> Answer:
    """The answer with what was read of it."""
    answer.text = found.text
    answer.calls = tuple(Call(call.id, call.name, call.arguments) for call in found.calls)
    answer.finish = found.raw_finish
    answer.usage = found.usage
    if not found.is_of_format:
        answer.problem = found.error or ""
    elif found.error is not None:
        answer.problem, answer.error_text = "an error", found.error
    return answer


def tells_cache(usage: object) -> bool:
    """True where a usage says how many tokens came from a cache, be it none.

    >>> tells_cache({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}})
    True
    >>> tells_cache({"prompt_tokens": 9, "prompt_tokens_details": None})
    False
    """
    if not isinstance(usage, Mapping):
        return False
    details = usage.get("prompt_tokens_details")
    inner = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return inner is not None or any(usage.get(name) is not None for name in _CACHE_NAMES)


def _openai(ask: Ask) -> Json:
    system: Any = ask.system
    if ask.is_marked:
        system = [{"type": "text", "text": ask.system, **MARKER}]
    messages = [{"role": "system", "content": system}] if ask.system else []
    body: Json = {"messages": messages + [_openai_turn(turn) for turn in ask.turns]}
    if ask.stream:
        body["stream_options"] = {"include_usage": True}
    if ask.seed is not None:
        body["seed"] = ask.seed
    if ask.tools:
        body["tools"] = [{"type": "function", "function": _plain(tool)} for tool in ask.tools]
        if ask.tool_choice in ("auto", "required"):
            body["tool_choice"] = ask.tool_choice
        else:
            body["tool_choice"] = {"type": "function", "function": {"name": ask.tool_choice}}
    if ask.wants_json:
        body["response_format"] = {"type": "json_object"}
    if ask.schema is not None:
        named = {"name": "answer", "strict": True, "schema": ask.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body


def _plain(tool: Tool) -> Json:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }


def _openai_turn(turn: Turn) -> Json:
    if turn.message is not None:
        return dict(turn.message)
    if turn.role == "tool":
        return {"role": "tool", "tool_call_id": turn.result_of, "content": turn.text}
    message: Json = {"role": turn.role, "content": turn.text or None}
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in turn.calls
        ]
    return message


def _anthropic(ask: Ask) -> Json:
    body: Json = {"messages": _merged([_anthropic_turn(turn) for turn in ask.turns])}
    if ask.system:
        block = {"type": "text", "text": ask.system}
        body["system"] = [block | MARKER] if ask.is_marked else ask.system
    if ask.tools:
        body["tools"] = [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.parameters,
            }
            for tool in ask.tools
        ]
        kinds = {"auto": {"type": "auto"}, "required": {"type": "any"}}
        named = {"type": "tool", "name": ask.tool_choice}
        body["tool_choice"] = kinds.get(ask.tool_choice, named)
    if ask.schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": ask.schema}}
    return body


def _anthropic_turn(turn: Turn) -> Json:
    if turn.message is not None:
        return dict(turn.message)
    if turn.role == "tool":
        block = {"type": "tool_result", "tool_use_id": turn.result_of, "content": turn.text}
        return {"role": "user", "content": [block]}
    blocks: list[Json] = [{"type": "text", "text": turn.text}] if turn.text else []
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.values or {}}
        for call in turn.calls
    ]
    return {"role": turn.role, "content": blocks}


def _merged(messages: list[Json]) -> list[Json]:
    """Neighbours of one role in one message: all results of a turn have to be together."""
    merged: list[Json] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            merged[-1]["content"] = merged[-1]["content"] + message["content"]
        else:
            merged.append(message)
    return merged


def _message(document: Mapping[str, Any]) -> Json:
    """The answer as it came, to be sent back as it is."""
    if "choices" in document:
        return dict(document["choices"][0]["message"])
    return {"role": "assistant", "content": document["content"]}
