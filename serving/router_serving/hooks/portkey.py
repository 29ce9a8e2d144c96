"""`POST /portkey`: the webhook that Portkey's gateway calls before and after a request.

Before it, the model of the body is set; after it, the answer is reported. Portkey names no call in
its hooks, so the two are brought together by the content of the body. Clients hold the key of the
hooks and may write their headers, so it has to be bound to one tenant.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson
from fastapi import APIRouter, Request, Response
from msgspec import Raw, Struct

from router_model.errors import InvalidRequestError
from router_model.formats import jsontext
from router_model.types import WireFormat
from router_serving.access import TENANT_HEADER, Asker, Rights
from router_serving.asgi import headers_of
from router_serving.call import Call, Headers
from router_serving.envelope import caller_of, overrides_of
from router_serving.hooks.asking import asked, decided
from router_serving.hooks.pending import Pending
from router_serving.hooks.wire import Seen, report_wire
from router_serving.parts import Running
from router_serving.redaction import as_name
from router_serving.routes import Parts, as_json, named_tenant

router = APIRouter()
BEFORE, AFTER = "beforeRequestHook", "afterRequestHook"
FORMATS: Final[Mapping[str, WireFormat]] = {
    "chatComplete": WireFormat.OPENAI_CHAT,
    "messages": WireFormat.ANTHROPIC_MESSAGES,
    "createModelResponse": WireFormat.OPENAI_RESPONSES,
}
"""The dialects of Portkey's kinds of requests; any other kind passes untouched."""
PASS: Final[Mapping[str, Any]] = {"verdict": True}


class Sent(Struct, frozen=True):
    """What goes to the provider."""

    json: Raw = Raw()


class Received(Struct, frozen=True, rename="camel"):
    """What came from the provider; nothing is in `json` where it was streamed."""

    json: Raw = Raw()
    status_code: int | None = None


class Routed(Struct, frozen=True):
    """A body by its model."""

    model: str


class Hook(Struct, frozen=True, rename="camel"):
    """What Portkey sends, as far as it is read."""

    event_type: str
    request: Sent = Sent()
    response: Received = Received()
    request_type: str | None = None
    metadata: Any = None


_HOOK = msgspec.json.Decoder(Hook)
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ANYTHING = msgspec.json.Decoder(Any)
_MODEL = msgspec.json.Decoder(Routed)


@router.post("/portkey", include_in_schema=False)  # described in openapi
async def post_portkey(request: Request, parts: Parts, rights: Asker) -> Response:
    """Set the model before a request, and report the answer after it."""
    rights.check_bound()
    headers = headers_of(request.scope)
    body = await parts.endpoints.body(request.receive, headers)
    hook = jsontext.decode(_HOOK, jsontext.check_body(body))
    if hook.event_type not in (BEFORE, AFTER):
        raise InvalidRequestError("eventType", hook.event_type, f"{BEFORE} or {AFTER}")
    if hook.request_type not in FORMATS or not (sent := _object(hook.request.json)):
        return as_json(PASS)
    if hook.event_type == BEFORE:
        return await _before(request, parts, hook, sent, rights=rights)
    rights = parts.access.rights(headers, "outcomes")
    return await _after(parts, hook, sent, headers=headers, rights=rights)


async def _before(
    request: Request, parts: Running, hook: Hook, body: bytes, *, rights: Rights
) -> Response:
    headers = headers_of(request.scope)
    caller = caller_of(_names(hook.metadata), headers, rights=rights)
    call = Call(
        body=body,
        wire_format=FORMATS[hook.request_type or ""],
        caller=caller,
        overrides=overrides_of({}, headers, catalog=parts.engine.router.catalog),
        headers=headers,
        prefix="request.json.",
        bound_key=rights.bound_key,
    )
    answered = await asked(request, parts, call)
    answer = answered.answer
    members = jsontext.decode(_MEMBERS, body, at="request.json")
    sent = msgspec.json.encode(members | {"model": answer.model})
    pending = Pending(answer.decision_id, time.monotonic())
    parts.pending.add(caller.tenant, content_of(sent), pending)
    return decided(
        parts,
        answered,
        {
            **PASS,
            "data": {"decision_id": answer.decision_id, "model": answer.model},
            "transformedData": {"request": {"json": orjson.Fragment(sent)}},
        },
    )


async def _after(
    parts: Running, hook: Hook, body: bytes, *, headers: Headers, rights: Rights
) -> Response:
    caller = caller_of(_names(hook.metadata), headers, rights=rights)
    pending = parts.pending.take(caller.tenant, content_of(body))
    if pending is None:
        return as_json({**PASS, "data": {"decision_id": None}})
    model = jsontext.decode(_MODEL, body, at="request.json").model
    seen = Seen(
        request=body,
        response=_object(hook.response.json),
        wire_format=FORMATS[hook.request_type or ""],
        status=hook.response.status_code,
    )
    given = {
        "decision_id": pending.decision_id,
        "model": model,
        "latency_ms": (time.monotonic() - pending.asked_s) * 1000,
    }
    tenant = named_tenant(rights, headers.get(TENANT_HEADER))
    told = await report_wire(parts, given, seen, tenant=tenant)
    return as_json({**PASS, "data": {"decision_id": pending.decision_id, **told}})


def content_of(body: bytes) -> bytes:
    """A body as it is compared: white space and the order of members do not count.

    >>> content_of(b'{"b": 2, "a": 1}') == content_of(b'{"a":1,"b":2}')
    True
    """
    content = jsontext.decode(_ANYTHING, body, at="request.json")
    return msgspec.json.encode(content, order="sorted")


def _object(raw: Raw) -> bytes:
    """The JSON of an object that has members, empty for anything else."""
    text = bytes(raw)
    return text if text.startswith(b"{") and text != b"{}" else b""


def _names(metadata: Any) -> Mapping[str, str]:
    """User and session as a client's metadata name them; never its tenant: anybody could say it."""
    if not isinstance(metadata, dict):
        return {}
    given = {"user": metadata.get("_user"), "session": metadata.get("session")}
    return {
        name: as_name(value)
        for name, value in given.items()
        if isinstance(value, str) and value and value.isprintable()
    }
