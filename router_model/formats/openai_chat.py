"""Parses OpenAI Chat Completions bodies, as OpenAI-compatible clients send them too."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from router_model.errors import InvalidRequestError
from router_model.formats import billing, jsontext
from router_model.formats.conversation import Conversation, normal_role
from router_model.formats.image_size import image_size
from router_model.formats.openai_chat_wire import Body, ContentPart, Message, Reasoning, Tool
from router_model.formats.openai_chat_wire import ToolChoice as WireToolChoice
from router_model.types import Part, PartKind, Request, ResponseFormat, ToolChoice, ToolSpec

_BODY = msgspec.json.Decoder(Body)

_IMAGES = frozenset({"image_url", "image", "input_image"})
_TEXTS = frozenset({"text", "input_text", "output_text", "refusal"})
# Whose reasoning it is, by OpenRouter's `format`.
_SIGNERS = {
    "anthropic-claude-v1": "anthropic",
    "azure-openai-responses-v1": "openai",
    "google-gemini-v1": "google",
    "openai-responses-v1": "openai",
    "xai-responses-v1": "xai",
}


def parse(body: bytes) -> Request:
    """The request in a Chat Completions body."""
    wire = jsontext.decode(_BODY, body)
    if not wire.messages:
        raise InvalidRequestError("messages", wire.messages, "a non-empty array of messages")
    conversation = Conversation()
    for message in wire.messages:
        _add_message(conversation, message)
    tools = _tools(wire)
    conversation.count_tool_markers(tools)
    thinking, budget = _thinking(wire)
    response_format, schema, is_strict = _response_format(wire)
    return Request(
        messages=conversation.messages(),
        system=conversation.system,
        tools=tools,
        tool_choice=_tool_choice(wire),
        parallel_tool_calls=wire.parallel_tool_calls,
        response_format=response_format,
        response_schema=schema,
        is_strict_response=is_strict,
        requested_model=wire.model or "",
        max_output_tokens=(
            wire.max_tokens if wire.max_completion_tokens is None else wire.max_completion_tokens
        ),
        temperature=wire.temperature,
        top_p=wire.top_p,
        seed=wire.seed,
        stream=bool(wire.stream),
        thinking=thinking,
        thinking_budget=budget,
        n_cache_markers=conversation.n_cache_markers,
        session_hint=_session_hint(wire),
        cache_ttl_s=_cache_ttl_s(wire, body, has_markers=conversation.n_cache_markers > 0),
        service_tier=billing.service_tier_of(wire.service_tier),
        has_provider_state=any(message.audio for message in wire.messages),
        tied_to=conversation.tied_to(),
        n_answers=1 if wire.n is None else wire.n,
    )


def _add_message(conversation: Conversation, message: Message) -> None:
    role = normal_role(message.role)
    parts = _parts(message.content)
    if role == "system":
        conversation.add_system(parts)
    elif role == "tool":
        conversation.add_tool_result(
            parts,
            call_id=message.tool_call_id or "",
            tool_name=message.name or "",
            has_cache_marker=bool(message.cache_control or message.copilot_cache_control),
        )
        return
    else:
        conversation.ties.update(_signers(message))
        for part in (*_thinking_parts(message), *parts) if role == "assistant" else parts:
            conversation.add(role, part)
        if role == "assistant":
            _add_calls(conversation, message)
    if message.cache_control or message.copilot_cache_control:
        conversation.mark_last()


def _add_calls(conversation: Conversation, message: Message) -> None:
    if message.refusal:
        conversation.add("assistant", Part("text", message.refusal))
    if message.function_call:
        call = message.function_call
        arguments = jsontext.arguments_text(call.arguments)
        conversation.add_tool_call(Part("tool_call", arguments, call.name or ""))
    for tool_call in message.tool_calls or ():
        call_id = tool_call.id or ""
        if function := tool_call.function:
            arguments = jsontext.arguments_text(function.arguments)
            name = function.name or ""
        elif custom := tool_call.custom:
            arguments, name = custom.input or "", custom.name or ""
        else:
            arguments, name = "{}", tool_call.type or ""
        is_signed = _is_signed(tool_call.extra_content)
        conversation.add_tool_call(Part("tool_call", arguments, name, call_id, is_signed=is_signed))


def _signers(message: Message) -> Iterator[str]:
    """The providers whose shape the message's signatures or its kept audio have, "" if unknown."""
    if message.audio:
        yield "openai"
    if any(block.signature or block.data for block in message.thinking_blocks or ()):
        yield "anthropic"
    for block in message.reasoning_details or ():
        if block.signature or block.data:
            yield _SIGNERS.get(block.format or "", "")
    if any(_is_signed(call.extra_content) for call in message.tool_calls or ()):
        yield "google"
    if message.reasoning_opaque:
        yield ""


def _is_signed(extra: Any) -> bool:
    """True for a call that carries the thought signature of Gemini's OpenAI-compatible API."""
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and bool(google.get("thought_signature"))


def _parts(content: str | list[str | ContentPart | None] | None) -> Sequence[Part]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Part("text", content),)
    return [_part(part) for part in content if part is not None]


def _part(part: str | ContentPart) -> Part:
    if isinstance(part, str):
        return Part("text", part)
    text = part.text if part.text is not None else part.refusal
    kind: PartKind
    if part.type in _TEXTS:
        kind = "text"
    elif part.type == "thinking" or part.type == "reasoning":
        kind, text = "thinking", text or _joined(part.thinking)
    elif part.type in _IMAGES:
        width, height = image_size(part.image_url, part.source)
        marker = bool(part.cache_control)
        return Part("image", has_cache_marker=marker, width=width, height=height)
    else:
        kind = "file" if text is None else "text"
    return Part(kind, text or "", has_cache_marker=bool(part.cache_control))


def _joined(thinking: Any) -> str:
    """Text of a `thinking` field: a string, or text chunks as Mistral sends them."""
    if isinstance(thinking, str):
        return thinking
    if not isinstance(thinking, list):
        return ""
    chunks = [chunk.get("text") for chunk in thinking if isinstance(chunk, dict)]
    return "".join(chunk for chunk in chunks if isinstance(chunk, str))


def _thinking_parts(message: Message) -> Sequence[Part]:
    """Thinking that OpenAI-compatible servers return: five spellings, the signed ones first."""
    for blocks in (message.thinking_blocks, message.reasoning_details):
        if blocks:
            return [
                Part(
                    "thinking",
                    block.thinking or block.text or block.summary or "",
                    is_signed=bool(block.signature or block.data),
                )
                for block in blocks
            ]
    for text in (message.reasoning_content, message.reasoning, message.reasoning_text):
        if text and isinstance(text, str):
            return (Part("thinking", text, is_signed=bool(message.reasoning_opaque)),)
    if message.reasoning_opaque:
        return (Part("thinking", is_signed=True),)
    return ()


def _tools(wire: Body) -> tuple[ToolSpec, ...]:
    tools = [_tool(tool, i) for i, tool in enumerate(wire.tools or ())]
    for i, function in enumerate(wire.functions or ()):
        schema = jsontext.kept_raw(function.parameters, "functions[", i, "].parameters")
        tools.append(ToolSpec(function.name or "", function.description or "", schema))
    return tuple(tools)


def _tool(tool: Tool, index: int) -> ToolSpec:
    kind = tool.type or "function"
    has_marker = bool(tool.cache_control)
    if function := tool.function or tool.custom:
        field = ("tools[", index, "].", kind, ".parameters")
        return ToolSpec(
            name=function.name or "",
            description=function.description or "",
            schema=jsontext.kept_raw(function.parameters, *field)
            or jsontext.kept_raw(function.format, *field),
            kind=kind,
            is_strict=bool(function.strict),
            has_cache_marker=has_marker or bool(function.cache_control),
        )
    schema = jsontext.kept_raw(tool.parameters, "tools[", index, "].parameters")
    return ToolSpec(
        name=tool.name or kind,
        description=tool.description or "",
        schema=schema or jsontext.kept_raw(tool.input_schema, "tools[", index, "].input_schema"),
        kind=kind,
        is_strict=bool(tool.strict),
        has_cache_marker=has_marker,
    )


def _tool_choice(wire: Body) -> ToolChoice:
    choice = wire.tool_choice if wire.tool_choice is not None else wire.function_call
    if choice is None:
        return ToolChoice()
    if isinstance(choice, str):
        return _mode(choice)
    return _chosen(choice)


def _chosen(choice: WireToolChoice) -> ToolChoice:
    if choice.allowed_tools:
        return _mode(choice.allowed_tools.mode or "auto")
    for named in (choice.function, choice.custom, choice):
        if named and named.name:
            return ToolChoice("named", named.name)
    return _mode(choice.type or choice.mode or "auto")


def _mode(mode: str) -> ToolChoice:
    if mode == "none":
        return ToolChoice("none")
    return ToolChoice("required") if mode in ("required", "any") else ToolChoice()


def _response_format(wire: Body) -> tuple[ResponseFormat, bytes, bool]:
    form = wire.response_format
    if form is None or isinstance(form, str):
        return "text", b"", False
    if form.type == "json_schema" or form.json_schema:
        wanted = form.json_schema or form
        schema = jsontext.kept_raw(wanted.schema, "response_format.json_schema.schema")
        return "json_schema", schema, bool(wanted.strict)
    return ("json_object" if form.type == "json_object" else "text"), b"", False


def _thinking(wire: Body) -> tuple[str | None, int | None]:
    """Asked effort and budget; besides OpenAI's field those of OpenRouter, DeepSeek and Qwen."""
    if wire.reasoning_effort:
        return wire.reasoning_effort.lower(), None
    budget = wire.thinking_budget
    if reasoning := wire.reasoning:
        return _asked(reasoning, reasoning.max_tokens or budget)
    if wire.thinking:
        return _asked(wire.thinking, wire.thinking.budget_tokens or budget)
    if wire.enable_thinking is None:
        return ("budget", budget) if budget else (None, None)
    if not wire.enable_thinking:
        return "none", None
    return ("budget", budget) if budget else ("adaptive", None)


def _asked(reasoning: Reasoning, budget: int | None) -> tuple[str | None, int | None]:
    if reasoning.enabled is False or reasoning.type == "disabled":
        return "none", None
    if reasoning.effort:
        return reasoning.effort.lower(), budget
    if budget:
        return "budget", budget
    return ("adaptive" if reasoning.enabled or reasoning.type else None), None


def _cache_ttl_s(wire: Body, body: bytes, *, has_markers: bool) -> int | None:
    """The longer of OpenAI's retention and what cache markers for other providers ask for."""
    kept = billing.duration_s(wire.prompt_cache_retention)
    marked = billing.longest_ttl_s(body) if has_markers else None
    return max((seconds for seconds in (kept, marked) if seconds is not None), default=None)


def _session_hint(wire: Body) -> str | None:
    metadata = wire.metadata if isinstance(wire.metadata, dict) else {}
    named = (wire.prompt_cache_key, wire.session_id, wire.litellm_session_id)
    held = (metadata.get("session_id"), metadata.get("sessionId"))
    return next((hint for hint in (*named, *held) if hint and isinstance(hint, str)), None)
