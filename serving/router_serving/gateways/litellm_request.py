"""Reads a call out of what LiteLLM's proxy hands to its callbacks."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final

import msgspec

from router_model.types import WireFormat
from router_serving.gateways.settings import GatewaySettings
from router_serving.redaction import as_name

FORMATS: Final[Mapping[str, WireFormat]] = MappingProxyType(
    {
        "completion": WireFormat.OPENAI_CHAT,
        "acompletion": WireFormat.OPENAI_CHAT,
        "anthropic_messages": WireFormat.ANTHROPIC_MESSAGES,
        "responses": WireFormat.OPENAI_RESPONSES,
        "aresponses": WireFormat.OPENAI_RESPONSES,
        "generate_content": WireFormat.GEMINI,
        "agenerate_content": WireFormat.GEMINI,
        "agenerate_content_stream": WireFormat.GEMINI,
    }
)
"""The dialect of each kind of call that the router decides; other kinds pass untouched."""
_OWN_METADATA: Final = (WireFormat.OPENAI_CHAT, WireFormat.GEMINI)
# The headers by which clients name their session, as the router knows them.
_SESSION_HEADER: Final = re.compile(
    r"x-[a-z0-9-]*(?:session|trace)-(?:id|affinity)|(?:session|thread|conversation)[-_]id"
)
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NOBODY: Final = (None, "", "default_user_id")
_EVERY_NAME: Final = ("*", "all-proxy-models", "all-team-models")
# What the router takes for a call that leaves the choice to it.
AUTO: Final = "auto"
_encode = msgspec.json.Encoder(enc_hook=str).encode


def body_of(data: Mapping[str, Any], wire_format: WireFormat, *, model: str) -> bytes:
    """The client's body: what it sent, without what LiteLLM has added, for `model`.

    Values are those of now: a guardrail that ran before may have masked some. In chat and Gemini
    calls LiteLLM keeps its own notes in the client's `metadata`.
    """
    sent = (data.get("proxy_server_request") or {}).get("body") or {}
    body = {
        name: data[name]
        for name in sent
        if name in data and name != "litellm_metadata" and not name.startswith("_litellm")
    }
    if "metadata" in body and wire_format in _OWN_METADATA:
        own = body.pop("metadata") or {}
        if requester := own.get("requester_metadata"):
            body["metadata"] = requester
    return _encode({**body, "model": model})


def session_headers(data: Mapping[str, Any]) -> Mapping[str, str]:
    """The client's headers that name its session."""
    headers = (data.get("proxy_server_request") or {}).get("headers") or {}
    return {
        name.lower(): value
        for name, value in headers.items()
        if _SESSION_HEADER.fullmatch(name.lower()) and isinstance(value, str) and value.isascii()
    }


def caller_of(
    data: Mapping[str, Any], key: Any, *, settings: GatewaySettings, headers: Mapping[str, str]
) -> dict[str, str]:
    """Who calls, by names alone: `key` is LiteLLM's record of the key, never the key itself."""
    session = None if headers else data.get("litellm_session_id")
    agent = (data.get("proxy_server_request") or {}).get("headers", {}).get("user-agent")
    named = {
        "tenant": tenant_of(key, settings),
        "key": _key_name(key),
        "user": _user(key),
        "session": session,
        "client": agent,
    }
    names = {name: _name(value) for name, value in named.items() if value}
    return {name: value for name, value in names.items() if value}


def tenant_of(key: Any, settings: GatewaySettings) -> str | None:
    """The tenant of a call, None for that of the gateway's own key."""
    if settings.tenant is not None:
        return settings.tenant
    if settings.tenant_from == "none":
        return None
    return _name(getattr(key, settings.tenant_from, None))


def groups_of(
    names: Iterable[str], key: Any, *, settings: GatewaySettings, access: Mapping[str, list[str]]
) -> Mapping[str, str]:
    """The models that may answer: the proxy's name of each by its name in the router's catalog.

    `names` are those of the proxy, `access` its access groups. A key or a team that may use only
    some models gets only these; where it lists nothing but the name that the router is asked for,
    that means all.
    """
    there = [name for name in names if name not in settings.auto_models]
    wild = [name for name in there if "*" in name]
    plain = {name: name for name in there if "*" not in name}
    found = {
        name: model
        for name, model in settings.groups.items()
        if name in plain or any(fnmatchcase(name, one) for one in wild)
    }
    groups: Mapping[str, str] = found if settings.groups else plain
    for allowed in (getattr(key, "models", None), getattr(key, "team_models", None)):
        groups = _allowed(groups, allowed or [], settings=settings, access=access)
    return {model: name for name, model in groups.items()}


def named_to_router(asked_for: str, models: Mapping[str, str], *, settings: GatewaySettings) -> str:
    """What the router is told that a client asked for: the catalog's name where there is one.

    A name that stands for the router's choice is "auto" to it, whatever it is to the proxy.
    """
    if asked_for in settings.auto_models:
        return AUTO
    return next((model for model, name in models.items() if name == asked_for), asked_for)


def group_of(model: str, models: Mapping[str, str], *, asked_for: str) -> str | None:
    """The proxy's name of the model that was decided, None where it has none.

    A client that keeps its own model is answered with the name that it asked for.
    """
    return models.get(model) or (asked_for if model == asked_for else None)


def _allowed(
    groups: Mapping[str, str],
    allowed: Iterable[str],
    *,
    settings: GatewaySettings,
    access: Mapping[str, list[str]],
) -> Mapping[str, str]:
    listed = [str(name) for name in allowed if name not in settings.auto_models]
    if not listed or set(listed) & set(_EVERY_NAME):
        return groups
    patterns = [member for name in listed for member in access.get(name, [name])]
    return {
        name: model
        for name, model in groups.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def _key_name(key: Any) -> str | None:
    alias, secret = getattr(key, "key_alias", None), getattr(key, "api_key", None)
    if alias or not secret:
        return alias or None
    text = str(secret)
    return text if _HASH.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()


def _user(key: Any) -> str | None:
    """Who is known by the key, else whom the client names; Claude Code names a session there."""
    user = getattr(key, "user_id", None)
    if user not in _NOBODY:
        return str(user)
    named = getattr(key, "end_user_id", None)
    return None if named in _NOBODY or str(named).startswith("{") else str(named)


def _name(value: object) -> str | None:
    text = str(value).strip() if value is not None else ""
    return as_name(text) if text and text.isprintable() else None
