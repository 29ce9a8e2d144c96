"""Anthropic's shape of the local upstream: Messages."""

from collections.abc import Iterator
from typing import Any

from upstream_script import Asked, Said, Tool
from upstream_wire import Body, Dialect, Used, asked_of, pieces, sse


def _read_messages(body: Body, path: str) -> Asked:
    results = 0
    for message in body["messages"]:
        if isinstance(message["content"], list):
            results += sum(block.get("type") == "tool_result" for block in message["content"])
    tools = [Tool(one["name"], one.get("input_schema") or {}) for one in body.get("tools") or ()]
    start = body.get("system") or body["messages"][0]
    return asked_of(body["model"], body, start, tools, results)


def _messages_usage(used: Used) -> Body:
    return {
        "input_tokens": used.n_input - used.n_cached - used.n_written,
        "cache_read_input_tokens": used.n_cached,
        "cache_creation_input_tokens": used.n_written,
        "output_tokens": used.n_output,
    }


_STOP = {"stop": "end_turn", "tool": "tool_use", "length": "max_tokens", "refusal": "refusal"}


def _message(model: str, content: list[Body], usage: Body, stop: str | None) -> Body:
    head = {"id": "msg_local_1", "type": "message", "role": "assistant", "model": model}
    end = {"stop_reason": stop, "stop_sequence": None, "usage": usage}
    return {**head, "content": content, **end}


def _whole_message(model: str, said: Said, used: Used) -> Body:
    content: list[Body] = [{"type": "text", "text": said.text}] if said.text else []
    if said.tool:
        content += [
            {"type": "tool_use", "id": said.call_id, "name": said.tool, "input": said.values}
        ]
    return _message(model, content, _messages_usage(used), _STOP[said.finish])


def _message_events(model: str, said: Said, used: Used) -> Iterator[bytes]:
    def event(kind: str, **values: Any) -> bytes:
        return sse({"type": kind, **values}, event=kind)

    start = _message(model, [], {**_messages_usage(used), "output_tokens": 1}, None)
    yield event("message_start", message=start)
    if said.text:
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in pieces(said.text):
            delta = {"type": "text_delta", "text": piece}
            yield event("content_block_delta", index=0, delta=delta)
        yield event("content_block_stop", index=0)
    if said.tool:
        block = {"type": "tool_use", "id": said.call_id, "name": said.tool, "input": {}}
        yield event("content_block_start", index=0, content_block=block)
        for piece in pieces(said.arguments):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield event("content_block_delta", index=0, delta=delta)
        yield event("content_block_stop", index=0)
    stop = {"stop_reason": _STOP[said.finish], "stop_sequence": None}
    yield event("message_delta", delta=stop, usage=_messages_usage(used))
    yield event("message_stop")


def _messages_error(status: int, text: str) -> Body:
    kind = "rate_limit_error" if status == 429 else "api_error"
    return {"type": "error", "error": {"type": kind, "message": text}}


MESSAGES = Dialect(_read_messages, _whole_message, _message_events, _messages_error)
