"""The routes beside the decision itself: outcomes, explanations, models, spend."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec
import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from msgspec import Struct

from router_data.rows import outcome_row
from router_model.errors import InvalidRequestError, MalformedJsonError
from router_model.formats.jsontext import check_values
from router_model.types import Outcome
from router_serving.access import TENANT_HEADER, Asker, Reader, Reporter, Rights
from router_serving.envelope import name_of, refuse_secrets
from router_serving.openapi import problems
from router_serving.parts import Running
from router_serving.recent import RecentAnswers
from router_serving.schemas import GroupBy, OutcomeBody, outcome_of
from router_serving.telemetry import UNKNOWN_MODEL

router = APIRouter()
DEFAULT_TENANT = "default"
BYTES_TYPE = "application/octet-stream"
ENCODER_FILE: dict[str, Any] = {
    "description": "One safetensors file",
    "content": {BYTES_TYPE: {"schema": {"type": "string", "format": "binary"}}},
}
UNCHANGED: dict[str, Any] = {"description": "The encoder is the one named"}


def running_of(request: Request) -> Running:
    """The parts of the running service."""
    return cast(Running, request.app.state.running)


Parts = Annotated[Running, Depends(running_of)]
Tenant = Annotated[str | None, Header(alias=TENANT_HEADER)]


class Report(Struct, frozen=True):
    """An outcome, whose it is, and whether this process remembers that tenant's decision."""

    outcome: Outcome
    tenant: str
    is_matched: bool


def as_json(content: object) -> Response:
    """A response with this content."""
    return Response(orjson.dumps(content), media_type="application/json")


@router.post("/outcomes", include_in_schema=False)  # described in openapi
async def post_outcomes(
    request: Request, parts: Parts, rights: Reporter, x_router_tenant: Tenant = None
) -> Response:
    """Make outcomes durable, then acknowledge them."""
    body = await parts.bodies.read(request.receive, request.headers)
    outcomes = outcomes_in(body, max_outcomes=parts.settings.max_outcomes)
    return as_json(await report(parts, outcomes, tenant=named_tenant(rights, x_router_tenant)))


async def report(
    parts: Running, outcomes: Sequence[Outcome], *, tenant: str | None
) -> Mapping[str, Any]:
    """Make outcomes durable, settle and learn from them; returns what the caller is told."""
    reports = reports_of(outcomes, tenant=tenant, recent=parts.engine.recent)
    now_ms = time.time_ns() // 1_000_000
    rows = [outcome_row(one.outcome, tenant=one.tenant, now_ms=now_ms) for one in reports]
    # Acknowledged once both have it; saying it again changes nothing in either.
    await asyncio.gather(
        parts.writer.commit(rows),
        parts.ledger.settle(
            [(one.outcome, one.tenant) for one in reports],
            limits_of=lambda tenant: parts.engine.tenants.of(tenant).limits,
            catalog=parts.engine.router.catalog,
        ),
    )
    for one in reports:
        await _learn(parts, one)
    unmatched = [one.outcome.decision_id for one in reports if not one.is_matched]
    return {"accepted": len(reports), "unmatched": list(dict.fromkeys(unmatched))}


async def _learn(parts: Running, report: Report) -> None:
    """Let the memories of this process learn from an outcome that is on disk."""
    outcome = report.outcome
    is_known = outcome.model in parts.engine.router.catalog.models
    shown = outcome.model if is_known else UNKNOWN_MODEL
    parts.metrics.observed(model=shown, adequate=outcome.adequate)
    if (broken := parts.engine.observe(outcome, tenant=report.tenant)) is not None:
        await parts.rollout.stop(*broken)


@router.get("/decisions/{decision_id}", tags=["decisions"], responses=problems(404, 422, 500, 503))
async def get_decision(
    decision_id: str, parts: Parts, rights: Reader, x_router_tenant: Tenant = None
) -> Response:
    """Explain a decision: inputs, candidates, exclusions, reason, contributions, outcomes."""
    explanation = await parts.history.explanation(
        decision_id,
        tenant=named_tenant(rights, x_router_tenant),
        router_of=parts.engine.router_of,
    )
    return as_json(explanation)


@router.get("/models", tags=["models"])
async def get_models(parts: Parts, rights: Reader) -> Response:
    """The models that can be chosen, with capabilities, prices and what was learned of them."""
    catalog = parts.engine.router.catalog
    models: Sequence[Mapping[str, Any]] = [
        {**msgspec.to_builtins(card), "learned": parts.engine.router.learned_of(card)}
        for card in catalog.models.values()
    ]
    return as_json({"version": catalog.version, "as_of": catalog.as_of, "models": models})


@router.get(
    "/encoder",
    tags=["models"],
    response_class=Response,
    responses={**problems(422, 500), 200: ENCODER_FILE, 304: UNCHANGED},
)
async def get_encoder(
    parts: Parts, rights: Asker, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """The text encoder in use, by which a client makes features of its bodies itself.

    Its hash is the ETag: with `if-none-match` an encoder that the client has is not sent again.
    """
    encoder = parts.engine.router.encoder
    headers = {"etag": f'"{encoder.hash}"'}
    if if_none_match == headers["etag"]:
        return Response(status_code=304, headers=headers)
    content = await asyncio.to_thread(encoder.to_bytes)
    return Response(content, media_type=BYTES_TYPE, headers=headers)


@router.get("/spend", tags=["spend"], responses=problems(422, 500, 503))
async def get_spend(
    parts: Parts,
    rights: Reader,
    group_by: Annotated[GroupBy, Query(description="What to sum over.")],
    tenant: Annotated[str | None, Query(description="Of this tenant alone.")] = None,
    x_router_tenant: Tenant = None,
) -> Response:
    """Cost by user, key, session, tenant or model: as reported, else as expected (flagged).

    Of the key's tenant; a key of any tenant sees all of them, or the one that is named.
    """
    rights.check_tenant(tenant, "tenant")
    of = named_tenant(rights, x_router_tenant) if tenant is None else name_of(tenant, "tenant")
    groups = await parts.history.spend(group_by, tenant=of)
    return as_json({"group_by": group_by, "groups": groups})


def named_tenant(rights: Rights, header: str | None) -> str | None:
    """The tenant that a call speaks for: the key's, else the one of its header, if any."""
    if rights.tenant is not None or header is None:
        return rights.tenant
    return name_of(header, TENANT_HEADER)


def reports_of(
    outcomes: Sequence[Outcome], *, tenant: str | None, recent: RecentAnswers
) -> list[Report]:
    """Whose each outcome is: the tenant's, or without one that of its decision, else "default".

    An outcome never gets to a decision of a tenant that was not named where several have it:
    InvalidRequestError asks for the name.
    """
    reports = []
    for index, outcome in enumerate(outcomes):
        decision_id = outcome.decision_id
        owners = recent.tenants_of(decision_id)
        if tenant is None and len(owners) > 1:
            allowed = f"a tenant: several have decision_id {decision_id!r} (outcome {index})"
            raise InvalidRequestError(TENANT_HEADER, None, allowed)
        owner = tenant or (owners[0] if owners else DEFAULT_TENANT)
        reports.append(Report(outcome, owner, owner in owners))
    return reports


def outcomes_in(body: bytes, *, max_outcomes: int) -> list[Outcome]:
    """The outcomes in a body, one or a list; the first that is wrong is named by its index.

    >>> [outcome.attempt for outcome in outcomes_in(
    ...     b'{"decision_id": "d", "model": "m", "attempt": 2}', max_outcomes=1)]
    [2]
    """
    if b"rk_" in body.lower():
        refuse_secrets(body.decode("latin-1"), "body")
    try:
        check_values(body)
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        allowed = "an outcome or a list of them"
        raise MalformedJsonError.because("body", str(error), allowed=allowed) from None
    outcomes = _checked(content, max_outcomes=max_outcomes)
    if b"\\" in body:  # where a letter of a key may be written as an escape
        for outcome in outcomes:
            refuse_secrets(repr(outcome), "body")
    return outcomes


def _checked(content: Any, *, max_outcomes: int) -> list[Outcome]:
    if isinstance(content, dict):
        return [outcome_of(content, at="")]
    if not isinstance(content, list) or not content:
        allowed = f"an object with {', '.join(OutcomeBody.model_fields)}, or a list of them"
        raise InvalidRequestError("body", content, allowed)
    if len(content) > max_outcomes:
        raise InvalidRequestError(
            "body", f"{len(content)} outcomes", f"at most {max_outcomes} in one call"
        )
    return [outcome_of(item, at=f"[{index}].") for index, item in enumerate(content)]
