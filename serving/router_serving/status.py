"""The routes that say how the service is: health, readiness, metrics, its own description."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, PlainTextResponse

from router_model.errors import NotReadyError
from router_serving.access import Reader
from router_serving.asgi import headers_of
from router_serving.errors import ForbiddenError, UnauthorizedError
from router_serving.openapi import problems
from router_serving.parts import Running
from router_serving.routes import Parts, as_json

router = APIRouter()


@router.get("/healthz", tags=["health"])
async def get_healthz() -> Response:
    """The process answers."""
    return as_json({"status": "ok"})


@router.get("/readyz", tags=["health"], responses=problems(503))
async def get_readyz(request: Request, parts: Parts) -> Response:
    """Callers should come: 200, with "degraded" and `warnings` where something is amiss; else 503.

    Says with which versions it decides, and whether log, files and rollout work. Where keys are
    asked for, only who may read of any tenant is told more than the versions.
    """
    report = parts.readiness.report()
    if report.reasons:
        raise NotReadyError("; ".join(report.reasons))
    may_know = _may_know(request, parts)
    content = {
        "status": report.status,
        "warnings": report.told(may_know=may_know),
        "versions": msgspec.to_builtins(parts.engine.router.versions),
    }
    return as_json(content | (details(parts) if may_know else {}))


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
async def get_metrics(parts: Parts, rights: Reader) -> Response:
    """Metrics in the Prometheus text format, of all tenants together."""
    rights.check_any_tenant()
    text = parts.metrics.exposition(
        queue_rows=parts.writer.n_waiting,
        sessions=len(parts.engine.sessions),
        drift=parts.drift.read(),
    )
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/openapi.json", include_in_schema=False)
async def get_openapi(request: Request, rights: Reader) -> Response:
    """What this service offers, for machines."""
    return as_json(request.app.openapi())


@router.get("/docs", include_in_schema=False)
async def get_docs(request: Request, rights: Reader) -> HTMLResponse:
    """The same, for people."""
    return get_swagger_ui_html(openapi_url="openapi.json", title=request.app.title)


def details(parts: Running) -> dict[str, Any]:
    """What an operator wants to know of a service in trouble; may hold paths and names."""
    access = parts.access
    return {
        "ledger": {"last_error": parts.ledger.last_error},
        "log": {"waiting": parts.writer.n_waiting, "last_error": parts.writer.last_error},
        "reload": {"last_error": parts.artifact.last_error},
        "tenants": {"last_error": parts.tenants.last_error},
        "keys": {"listed": len(access.ring), "last_error": parts.keys.last_error},
        "rollout": {"mode": parts.rollout.mode, "last_error": parts.rollout.last_error},
    }


def _may_know(request: Request, parts: Running) -> bool:
    try:
        parts.access.rights(headers_of(request.scope), "read").check_any_tenant()
    except (UnauthorizedError, ForbiddenError):
        return False
    return True
