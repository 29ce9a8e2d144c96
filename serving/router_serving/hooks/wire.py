"""`POST /outcomes/wire`: reports an answer as it went over the wire.

For gateways that can't read answers. What else is known may stand beside it, as in `/outcomes`, and
wins over what is read here. From there on it takes the way of every outcome.
"""

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Response
from fastapi import Request as HttpRequest
from msgspec import Raw, Struct
from pydantic import ValidationError

from router_model import formats
from router_model.answers import Answer, read_answer, tool_calls_valid, wire_signals
from router_model.errors import InvalidRequestError
from router_model.formats import jsontext
from router_model.types import Outcome, Request, WireFormat
from router_serving.access import Reporter
from router_serving.envelope import named_format, refuse_secrets
from router_serving.parts import Running
from router_serving.routes import Parts, Tenant, as_json, named_tenant, report
from router_serving.schemas import UsageBody, outcome_of

router = APIRouter()
PROVIDER_ERROR: Final = "provider_error"
INCOMPLETE: Final = "incomplete"
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ANYTHING = msgspec.json.Decoder(Any)
OWN = ("request", "response", "format", "path", "status", "is_cut")
"""The members that `/outcomes` does not have."""


class Told(NamedTuple):
    """An outcome, and the request that it is of where that could be read."""

    outcome: Outcome
    request: Request | None


class Seen(Struct, frozen=True, kw_only=True):
    """What went over the wire, as far as it was seen; empty is what was not."""

    request: bytes = b""
    response: bytes = b""
    wire_format: WireFormat | None = None
    path: str | None = None
    status: int | None = None
    is_cut: bool = False


@router.post("/outcomes/wire", include_in_schema=False)  # described in openapi
async def post_wire_outcome(
    request: HttpRequest, parts: Parts, rights: Reporter, x_router_tenant: Tenant = None
) -> Response:
    """Read an answer, make its outcome durable, then acknowledge it."""
    body = await parts.bodies.read(request.receive, request.headers)
    members = jsontext.decode(_MEMBERS, jsontext.check_body(body))
    given = {
        name: jsontext.decode(_ANYTHING, raw, at=name)
        for name, raw in members.items()
        if name not in ("request", "response")
    }
    seen = seen_in(members, given)
    tenant = named_tenant(rights, x_router_tenant)
    return as_json(await report_wire(parts, given, seen, tenant=tenant))


async def report_wire(
    parts: Running, given: Mapping[str, Any], seen: Seen, *, tenant: str | None
) -> Mapping[str, Any]:
    """Report what the wire shows, and of an earlier decision that it was asked again."""
    # Bodies may be megabytes: in a thread, decisions go on meanwhile.
    outcome, request = await asyncio.to_thread(wire_outcome, given, seen)
    told = await report(parts, [outcome], tenant=tenant)
    owner = tenant or next(iter(parts.engine.recent.tenants_of(outcome.decision_id)), None)
    decided = None if owner is None else parts.engine.recent.given(owner, outcome.decision_id)
    if request is None or decided is None or decided.session is None:
        return told
    session = f"{owner}\0{decided.session}"
    again = parts.retries.reported(outcome, request, session=session, now_s=time.monotonic())
    if again is not None:
        await report(parts, [again], tenant=owner)
    return told


def seen_in(members: Mapping[str, Raw], given: Mapping[str, Any]) -> Seen:
    """What a report shows of the wire; InvalidRequestError for a member of the wrong type."""
    path, status, is_cut = given.get("path"), given.get("status"), given.get("is_cut", False)
    if path is not None and not isinstance(path, str):
        raise InvalidRequestError("path", path, "the path that the client called")
    if status is not None and (type(status) is not int or not 100 <= status <= 599):
        raise InvalidRequestError("status", status, "an HTTP status, a whole number")
    if not isinstance(is_cut, bool):
        raise InvalidRequestError("is_cut", is_cut, "true or false")
    return Seen(
        request=_bytes_of(members, "request", opens=(b"{",)),
        response=_bytes_of(members, "response", opens=(b"{", b"[")),
        wire_format=named_format(given.get("format"), field="format"),
        path=path,
        status=status,
        is_cut=is_cut,
    )


def wire_outcome(given: Mapping[str, Any], seen: Seen) -> Told:
    """The outcome of what was given, and of what the wire shows beyond it."""
    told = {name: value for name, value in given.items() if name not in OWN}
    wire_format = _format_of(seen)
    request = _request_of(seen, wire_format)
    outcome = outcome_of({**derived(seen, wire_format, request), **told}, at="")
    refuse_secrets(repr(outcome), "body")
    return Told(outcome, request)


def derived(seen: Seen, wire_format: WireFormat | None, request: Request | None) -> dict[str, Any]:
    """The members of an outcome that the wire shows; none of what can't be read.

    Errors are named and not quoted: a provider's message may hold what a user wrote.
    """
    found: dict[str, Any] = {}
    if seen.status is not None and seen.status >= HTTPStatus.BAD_REQUEST:
        found["error"] = f"http_{seen.status}"
    if wire_format is None or not seen.response:
        return found
    answer = read_answer(seen.response, wire_format=wire_format)
    if answer.usage is not None and _is_consistent(usage := msgspec.to_builtins(answer.usage)):
        found["usage"] = usage
    return found if seen.is_cut else _judged(answer, request) | found


def _judged(answer: Answer, request: Request | None) -> dict[str, Any]:
    """What an answer that was seen whole says of itself; nothing where it can't be read.

    What is in no dialect came from a proxy, or is read wrongly: that says nothing of the model.
    """
    if not answer.is_of_format:
        return {}
    found: dict[str, Any] = {"n_tool_calls": len(answer.calls)}
    if answer.error is not None:
        found["error"] = PROVIDER_ERROR
    elif not answer.is_complete:
        found["error"] = INCOMPLETE
    if answer.n_call_chunks:
        found["n_tool_call_chunks"] = answer.n_call_chunks
    if request is not None:
        found["tool_call_valid"] = tool_calls_valid(request, answer)
        found["signals"] = dict(wire_signals(request, answer))
    return found


def _format_of(seen: Seen) -> WireFormat | None:
    """The dialect as named, else of the path, else of the request; None if nothing tells."""
    if found := seen.wire_format or (formats.format_of_path(seen.path) if seen.path else None):
        return found
    try:
        return formats.detect(jsontext.check_body(seen.request))
    except InvalidRequestError:
        return None


def _request_of(seen: Seen, wire_format: WireFormat | None) -> Request | None:
    """The client's request, None where it was not sent or can't be read."""
    if wire_format is None or not seen.request:
        return None
    try:
        return formats.parse(seen.request, wire_format=wire_format, path=seen.path)
    except InvalidRequestError:
        return None


def _is_consistent(usage: Mapping[str, Any]) -> bool:
    """False for counts that contradict each other: they are left out, and the rest is kept."""
    try:
        UsageBody.model_validate(usage)
    except ValidationError:
        return False
    return True


def _bytes_of(members: Mapping[str, Raw], name: str, *, opens: tuple[bytes, ...]) -> bytes:
    """The bytes of a body that is sent as JSON or as its text."""
    raw = bytes(members.get(name, b"null"))
    if raw == b"null" or raw.startswith(opens):
        return b"" if raw == b"null" else raw
    text = jsontext.decode(_ANYTHING, raw, at=name)
    if not isinstance(text, str):
        raise InvalidRequestError(name, text, "a body as JSON, or its text")
    return text.encode("utf-8", "replace")
