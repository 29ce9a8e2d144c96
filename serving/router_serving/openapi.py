"""The OpenAPI description, with the routes that read their bodies themselves.

Their declarations here are read for their signatures and docstrings and never called.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Query
from fastapi.openapi.utils import get_openapi

from router_serving.access import needs
from router_serving.errors import PROBLEM_TYPE, STATUS
from router_serving.hooks.schemas import (
    PortkeyAnswerBody,
    PortkeyBody,
    SystemOneAnswerBody,
    SystemOneBody,
    WireOutcomeBody,
)
from router_serving.schemas import (
    OutcomeBody,
    OutcomesAccepted,
    ProblemBody,
    RouteAnswerBody,
    RouteBody,
)

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemBody, "description": ", ".join(sorted(codes))}
    for status in sorted(set(STATUS.values()))
    if (codes := [code for code, other in STATUS.items() if other == status])
}
_BEARER = {
    **{"type": "http", "scheme": "bearer"},
    "description": "The same key; an Authorization that does not begin with `rk_` is passed over, "
    "since it is the provider's.",
}
_PROBLEM_SCHEMA = {"schema": {"$ref": "#/components/schemas/ProblemBody"}}

declared = APIRouter(tags=["decisions"])


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem responses of a route, for its declaration."""
    return {status: PROBLEMS[status] for status in statuses}


@declared.post(
    "/route",
    dependencies=[needs("route")],
    response_model=RouteAnswerBody,
    responses=problems(400, 408, 409, 413, 415, 422, 429, 431, 500, 503),
)
async def route(
    body: RouteBody,
    x_router_tenant: Annotated[str | None, Header()] = None,
    x_router_key: Annotated[str | None, Header(description="A name, never the key.")] = None,
    x_router_user: Annotated[str | None, Header()] = None,
    x_router_session: Annotated[str | None, Header()] = None,
    x_router_decision_id: Annotated[str | None, Header()] = None,
    x_router_client: Annotated[str | None, Header()] = None,
    x_router_format: Annotated[str | None, Header()] = None,
    x_router_min_adequacy: Annotated[float | None, Header()] = None,
    x_router_max_cost_usd: Annotated[float | None, Header()] = None,
    x_router_max_tool_call_latency_ms: Annotated[float | None, Header()] = None,
    x_router_models: Annotated[str | None, Header(description="Comma-separated.")] = None,
    x_router_objective: Annotated[str | None, Header(description="cost or latency.")] = None,
    x_router_deterministic: Annotated[bool | None, Header()] = None,
    x_router_pin_session: Annotated[bool | None, Header()] = None,
    x_router_timing: Annotated[str | None, Header()] = None,
    timing: Annotated[int, Query(description="1 adds `timing_us`.")] = 0,
) -> None:
    """Choose the cheapest adequate model for one call.

    Send the client's body in the envelope, or alone with everything around it in the headers.
    """


@declared.post(
    "/authz/{path}",
    dependencies=[needs("route")],
    responses=problems(400, 408, 409, 413, 415, 422, 429, 431, 500, 503),
)
async def authz(path: str) -> None:
    """Decide for a gateway, with any method: the client's body in, the decision in headers.

    200 with `x-routed-model`, `x-routed-snapshot`, `x-routed-provider`, `x-router-decision-id`,
    `x-router-fallbacks`, `x-router-expected-cost-usd`, `x-router-p-adequate`, `x-router-reason`.
    """


@declared.post(
    "/outcomes",
    dependencies=[needs("outcomes")],
    response_model=OutcomesAccepted,
    responses=problems(400, 408, 413, 415, 422, 429, 431, 500, 503),
)
async def outcomes(
    body: OutcomeBody | list[OutcomeBody],
    x_router_tenant: Annotated[str | None, Header()] = None,
) -> None:
    """Report what was observed, one outcome or a list; answered once it is on disk.

    All of a list or nothing. Repeating a call changes nothing: the last row of a decision_id and
    attempt counts. With a key of one tenant every outcome is that tenant's. With any other, an
    outcome without `x-router-tenant` belongs to the tenant of its decision, as far as this process
    remembers it, else to "default"; where several tenants have the decision_id, it is refused.
    """


@declared.post(
    "/outcomes/wire",
    dependencies=[needs("outcomes")],
    response_model=OutcomesAccepted,
    responses=problems(400, 408, 413, 415, 422, 429, 431, 500, 503),
)
async def wire_outcome(
    body: WireOutcomeBody, x_router_tenant: Annotated[str | None, Header()] = None
) -> None:
    """Report an answer as it went over the wire, for gateways that can't read it.

    Usage, errors, the validity of tool calls and signals are read from the bodies; what else
    stands in the report, as in `/outcomes`, wins over them. The bodies are not kept.
    """


@declared.post(
    "/v1/systemone",
    dependencies=[needs("route")],
    response_model=SystemOneAnswerBody,
    responses=problems(400, 408, 409, 413, 415, 422, 429, 431, 500, 503),
)
async def systemone(body: SystemOneBody) -> None:
    """Say which tier a text belongs to, as the classifier of LiteLLM's complexity router.

    The tier is the one that the chosen model stands in, by ROUTER_SYSTEMONE_TIERS.
    """


@declared.post(
    "/portkey",
    dependencies=[needs("route")],
    response_model=PortkeyAnswerBody,
    responses=problems(400, 408, 409, 413, 415, 422, 429, 431, 500, 503),
)
async def portkey(body: PortkeyBody) -> None:
    """Set the model of a request and report its answer, as a webhook of Portkey's gateway.

    After a request the key needs the scope `outcomes` too.
    """


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the whole service."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=[*declared.routes, *app.routes],
    )
    document["components"]["securitySchemes"]["bearer"] = _BEARER
    for operations in document["paths"].values():
        for operation in operations.values():
            _secure(operation)
            for status, response in operation["responses"].items():
                if int(status) >= HTTPStatus.BAD_REQUEST:
                    response["content"] = {PROBLEM_TYPE.decode(): _PROBLEM_SCHEMA}
    return document


def _secure(operation: dict[str, Any]) -> None:
    """Where an operation needs a key, offer the other way to send it and name the refusals."""
    if "security" not in operation:
        return
    ((scopes,),) = [one.values() for one in operation["security"]]
    operation["security"].append({"bearer": scopes})
    for status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        described = PROBLEMS[status]["description"]
        operation["responses"][str(status.value)] = {"description": described}
    operation["responses"] = dict(sorted(operation["responses"].items()))
