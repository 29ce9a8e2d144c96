"""Answers as providers send them, whole and as the bytes of a stream, in the four dialects."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router_model.types import WireFormat

Json = dict[str, Any]
ENDS = {
    WireFormat.OPENAI_CHAT: {"stop": "stop", "calls": "tool_calls", "length": "length"},
    WireFormat.OPENAI_RESPONSES: {"stop": "", "calls": "", "length": "max_output_tokens"},
    WireFormat.ANTHROPIC_MESSAGES: {
        "stop": "end_turn",
        "calls": "tool_use",
        "length": "max_tokens",
    },
    WireFormat.GEMINI: {"stop": "STOP", "calls": "STOP", "length": "MAX_TOKENS"},
}


@dataclass(frozen=True)
class Said:
    """What is answered; `end` is "length" where it was cut off. Tokens of input include cached."""

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    end: str = ""
    tokens: tuple[int, int, int] = (100, 40, 7)
    model: str = "m-1"
    pieces: int = 3

    @property
    def kind(self) -> str:
        return self.end or ("calls" if self.calls else "stop")


@dataclass
class Stream:
    """Events under construction."""

    named: bool = False
    events: list[bytes] = field(default_factory=list)

    def add(self, data: Json) -> None:
        name = f"event: {data['type']}\n".encode() if self.named else b""
        self.events.append(name + b"data: " + json.dumps(data).encode() + b"\n\n")


def call_id(index: int) -> str:
    return f"call_{index}"


def compact(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)


def cut(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // pieces))
    return [text[start : start + size] for start in range(0, len(text), size)]


def whole(said: Said, wire_format: WireFormat) -> Json:
    return _WHOLE[wire_format](said)


def streamed(said: Said, wire_format: WireFormat) -> bytes:
    stream = Stream(
        named=wire_format in (WireFormat.ANTHROPIC_MESSAGES, WireFormat.OPENAI_RESPONSES)
    )
    _STREAMED[wire_format](said, stream)
    return b"".join(stream.events)


def _chat_usage(said: Said) -> Json:
    n_in, cached, n_out = said.tokens
    details = {"cached_tokens": cached}
    return {
        "prompt_tokens": n_in,
        "completion_tokens": n_out,
        "total_tokens": n_in + n_out,
        "prompt_tokens_details": details,
    }


def _whole_chat(said: Said) -> Json:
    message: Json = {"role": "assistant", "content": said.text or None, "refusal": None}
    if said.calls:
        message["tool_calls"] = [
            {
                "id": call_id(index),
                "type": "function",
                "function": {"name": name, "arguments": compact(values)},
            }
            for index, (name, values) in enumerate(said.calls)
        ]
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": ENDS[WireFormat.OPENAI_CHAT][said.kind],
    }
    return {
        "object": "chat.completion",
        "model": said.model,
        "choices": [choice],
        "usage": _chat_usage(said),
    }


def _stream_chat(said: Said, stream: Stream) -> None:
    def add(delta: Json, finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        stream.add({"object": "chat.completion.chunk", "model": said.model, "choices": [choice]})

    add({"role": "assistant", "content": ""})
    for piece in cut(said.text, said.pieces):
        add({"content": piece})
    for index, (name, values) in enumerate(said.calls):
        function = {"name": name, "arguments": ""}
        first = {"index": index, "id": call_id(index), "type": "function", "function": function}
        add({"tool_calls": [first]})
        for piece in cut(compact(values), said.pieces):
            add({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    add({}, ENDS[WireFormat.OPENAI_CHAT][said.kind])
    stream.add({"model": said.model, "choices": [], "usage": _chat_usage(said)})
    stream.events.append(b"data: [DONE]\n\n")


def _whole_responses(said: Said) -> Json:
    n_in, cached, n_out = said.tokens
    output: list[Json] = [{"type": "reasoning", "id": "rs", "summary": []}]
    if said.text:
        part = {"type": "output_text", "text": said.text, "annotations": []}
        output.append({"type": "message", "id": "msg", "role": "assistant", "content": [part]})
    output += [
        {
            "type": "function_call",
            "id": f"fc_{index}",
            "call_id": call_id(index),
            "name": name,
            "arguments": compact(values),
            "status": "completed",
        }
        for index, (name, values) in enumerate(said.calls)
    ]
    reason = ENDS[WireFormat.OPENAI_RESPONSES][said.kind]
    return {
        "object": "response",
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "model": said.model,
        "error": None,
        "output": output,
        "usage": {
            "input_tokens": n_in,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": n_out,
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _stream_responses(said: Said, stream: Stream) -> None:
    final = _whole_responses(said)
    begun = final | {"status": "in_progress", "output": [], "usage": None}
    stream.add({"type": "response.created", "response": begun})
    for place, item in enumerate(final["output"]):
        at = {"output_index": place}
        empty = item | ({"content": []} if "content" in item else {})
        empty |= {"arguments": ""} if "arguments" in item else {}
        stream.add({"type": "response.output_item.added", "item": empty, **at})
        for piece in cut(item["content"][0]["text"] if "content" in item else "", said.pieces):
            text = {"delta": piece, "content_index": 0, **at}
            stream.add({"type": "response.output_text.delta", **text})
        for piece in cut(item.get("arguments", ""), said.pieces):
            stream.add({"type": "response.function_call_arguments.delta", "delta": piece, **at})
        stream.add({"type": "response.output_item.done", "item": item, **at})
    stream.add({"type": f"response.{final['status']}", "response": final})


def _anthropic_usage(said: Said) -> Json:
    n_in, cached, n_out = said.tokens
    return {
        "input_tokens": n_in - cached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": n_out,
    }


def _whole_anthropic(said: Said) -> Json:
    content: list[Json] = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
    content += [{"type": "text", "text": said.text}] if said.text else []
    content += [
        {"type": "tool_use", "id": call_id(index), "name": name, "input": values}
        for index, (name, values) in enumerate(said.calls)
    ]
    return {
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": content,
        "stop_reason": ENDS[WireFormat.ANTHROPIC_MESSAGES][said.kind],
        "usage": _anthropic_usage(said),
    }


def _stream_anthropic(said: Said, stream: Stream) -> None:
    final = _whole_anthropic(said)
    usage = _anthropic_usage(said)
    begun = final | {
        "content": [],
        "stop_reason": None,
        "usage": usage | {"output_tokens": min(1, said.tokens[2])},
    }
    stream.add({"type": "message_start", "message": begun})
    stream.add({"type": "ping"})
    kinds = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}
    for index, block in enumerate(final["content"]):
        kind, name = kinds.get(block["type"], ("input_json_delta", "partial_json"))
        is_call = block["type"] == "tool_use"
        held = compact(block["input"]) if is_call else block[name]
        blank: Json = {"input": {}} if is_call else {name: ""}
        empty = block | blank
        stream.add({"type": "content_block_start", "index": index, "content_block": empty})
        for piece in cut(held if held != "{}" else "", said.pieces):
            delta = {"type": kind, name: piece}
            stream.add({"type": "content_block_delta", "index": index, "delta": delta})
        stream.add({"type": "content_block_stop", "index": index})
    stopped = {"stop_reason": final["stop_reason"], "stop_sequence": None}
    counted = {"output_tokens": usage["output_tokens"]}
    stream.add({"type": "message_delta", "delta": stopped, "usage": counted})
    stream.add({"type": "message_stop"})


def _gemini(parts: list[Json], said: Said, *, finish: str | None) -> Json:
    n_in, cached, n_out = said.tokens
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": parts}}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": n_in, "cachedContentTokenCount": cached}
    if finish:
        usage |= {"candidatesTokenCount": n_out, "totalTokenCount": n_in + n_out}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": said.model}


def _gemini_calls(said: Said) -> list[Json]:
    return [
        {"functionCall": {"id": call_id(index), "name": name, "args": values}}
        for index, (name, values) in enumerate(said.calls)
    ]


def _whole_gemini(said: Said) -> Json:
    parts: list[Json] = [{"text": "hm", "thought": True}]
    parts += [{"text": said.text}] if said.text else []
    parts += _gemini_calls(said)
    return _gemini(parts, said, finish=ENDS[WireFormat.GEMINI][said.kind])


def gemini_events(said: Said) -> list[Json]:
    held = [[{"text": piece}] for piece in cut(said.text, said.pieces)]
    held += [[call] for call in _gemini_calls(said)]
    events = [_gemini(parts, said, finish=None) for parts in held]
    return [*events, _gemini([], said, finish=ENDS[WireFormat.GEMINI][said.kind])]


def _stream_gemini(said: Said, stream: Stream) -> None:
    for event in gemini_events(said):
        stream.add(event)


_WHOLE: Mapping[WireFormat, Callable[[Said], Json]] = {
    WireFormat.OPENAI_CHAT: _whole_chat,
    WireFormat.OPENAI_RESPONSES: _whole_responses,
    WireFormat.ANTHROPIC_MESSAGES: _whole_anthropic,
    WireFormat.GEMINI: _whole_gemini,
}
_STREAMED: Mapping[WireFormat, Callable[[Said, Stream], None]] = {
    WireFormat.OPENAI_CHAT: _stream_chat,
    WireFormat.OPENAI_RESPONSES: _stream_responses,
    WireFormat.ANTHROPIC_MESSAGES: _stream_anthropic,
    WireFormat.GEMINI: _stream_gemini,
}
