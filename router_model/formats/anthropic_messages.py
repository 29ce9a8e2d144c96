"""Parses Anthropic Messages bodies."""

import re
from collections.abc import Iterator

import msgspec

from router_model.errors import InvalidRequestError
from router_model.formats import billing, jsontext
from router_model.formats.anthropic_messages_wire import (
    Block,
    Body,
    Message,
    Metadata,
    Source,
    Tool,
)
from router_model.formats.conversation import Conversation, normal_role
from router_model.formats.image_size import image_size
from router_model.types import Part, Request, ResponseFormat, ToolChoice, ToolSpec

_BODY = msgspec.json.Decoder(Body)
_SOURCE = msgspec.json.Decoder(Source | None)

_OLD_USER_ID = re.compile(r"_session_([0-9A-Za-z-]{8,})$")
_TEXTS = frozenset({"text", "compaction"})
_WHOLE = frozenset({"text", "image", "document", "search_result"})
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def parse(body: bytes) -> Request:
    """The request in a Messages body."""
    wire = jsontext.decode(_BODY, body)
    if not wire.messages:
        raise InvalidRequestError("messages", wire.messages, "a non-empty array of messages")
    conversation = Conversation("anthropic")
    conversation.add_system(list(_parts(wire.system)))
    for message in wire.messages:
        _add_message(conversation, message)
    if wire.cache_control:
        conversation.mark_last()
    tools = tuple([_tool(tool, i) for i, tool in enumerate(wire.tools or ())])
    conversation.count_tool_markers(tools)
    tool_choice, parallel = _tool_choice(wire)
    thinking, budget = _thinking(wire)
    response_format, schema, is_strict = _response_format(wire)
    return Request(
        messages=conversation.messages(),
        system=conversation.system,
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=parallel,
        response_format=response_format,
        response_schema=schema,
        is_strict_response=is_strict,
        requested_model=wire.model or "",
        max_output_tokens=wire.max_tokens,
        temperature=wire.temperature,
        top_p=wire.top_p,
        seed=wire.seed,
        stream=bool(wire.stream),
        thinking=thinking,
        thinking_budget=budget,
        n_cache_markers=conversation.n_cache_markers,
        session_hint=_session_hint(wire.metadata),
        cache_ttl_s=billing.longest_ttl_s(body) if conversation.n_cache_markers else None,
        service_tier=_service_tier(wire),
        has_provider_state=bool(wire.container),
        tied_to=conversation.tied_to(has_state=bool(wire.container)),
    )


def _add_message(conversation: Conversation, message: Message) -> None:
    role = normal_role(message.role)
    if role == "system":
        conversation.add_system(list(_parts(message.content)))
        return
    if not isinstance(message.content, list):
        conversation.add(role, Part("text", message.content or ""))
        return
    blocks = [
        Block("text", block) if isinstance(block, str) else block for block in message.content
    ]
    if role == "user":
        blocks.sort(key=_follows_results)
    for block in blocks:
        if block is None:
            continue
        if _is_result(block):
            _add_result(conversation, block)
        elif block.type in _CALLS:
            arguments = jsontext.arguments_text(block.input)
            call = Part(
                kind="tool_call",
                text=arguments,
                tool_name=block.name or "",
                call_id=block.id or "",
                has_cache_marker=bool(block.cache_control),
            )
            conversation.add_tool_call(call)
        else:
            conversation.add(role, _part(block))


def _is_result(block: Block) -> bool:
    return block.type is not None and block.type.endswith("tool_result")


def _follows_results(block: Block | None) -> bool:
    """Sort key: a user message's tool results come first, as the API itself demands."""
    return block is None or not _is_result(block)


def _add_result(conversation: Conversation, block: Block) -> None:
    content = block.content
    failed = isinstance(content, Block) and bool(content.error_code)
    conversation.add_tool_result(
        _parts(content),
        call_id=block.tool_use_id or "",
        tool_name=block.name or "",
        is_error=bool(block.is_error) or failed,
        has_cache_marker=bool(block.cache_control),
    )


def _parts(content: str | list[str | Block | None] | Block | None) -> Iterator[Part]:
    """Parts of content that holds no calls: system text, or what a tool returned."""
    if isinstance(content, str):
        yield Part("text", content)
    elif isinstance(content, Block):
        yield from _returned(content)
    else:
        for block in content or ():
            if isinstance(block, str):
                yield Part("text", block)
            elif block is not None:
                yield from _returned(block)


def _returned(block: Block) -> Iterator[Part]:
    """Parts of one object in a tool's result, server tools' own result objects included."""
    if block.text is not None or block.type in _WHOLE:
        yield _part(block)
        return
    held = block.content if isinstance(block.content, str) else None
    if texts := [text for text in (block.title, block.stdout, block.stderr, held) if text]:
        yield Part("text", "\n".join(texts), has_cache_marker=bool(block.cache_control))
    elif not isinstance(block.content, list | Block):
        yield _part(block)
    if isinstance(block.content, list | Block):
        yield from _parts(block.content)


def _part(block: Block) -> Part:
    has_marker = bool(block.cache_control)
    if block.type == "image":
        width, height = image_size(block.source)
        return Part("image", has_cache_marker=has_marker, width=width, height=height)
    if block.type == "thinking":
        return Part("thinking", block.thinking or "", is_signed=bool(block.signature))
    if block.type == "redacted_thinking":
        return Part("thinking", is_signed=True)
    text = block.text
    if text is None and block.type in _TEXTS and isinstance(block.content, str):
        text = block.content
    if text is not None or block.type in _TEXTS:
        return Part("text", text or "", has_cache_marker=has_marker)
    return Part("file", _inline_text(block), has_cache_marker=has_marker)


def _inline_text(block: Block) -> str:
    """Plain text that a document or search result carries in the body."""
    if block.type == "search_result":
        return "\n".join(part.text for part in _parts(block.content))
    if block.type != "document" or not bytes(block.source):
        return ""
    source = jsontext.decode(_SOURCE, block.source, at="source") or Source()
    if source.type == "text":
        return source.data or ""
    return "\n".join(part.text for part in _parts(source.content))


def _tool(tool: Tool, index: int) -> ToolSpec:
    inner = tool.function or tool
    kind = tool.type or ("mcp_toolset" if tool.mcp_server_name else "function")
    schema = jsontext.kept_raw(inner.input_schema, "tools[", index, "].input_schema")
    return ToolSpec(
        name=inner.name or tool.mcp_server_name or kind,
        description=inner.description or "",
        schema=schema or jsontext.kept_raw(inner.parameters, "tools[", index, "].parameters"),
        kind="function" if kind == "custom" else kind,
        is_strict=bool(inner.strict),
        has_cache_marker=bool(tool.cache_control or inner.cache_control),
    )


def _tool_choice(wire: Body) -> tuple[ToolChoice, bool | None]:
    choice = wire.tool_choice
    if choice is None:
        return ToolChoice(), None
    if isinstance(choice, str):
        return _mode(choice, ""), None
    disabled = choice.disable_parallel_tool_use
    return _mode(choice.type, choice.name or ""), None if disabled is None else not disabled


def _mode(mode: str | None, name: str) -> ToolChoice:
    if mode == "tool" and name:
        return ToolChoice("named", name)
    if mode in ("any", "tool", "required"):
        return ToolChoice("required")
    return ToolChoice("none") if mode == "none" else ToolChoice()


def _thinking(wire: Body) -> tuple[str | None, int | None]:
    """Asked effort and budget; an explicit effort wins over the kind of thinking."""
    asked = wire.thinking
    budget = asked.budget_tokens if asked else None
    if wire.output_config and wire.output_config.effort:
        return wire.output_config.effort.lower(), budget
    if asked is None or asked.type is None:
        return None, budget
    return {"disabled": "none", "enabled": "budget"}.get(asked.type, asked.type), budget


def _response_format(wire: Body) -> tuple[ResponseFormat, bytes, bool]:
    """The answer's format; Anthropic enforces a schema always, so it is strict."""
    nested = wire.output_config.format if wire.output_config else None
    form, field = (
        (nested, "output_config.format") if nested else (wire.output_format, "output_format")
    )
    if form is None or form.type != "json_schema":
        return "text", b"", False
    return "json_schema", jsontext.kept_raw(form.schema, f"{field}.schema"), True


def _service_tier(wire: Body) -> str | None:
    """The asked tier; a fast mode, which is asked for by `speed`, is one."""
    speed = billing.service_tier_of(wire.speed)
    return "fast" if speed == "fast" else billing.service_tier_of(wire.service_tier)


def _session_hint(metadata: Metadata | None) -> str | None:
    """The session in `metadata`: Claude Code's JSON user id, its older form, or a plain field."""
    if metadata is None:
        return None
    user_id = metadata.user_id or ""
    if user_id.startswith("{"):
        try:
            fields = msgspec.json.decode(user_id)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            fields = {}
        session = fields.get("session_id")
    elif old := _OLD_USER_ID.search(user_id):
        session = old[1]
    else:
        session = metadata.session_id
    return session if session and isinstance(session, str) else None
