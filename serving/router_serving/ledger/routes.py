"""The routes of the kill switches, for keys of any tenant with the scope `admin`."""

import time
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError

from router_model.errors import InvalidRequestError, MalformedJsonError
from router_serving.access import Admin
from router_serving.ledger.subjects import subject_of
from router_serving.ledger.switches import MAX_REASON_CHARS, reason_of, since_of
from router_serving.ledger.types import Switch
from router_serving.openapi import problems
from router_serving.routes import Parts, as_json
from router_serving.schemas import Strict, invalid_of

router = APIRouter(tags=["switches"])


class SwitchBody(Strict):
    """Why the subject is stopped."""

    reason: str = Field(
        min_length=1,
        max_length=MAX_REASON_CHARS,
        description="What the stopped callers are told: printable characters.",
    )


class SwitchOnBody(BaseModel):
    """A subject that is stopped."""

    subject: str = Field(description="In its one spelling, as `DELETE` takes it.")
    reason: str
    since: str = Field(description="UTC, ISO 8601.")


class SwitchesBody(BaseModel):
    """The switches that are on."""

    switches: list[SwitchOnBody]


class SwitchOffBody(BaseModel):
    """What became of a switch."""

    subject: str
    was_on: bool = Field(description="False where the subject was not stopped.")


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": SwitchBody.model_json_schema()}},
    }
}


@router.get("/switches", response_model=SwitchesBody, responses=problems(500, 503))
async def get_switches(parts: Parts, rights: Admin) -> Response:
    """Who is stopped, since when and why."""
    rights.check_any_tenant()
    found = await parts.ledger.ask(lambda store: store.switches())
    shown = [shown_of(switch) for switch in sorted(found, key=lambda switch: switch.subject)]
    return as_json({"switches": shown})


@router.put(
    "/switches/{subject:path}",
    response_model=SwitchOnBody,
    responses=problems(400, 408, 413, 415, 422, 431, 500, 503),
    openapi_extra=_BODY,
)
async def put_switch(subject: str, request: Request, parts: Parts, rights: Admin) -> Response:
    """Stop a subject: `all`, `tenant:TENANT`, `key:TENANT/KEY` or `user:TENANT/USER`.

    Its calls to `/route` and `/authz` are refused (429, `limit` is `kill_switch`) by this process
    at once, by all that share the ledger within about a second, and after restarts too. In a name
    "/" is written %2F and "%" is written %25, so that in the path it is %252F and %2525.
    """
    rights.check_any_tenant()
    body = await parts.bodies.read(request.receive, request.headers)
    switch = Switch(subject=subject_of(subject), reason=reason_in(body), since_s=time.time())
    await parts.ledger.ask(lambda store: store.switch_on(switch))
    await parts.ledger.ask(parts.ledger.switches.refresh)
    return as_json(shown_of(switch))


@router.delete(
    "/switches/{subject:path}", response_model=SwitchOffBody, responses=problems(422, 500, 503)
)
async def delete_switch(subject: str, parts: Parts, rights: Admin) -> Response:
    """Let a subject go on."""
    rights.check_any_tenant()
    known = subject_of(subject)
    was_on = await parts.ledger.ask(lambda store: store.switch_off(known))
    await parts.ledger.ask(parts.ledger.switches.refresh)
    return as_json({"subject": known, "was_on": was_on})


def shown_of(switch: Switch) -> dict[str, str]:
    """A switch as the API shows it."""
    return {"subject": switch.subject, "reason": switch.reason, "since": since_of(switch)}


def reason_in(body: bytes) -> str:
    """The reason in a body; the error names what is wrong.

    >>> reason_in(b'{"reason": "a loop"}')
    'a loop'
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        allowed = "an object with reason"
        raise MalformedJsonError.because("body", str(error), allowed=allowed) from None
    if not isinstance(content, dict):
        raise InvalidRequestError("body", content, "an object with reason")
    try:
        return reason_of(SwitchBody.model_validate(content).reason)
    except ValidationError as error:
        raise invalid_of(error, at="", allowed_names=list(SwitchBody.model_fields)) from None
