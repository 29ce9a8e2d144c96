"""OpenAI's two shapes of the local upstream: Chat Completions and Responses."""

from collections.abc import Iterator
from typing import Any

from upstream_script import Asked, Said, Tool
from upstream_wire import CREATED, Body, Dialect, Used, asked_of, pieces, sse


def _openai_error(status: int, text: str) -> Body:
    return {"error": {"message": text, "type": "server_error", "code": str(status)}}


def _read_chat(body: Body, path: str) -> Asked:
    messages = body["messages"]
    functions = [tool["function"] for tool in body.get("tools") or () if "function" in tool]
    tools = [Tool(one["name"], one.get("parameters") or {}) for one in functions]
    results = sum(message["role"] == "tool" for message in messages)
    return asked_of(body["model"], body, messages[0], tools, results)


def _chat_usage(used: Used) -> Body:
    return {
        "prompt_tokens": used.n_input,
        "completion_tokens": used.n_output,
        "total_tokens": used.n_input + used.n_output,
        "prompt_tokens_details": {"cached_tokens": used.n_cached},
    }


_CHAT_FINISH = {"tool": "tool_calls", "refusal": "stop"}


def _whole_chat(model: str, said: Said, used: Used) -> Body:
    is_refusal = said.finish == "refusal"
    message: Body = {"role": "assistant", "content": None if is_refusal else said.text or None}
    if is_refusal:
        message["refusal"] = said.text
    if said.tool:
        function = {"name": said.tool, "arguments": said.arguments}
        message["tool_calls"] = [{"id": said.call_id, "type": "function", "function": function}]
    finish = _CHAT_FINISH.get(said.finish, said.finish)
    choice = {"index": 0, "message": message, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": model}
    return {**head, "choices": [choice], "usage": _chat_usage(used)}


def _chat_events(model: str, said: Said, used: Used) -> Iterator[bytes]:
    def chunk(delta: Body, finish: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED}
        return sse({**head, "model": model, "choices": choices} | more)

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(said.text):
        yield chunk({"refusal" if said.finish == "refusal" else "content": piece})
    if said.tool:
        function = {"name": said.tool, "arguments": ""}
        call = {"index": 0, "id": said.call_id, "type": "function", "function": function}
        yield chunk({"tool_calls": [call]})
        for piece in pieces(said.arguments):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    yield chunk({}, _CHAT_FINISH.get(said.finish, said.finish))
    yield chunk({}, choices=[], usage=_chat_usage(used))
    yield b"data: [DONE]\n\n"


def _read_responses(body: Body, path: str) -> Asked:
    items = body["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    outputs = ("function_call_output", "custom_tool_call_output")
    results = sum(item.get("type") in outputs for item in items)
    offered = [one for one in body.get("tools") or () if one.get("type") == "function"]
    tools = [Tool(one["name"], one.get("parameters") or {}) for one in offered]
    start = body.get("instructions") or items[0]
    return asked_of(body["model"], body, start, tools, results)


def _output(said: Said) -> list[Body]:
    items: list[Body] = []
    if said.text and said.finish == "refusal":
        part: Body = {"type": "refusal", "refusal": said.text}
    else:
        part = {"type": "output_text", "text": said.text, "annotations": []}
    if said.text:
        head = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        items.append({**head, "content": [part]})
    if said.tool:
        call = {"type": "function_call", "id": "fc_1", "call_id": said.call_id, "name": said.tool}
        items.append({**call, "arguments": said.arguments, "status": "completed"})
    return items


def _whole_response(model: str, said: Said, used: Used) -> Body:
    is_short = said.finish == "length"
    return {
        "id": "resp_local_1",
        "object": "response",
        "created_at": CREATED,
        "model": model,
        "status": "incomplete" if is_short else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_short else None,
        "error": None,
        "output": _output(said),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": used.n_input,
            "input_tokens_details": {"cached_tokens": used.n_cached},
            "output_tokens": used.n_output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used.n_input + used.n_output,
        },
    }


def _response_events(model: str, said: Said, used: Used) -> Iterator[bytes]:
    whole = _whole_response(model, said, used)
    number = iter(range(1_000_000))

    def event(kind: str, **values: Any) -> bytes:
        return sse({"type": kind, "sequence_number": next(number), **values}, event=kind)

    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield event("response.created", response=begun)
    for index, item in enumerate(whole["output"]):
        place = {"item_id": item["id"], "output_index": index}
        if item["type"] == "function_call":
            empty = {**item, "arguments": "", "status": "in_progress"}
            yield event("response.output_item.added", output_index=index, item=empty)
            kind, key, text = "response.function_call_arguments", "arguments", said.arguments
        else:
            empty = {**item, "content": [], "status": "in_progress"}
            yield event("response.output_item.added", output_index=index, item=empty)
            part = item["content"][0]
            key = "refusal" if part["type"] == "refusal" else "text"
            place["content_index"] = 0
            yield event("response.content_part.added", **place, part={**part, key: ""})
            kind, text = f"response.{part['type']}", said.text
        for piece in pieces(text):
            yield event(f"{kind}.delta", **place, delta=piece)
        yield event(f"{kind}.done", **place, **{key: text})
        if item["type"] != "function_call":
            yield event("response.content_part.done", **place, part=item["content"][0])
        yield event("response.output_item.done", output_index=index, item=item)
    yield event(f"response.{whole['status']}", response=whole)


CHAT = Dialect(_read_chat, _whole_chat, _chat_events, _openai_error)
RESPONSES = Dialect(_read_responses, _whole_response, _response_events, _openai_error)
