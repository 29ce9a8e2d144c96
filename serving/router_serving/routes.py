"""The routes beside the decision itself: outcomes, explanations, models, health, spend."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec
import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse

from router_data.rows import outcome_row
from router_model.errors import InvalidRequestError, MalformedJsonError
from router_model.types import Outcome
from router_serving.asgi import read_body
from router_serving.openapi import problems
from router_serving.running import Running
from router_serving.schemas import GroupBy, OutcomeBody, outcome_of
from router_serving.telemetry import UNKNOWN_MODEL

router = APIRouter()
DEFAULT_TENANT = "default"


def running_of(request: Request) -> Running:
    """The parts of the running service."""
    return cast(Running, request.app.state.running)


Parts = Annotated[Running, Depends(running_of)]
Tenant = Annotated[str | None, Header(alias="x-router-tenant")]


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


@router.post("/outcomes", include_in_schema=False)  # described in openapi
async def post_outcomes(request: Request, parts: Parts, x_router_tenant: Tenant = None) -> Response:
    """Make outcomes durable, then acknowledge them."""
    body = await read_body(
        request.receive,
        limit=parts.settings.max_body_bytes,
        content_length=request.headers.get("content-length"),
    )
    outcomes = outcomes_in(body, max_outcomes=parts.settings.max_outcomes)
    recent, now_ms = parts.engine.recent, time.time_ns() // 1_000_000
    owners = [recent.tenant_of(outcome.decision_id) for outcome in outcomes]
    tenants = [x_router_tenant or owner or DEFAULT_TENANT for owner in owners]
    pairs = list(zip(outcomes, tenants, strict=True))
    await parts.writer.commit(
        [outcome_row(outcome, tenant=tenant, now_ms=now_ms) for outcome, tenant in pairs]
    )
    models = parts.engine.router.catalog.models
    for outcome, tenant in pairs:
        shown = outcome.model if outcome.model in models else UNKNOWN_MODEL
        parts.metrics.observed(model=shown, adequate=outcome.adequate)
        if (broken := parts.engine.observe(outcome, tenant=tenant)) is not None:
            await parts.rollout.stop(*broken)
    unmatched = [o.decision_id for o, owner in zip(outcomes, owners, strict=True) if owner is None]
    return _json({"accepted": len(outcomes), "unmatched": list(dict.fromkeys(unmatched))})


@router.get("/decisions/{decision_id}", tags=["decisions"], responses=problems(404, 422, 500, 503))
async def get_decision(decision_id: str, parts: Parts, x_router_tenant: Tenant = None) -> Response:
    """Explain a decision: inputs, candidates, exclusions, reason, contributions, outcomes."""
    explanation = await parts.history.explanation(
        decision_id, tenant=x_router_tenant, router_of=parts.engine.router_of
    )
    return _json(explanation)


@router.get("/models", tags=["models"])
async def get_models(parts: Parts) -> Response:
    """The models that can be chosen, with capabilities, prices and what was learned of them."""
    catalog = parts.engine.router.catalog
    models: Sequence[Mapping[str, Any]] = [
        {**msgspec.to_builtins(card), "learned": parts.engine.router.learned_of(card)}
        for card in catalog.models.values()
    ]
    return _json({"version": catalog.version, "as_of": catalog.as_of, "models": models})


@router.get("/spend", tags=["spend"], responses=problems(422, 500, 503))
async def get_spend(
    parts: Parts, group_by: Annotated[GroupBy, Query(description="What to sum over.")]
) -> Response:
    """Cost by user, key, tenant or model: as reported in outcomes, else as expected (flagged)."""
    return _json({"group_by": group_by, "groups": await parts.history.spend(group_by)})


@router.get("/healthz", tags=["health"])
async def get_healthz() -> Response:
    """The process answers."""
    return _json({"status": "ok"})


@router.get("/readyz", tags=["health"], responses=problems(503))
async def get_readyz(parts: Parts) -> Response:
    """The service can decide; says with which versions, and whether log, files and rollout work."""
    return _json(
        {
            "status": "ready",
            "versions": msgspec.to_builtins(parts.engine.router.versions),
            "log": {"waiting": parts.writer.n_waiting, "last_error": parts.writer.last_error},
            "reload": {"last_error": parts.artifact.last_error},
            "tenants": {"last_error": parts.tenants.last_error},
            "rollout": {"mode": parts.rollout.mode, "last_error": parts.rollout.last_error},
        }
    )


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
async def get_metrics(parts: Parts) -> Response:
    """Metrics in the Prometheus text format."""
    text = parts.metrics.exposition(
        queue_rows=parts.writer.n_waiting,
        sessions=len(parts.engine.sessions),
        drift=parts.drift.read(),
    )
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def outcomes_in(body: bytes, *, max_outcomes: int) -> list[Outcome]:
    """The outcomes in a body, one or a list; the first that is wrong is named by its index.

    >>> [outcome.attempt for outcome in outcomes_in(
    ...     b'{"decision_id": "d", "model": "m", "attempt": 2}', max_outcomes=1)]
    [2]
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedJsonError("body", str(error), "an outcome or a list of them") from None
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
