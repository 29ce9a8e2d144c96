"""Parses OpenAI Responses bodies."""

from collections.abc import Iterator

import msgspec

from router_model.errors import InvalidRequestError
from router_model.formats import billing, jsontext
from router_model.formats.conversation import Conversation
from router_model.formats.openai_responses_items import add_item, is_reference
from router_model.formats.openai_responses_wire import Body, Item, Tool
from router_model.formats.openai_responses_wire import ToolChoice as WireToolChoice
from router_model.types import Part, Request, ResponseFormat, ToolChoice, ToolSpec

_BODY = msgspec.json.Decoder(Body)
_TOOLS = msgspec.json.Decoder(list[Tool] | None)

_NAMELESS_CHOICES = frozenset({"auto", "none", "required", "allowed_tools", "function", "custom"})


def parse(body: bytes) -> Request:
    """The request in a Responses body."""
    wire = jsontext.decode(_BODY, body)
    has_state = bool(wire.previous_response_id or wire.conversation)
    if not wire.input and not has_state and not wire.prompt:
        allowed = "text or a non-empty array of items, unless previous_response_id, "
        raise InvalidRequestError("input", wire.input, f"{allowed}conversation or prompt is given")
    conversation = Conversation("openai")
    _add_instructions(conversation, wire)
    items = [wire.input] if isinstance(wire.input, str) else wire.input or []
    for i, item in enumerate(items):
        add_item(conversation, item, f"input[{i}]")
    tools = (*_tools(wire.tools or [], "tools"), *_loaded_tools(items))
    conversation.count_tool_markers(tools)
    response_format, schema, is_strict = _response_format(wire)
    effort = wire.reasoning.effort if wire.reasoning else None
    has_state = has_state or any(is_reference(item) for item in items)
    return Request(
        messages=conversation.messages(),
        system=conversation.system,
        tools=tools,
        tool_choice=_tool_choice(wire.tool_choice),
        parallel_tool_calls=wire.parallel_tool_calls,
        response_format=response_format,
        response_schema=schema,
        is_strict_response=is_strict,
        requested_model=wire.model or "",
        max_output_tokens=wire.max_output_tokens,
        temperature=wire.temperature,
        top_p=wire.top_p,
        seed=wire.seed,
        stream=bool(wire.stream),
        thinking=effort.lower() if effort else None,
        n_cache_markers=conversation.n_cache_markers,
        session_hint=_session_hint(wire),
        cache_ttl_s=_cache_ttl_s(wire, body, has_markers=conversation.n_cache_markers > 0),
        service_tier=billing.service_tier_of(wire.service_tier),
        has_provider_state=has_state,
        tied_to=conversation.tied_to(has_state=has_state),
    )


def _add_instructions(conversation: Conversation, wire: Body) -> None:
    if isinstance(wire.instructions, str):
        conversation.add_system([Part("text", wire.instructions)])
        return
    for i, item in enumerate(wire.instructions or ()):
        add_item(conversation, item, f"instructions[{i}]")


def _tools(tools: list[Tool], at: str) -> Iterator[ToolSpec]:
    for i, tool in enumerate(tools):
        if tool.type == "namespace":
            yield from _tools(tool.tools or [], f"{at}[{i}].tools")
        else:
            yield _tool(tool.function or tool, tool.type or "function", (at, "[", i, "]"))


def _tool(tool: Tool, kind: str, at: tuple[object, ...]) -> ToolSpec:
    schema = jsontext.kept_raw(tool.parameters, *at, ".parameters")
    return ToolSpec(
        name=tool.name or tool.server_label or kind,
        description=tool.description or "",
        schema=schema or jsontext.kept_raw(tool.format, *at, ".format"),
        kind=kind,
        is_strict=bool(tool.strict),
        has_cache_marker=bool(tool.cache_control),
    )


def _loaded_tools(items: list[str] | list[str | Item]) -> Iterator[ToolSpec]:
    """Tools that came in as items: found by a tool search, or added by the client."""
    for i, item in enumerate(items):
        if not isinstance(item, str) and item.type in ("tool_search_output", "additional_tools"):
            at = f"input[{i}].tools"
            if bytes(item.tools):
                yield from _tools(jsontext.decode(_TOOLS, item.tools, at=at) or [], at)


def _tool_choice(choice: str | WireToolChoice | None) -> ToolChoice:
    if choice is None:
        return ToolChoice()
    if isinstance(choice, str):
        return _mode(choice)
    name = choice.name or (choice.function.name if choice.function else None)
    if name:
        return ToolChoice("named", name)
    if choice.type and choice.type not in _NAMELESS_CHOICES:
        return ToolChoice("named", choice.type)
    return _mode(choice.mode or choice.type or "auto")


def _mode(mode: str) -> ToolChoice:
    if mode == "none":
        return ToolChoice("none")
    return ToolChoice("required") if mode in ("required", "any") else ToolChoice()


def _response_format(wire: Body) -> tuple[ResponseFormat, bytes, bool]:
    form = wire.text.format if wire.text else None
    if form is None or form.type not in ("json_schema", "json_object"):
        return "text", b"", False
    if form.type == "json_object":
        return "json_object", b"", False
    return "json_schema", jsontext.kept_raw(form.schema, "text.format.schema"), bool(form.strict)


def _cache_ttl_s(wire: Body, body: bytes, *, has_markers: bool) -> int | None:
    """The longer of OpenAI's retention and what cache markers for other providers ask for."""
    kept = billing.duration_s(wire.prompt_cache_retention)
    marked = billing.longest_ttl_s(body) if has_markers else None
    return max((seconds for seconds in (kept, marked) if seconds is not None), default=None)


def _session_hint(wire: Body) -> str | None:
    """The cache key, else the conversation, else the thread that the client's metadata names."""
    conversation = wire.conversation
    if conversation is not None and not isinstance(conversation, str):
        conversation = conversation.id
    hints = [wire.prompt_cache_key, conversation]
    for metadata in (wire.client_metadata, wire.metadata):
        if isinstance(metadata, dict):
            hints += [metadata.get("session_id"), metadata.get("thread_id")]
    return next((hint for hint in hints if hint and isinstance(hint, str)), None)
