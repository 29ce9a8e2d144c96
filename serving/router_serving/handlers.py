"""Turns what FastAPI and its routes raise into problem+json."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from router_model.errors import InvalidRequestError, RouterError
from router_serving.errors import (
    PROBLEM_TYPE,
    ClientGoneError,
    NoSuchPathError,
    WrongMethodError,
    internal_problem,
    problem,
    problem_headers,
)
from router_serving.telemetry import Metrics

Handler = Callable[[Request, Exception], Awaitable[Response]]
CLIENT_CLOSED_REQUEST = 499


def install(api: FastAPI, *, served: Sequence[BaseRoute]) -> None:
    """Answer every error of the application, which serves these routes, with a problem."""
    api.state.served = tuple(served)
    for kind, handler in HANDLERS.items():
        api.add_exception_handler(kind, handler)


async def on_router_error(request: Request, error: Exception) -> Response:
    """An error raised on purpose."""
    assert isinstance(error, RouterError)
    if isinstance(error, ClientGoneError):
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # nobody reads it
    return _refusal(request, error)


async def on_invalid_parameter(request: Request, error: Exception) -> Response:
    """A query or path parameter that FastAPI refused."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(step) for step in first["loc"][1:])
    is_missing = first["type"] == "missing"
    allowed = "a value" if is_missing else first["msg"].removeprefix("Input should be ")
    value = None if is_missing else first.get("input")
    return _refusal(request, InvalidRequestError(name, value, allowed))


async def on_http_error(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == WRONG_METHOD:
        return _refusal(request, WrongMethodError(request.method, allowed=_allowed(request)))
    return _refusal(
        request,
        NoSuchPathError(f"path: got {request.url.path!r}, expected one that /openapi.json lists"),
    )


async def on_unexpected(request: Request, error: Exception) -> Response:
    """What nobody foresaw: it is raised again behind this answer, and logged there."""
    return _response(*internal_problem())


WRONG_METHOD = 405
HANDLERS: Mapping[type[Exception], Handler] = {
    RouterError: on_router_error,
    RequestValidationError: on_invalid_parameter,
    HTTPException: on_http_error,
    Exception: on_unexpected,
}


def _allowed(request: Request) -> list[str]:
    """Every method of the path: its routes are one for each, and the framework names the first."""
    matching = [r for r in request.app.state.served if r.matches(request.scope)[0] != Match.NONE]
    return sorted({method for route in matching for method in route.methods})


def _refusal(request: Request, error: RouterError) -> Response:
    metrics: Metrics = request.app.state.running.metrics
    metrics.refused(error.code)
    response = _response(*problem(error))
    for name, value in problem_headers(error):
        response.headers[name.decode()] = value.decode()
    return response


def _response(status: int, body: bytes) -> Response:
    return Response(body, status_code=status, media_type=PROBLEM_TYPE.decode())
