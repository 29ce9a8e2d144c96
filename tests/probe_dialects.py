"""Requests and answers of the probe's test server on the wire of both dialects."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from probe_model import Said, Seen

_PIECE_CHARS = 20
_CREATED = 1_700_000_000

Event = tuple[str, bytes]


def call_id(index: int) -> str:
    return f"call_{index:04d}"


def read(dialect: str, body: dict[str, Any]) -> Seen:
    return _read_openai(body) if dialect == "openai" else _read_anthropic(body)


def error(dialect: str, text: str) -> dict[str, Any]:
    inner = {"type": "invalid_request_error", "message": text}
    return {"error": inner} if dialect == "openai" else {"type": "error", "error": inner}


def whole(
    dialect: str,
    said: Said,
    usage: Mapping[str, int],
    *,
    id_of: Callable[[int], str],
    is_wrong: bool,
) -> dict[str, Any]:
    if dialect == "openai":
        calls = [
            {
                "id": id_of(index),
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(values)},
            }
            for index, (name, values) in enumerate(said.calls)
        ]
        finish = _finish(said, "stop" if is_wrong else "tool_calls", "stop", "length")
        message = {"role": "assistant", "content": said.text or None}
        choice = {
            "index": 0,
            "finish_reason": finish,
            "message": message | ({"tool_calls": calls} if calls else {}),
        }
        return {"object": "chat.completion", "choices": [choice], "usage": _openai_usage(usage)}
    blocks: list[dict[str, Any]] = [{"type": "text", "text": said.text}] if said.text else []
    blocks += [
        {"type": "tool_use", "id": id_of(index), "name": name, "input": values}
        for index, (name, values) in enumerate(said.calls)
    ]
    stop = _finish(said, "end_turn" if is_wrong else "tool_use", "end_turn", "max_tokens")
    return {
        "type": "message",
        "role": "assistant",
        "content": blocks,
        "stop_reason": stop,
        "usage": _anthropic_usage(usage),
    }


def _finish(said: Said, called: str, ended: str, short: str) -> str:
    if said.is_short:
        return short
    return called if said.calls else ended


def events(
    dialect: str, said: Said, usage: Mapping[str, int], *, is_whole: bool
) -> Iterator[Event]:
    """Each event with its kind: start, piece, last_piece, finish, usage, terminator."""
    make = _openai_events if dialect == "openai" else _anthropic_events
    return make(said, usage, is_whole)


def _read_openai(body: dict[str, Any]) -> Seen:
    system, texts, results, is_marked = "", [], [], None
    for message in body["messages"]:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(part["text"] for part in content)
        if message["role"] == "system":
            system = content
        elif message["role"] == "tool":
            results.append(content)
        else:
            texts.append(content)
    choice = body.get("tool_choice", "auto")
    form = body.get("response_format", {})
    return Seen(
        model=body["model"],
        system=system,
        texts=tuple(texts),
        results=tuple(results),
        tools=tuple(tool["function"]["name"] for tool in body.get("tools", ())),
        choice=choice if isinstance(choice, str) else choice["function"]["name"],
        stream=body.get("stream", False),
        seed=body.get("seed"),
        json_mode=form.get("type") == "json_object",
        schema=form.get("json_schema", {}).get("schema"),
        is_marked=is_marked,
    )


def _read_anthropic(body: dict[str, Any]) -> Seen:
    system, is_marked = body.get("system", ""), False
    if isinstance(system, list):
        is_marked = any("cache_control" in block for block in system)
        system = "".join(block["text"] for block in system)
    texts, results = [], []
    for message in body["messages"]:
        for block in message["content"]:
            if block["type"] == "text":
                texts.append(block["text"])
            elif block["type"] == "tool_result":
                results.append(block["content"])
    choice = body.get("tool_choice", {"type": "auto"})
    kinds = {"any": "required", "auto": "auto"}
    return Seen(
        model=body["model"],
        system=system,
        texts=tuple(texts),
        results=tuple(results),
        tools=tuple(tool["name"] for tool in body.get("tools", ())),
        choice=kinds.get(choice["type"], choice.get("name", "")),
        stream=body.get("stream", False),
        seed=None,
        json_mode=False,
        schema=body.get("output_config", {}).get("format", {}).get("schema"),
        is_marked=is_marked,
    )


def _openai_usage(usage: Mapping[str, int]) -> dict[str, Any]:
    return {
        "prompt_tokens": usage["input"],
        "completion_tokens": usage["output"],
        "total_tokens": usage["input"] + usage["output"],
        "prompt_tokens_details": {"cached_tokens": usage["cached"]},
    }


def _anthropic_usage(usage: Mapping[str, int]) -> dict[str, Any]:
    return {
        "input_tokens": usage["input"] - usage["cached"],
        "cache_read_input_tokens": usage["cached"],
        "cache_creation_input_tokens": 0,
        "output_tokens": usage["output"],
    }


def _cut(text: str, is_whole: bool) -> list[str]:
    if is_whole:
        return [text]
    return [text[i : i + _PIECE_CHARS] for i in range(0, len(text), _PIECE_CHARS)]


def _openai_events(said: Said, usage: Mapping[str, int], is_whole: bool) -> Iterator[Event]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _data({"object": "chat.completion.chunk", "created": _CREATED, "choices": [choice]})

    yield "start", chunk({"role": "assistant", "content": ""})
    for piece in _cut(said.text, False):
        yield "piece", chunk({"content": piece})
    for index, (name, values) in enumerate(said.calls):
        start = {"name": name, "arguments": ""}
        head = {"index": index, "id": call_id(index), "type": "function", "function": start}
        yield "start", chunk({"tool_calls": [head]})
        pieces = _cut(json.dumps(values), is_whole)
        for place, piece in enumerate(pieces, start=1):
            part = {"index": index, "function": {"arguments": piece}}
            kind = "last_piece" if place == len(pieces) else "piece"
            yield kind, chunk({"tool_calls": [part]})
    yield "finish", chunk({}, _finish(said, "tool_calls", "stop", "length"))
    yield (
        "usage",
        _data({"object": "chat.completion.chunk", "choices": []} | {"usage": _openai_usage(usage)}),
    )
    yield "terminator", b"data: [DONE]\n\n"


def _anthropic_events(said: Said, usage: Mapping[str, int], is_whole: bool) -> Iterator[Event]:
    message = {"type": "message", "role": "assistant", "content": []}
    yield "usage", _event("message_start", message=message | {"usage": _anthropic_usage(usage)})
    index = 0
    if said.text:
        yield (
            "start",
            _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        )
        for piece in _cut(said.text, False):
            delta = {"type": "text_delta", "text": piece}
            yield "piece", _event("content_block_delta", index=0, delta=delta)
        yield "stop", _event("content_block_stop", index=0)
        index = 1
    for number, (name, values) in enumerate(said.calls):
        block = {"type": "tool_use", "id": call_id(number), "name": name, "input": {}}
        yield "start", _event("content_block_start", index=index + number, content_block=block)
        pieces = _cut(json.dumps(values), is_whole)
        for place, piece in enumerate(pieces, start=1):
            delta = {"type": "input_json_delta", "partial_json": piece}
            kind = "last_piece" if place == len(pieces) else "piece"
            yield kind, _event("content_block_delta", index=index + number, delta=delta)
        yield "stop", _event("content_block_stop", index=index + number)
    stop = {"stop_reason": _finish(said, "tool_use", "end_turn", "max_tokens")}
    yield "finish", _event("message_delta", delta=stop)
    yield "usage", _event("message_delta", delta={}, usage=_anthropic_usage(usage))
    yield "terminator", _event("message_stop")


def _event(kind: str, **values: Any) -> bytes:
    return f"event: {kind}\n".encode() + _data({"type": kind, **values})


def _data(document: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()
