"""Parses Gemini generateContent bodies."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from router_model.errors import InvalidRequestError
from router_model.formats import billing, jsontext
from router_model.formats import gemini_wire as wire_types
from router_model.formats.conversation import Conversation
from router_model.formats.gemini_parts import add_content, system_parts
from router_model.formats.gemini_wire import Body, Declaration, either
from router_model.types import Request, ResponseFormat, ToolChoice, ToolSpec

_BODY = msgspec.json.Decoder(Body)
_DECLARATIONS = msgspec.json.Decoder(list[Declaration] | None)

_DECLARATION_KEYS = frozenset({"functionDeclarations", "function_declarations"})
_UPPER_TYPE = re.compile(rb'("type"\s*:\s*)"(OBJECT|ARRAY|STRING|NUMBER|INTEGER|BOOLEAN|NULL)"')


def parse(body: bytes) -> Request:
    """The request in a generateContent body; the model is in the URL and so usually missing."""
    wire = jsontext.decode(_BODY, body)
    contents = wire.contents if isinstance(wire.contents, list) else [wire.contents]
    if not contents or contents[0] is None:
        raise InvalidRequestError("contents", wire.contents, "a non-empty array of contents")
    conversation = Conversation("google")
    system = wire.system_instruction if wire.system_camel is None else wire.system_camel
    conversation.add_system(system_parts(system))
    for content in contents:
        if content is not None:
            add_content(conversation, content)
    config = either(wire.generation_camel, wire.generation_config) or wire_types.Generation()
    thinking, budget = _thinking(config)
    response_format, schema = _response_format(config)
    has_state = bool(either(wire.cached_camel, wire.cached_content))
    n_answers = either(config.count_camel, config.candidate_count)
    return Request(
        messages=conversation.messages(),
        system=conversation.system,
        tools=tuple(_tools(wire)),
        tool_choice=_tool_choice(wire),
        response_format=response_format,
        response_schema=schema,
        is_strict_response=bool(schema),
        requested_model=(wire.model or "").removeprefix("models/"),
        max_output_tokens=either(config.max_camel, config.max_output_tokens),
        temperature=config.temperature,
        top_p=either(config.top_p_camel, config.top_p),
        seed=config.seed,
        stream=bool(wire.stream),
        thinking=thinking,
        thinking_budget=budget,
        session_hint=_session_hint(wire.session_id),
        service_tier=billing.service_tier_of(wire.tier_camel, wire.service_tier),
        has_provider_state=has_state,
        tied_to=conversation.tied_to(has_state=has_state),
        n_answers=1 if n_answers is None else n_answers,
    )


def _tools(wire: Body) -> Iterator[ToolSpec]:
    for i, tool in enumerate(wire.tools or ()):
        for key, raw in tool.items():
            if key not in _DECLARATION_KEYS:
                kind = _snake(key)
                yield ToolSpec(name=kind, kind=kind)
                continue
            at = f"tools[{i}].{key}"
            for j, function in enumerate(jsontext.decode(_DECLARATIONS, raw, at=at) or ()):
                yield _declared(function, (at, "[", j, "].parameters"))


def _declared(function: Declaration, field: tuple[object, ...]) -> ToolSpec:
    schemas = (function.json_camel, function.parameters_json_schema, function.parameters)
    return ToolSpec(function.name or "", function.description or "", _schema(field, *schemas))


def _schema(field: tuple[object, ...], *spellings: Raw) -> bytes:
    """The first schema given, its upper-case type names as JSON Schema writes them."""
    for raw in spellings:
        if kept := jsontext.kept_raw(raw, *field):
            return _UPPER_TYPE.sub(lambda found: found[1] + b'"' + found[2].lower() + b'"', kept)
    return b""


def _snake(name: str) -> str:
    """The snake_case spelling of a tool's key.

    >>> _snake("googleSearch"), _snake("url_context")
    ('google_search', 'url_context')
    """
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _tool_choice(wire: Body) -> ToolChoice:
    config = either(wire.tool_config_camel, wire.tool_config)
    calling = either(config.calling_camel, config.function_calling_config) if config else None
    if calling is None:
        return ToolChoice()
    mode = (calling.mode or "").upper()
    if mode == "NONE":
        return ToolChoice("none")
    if mode != "ANY":
        return ToolChoice()
    names = either(calling.names_camel, calling.allowed_function_names) or []
    return ToolChoice("named", names[0]) if len(names) == 1 else ToolChoice("required")


def _response_format(config: wire_types.Generation) -> tuple[ResponseFormat, bytes]:
    field = ("generationConfig.responseSchema",)
    schema = _schema(
        field,
        config.json_camel,
        config.response_json_schema,
        config.schema_camel,
        config.response_schema,
    )
    if schema:
        return "json_schema", schema
    mime = either(config.mime_camel, config.response_mime_type)
    return ("json_object" if mime == "application/json" else "text"), b""


def _thinking(config: wire_types.Generation) -> tuple[str | None, int | None]:
    """Asked level, or what the budget means: 0 is none, -1 lets the model choose."""
    thinking = either(config.thinking_camel, config.thinking_config)
    if thinking is None:
        return None, None
    level = either(thinking.level_camel, thinking.thinking_level)
    if level and level != "THINKING_LEVEL_UNSPECIFIED":
        return level.lower(), None
    budget = either(thinking.budget_camel, thinking.thinking_budget)
    if budget is None:
        return None, None
    if budget > 0:
        return "budget", budget
    return ("none" if budget == 0 else "adaptive"), None


def _session_hint(session: Any) -> str | None:
    return session if session and isinstance(session, str) else None
