"""The ASGI application: decision routes by themselves, everything else through FastAPI."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI

from router_model.errors import NotReadyError
from router_serving import handlers, openapi, protocol, routes, status
from router_serving.access import check_keyless
from router_serving.asgi import Message, Receive, Scope, Send, respond_problem
from router_serving.errors import ForbiddenError, problem
from router_serving.hooks import portkey, systemone, wire
from router_serving.hotpath import AUTHZ, respond_internal
from router_serving.ledger import budget_routes
from router_serving.ledger import routes as switch_routes
from router_serving.log_lines import configure_logging
from router_serving.parts import Running
from router_serving.reload import Loaded
from router_serving.running import running
from router_serving.settings import Settings
from router_serving.workers import Beat

API_VERSION = "1"
_log = structlog.get_logger(__name__)


class Service:
    """The whole application; `loaded` spares it loading the artifact a second time.

    `beat` is called as long as all is well, where this is a worker of a supervisor.
    """

    def __init__(
        self, settings: Settings, *, loaded: Loaded | None = None, beat: Beat | None = None
    ) -> None:
        self._settings = settings
        self._loaded = loaded
        self._beat = beat
        self._running: Running | None = None
        self.api = _api(self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        parts = self._running
        if scope["type"] != "http":
            await self.api(scope, receive, send)
            return
        if parts is None:  # a connection that outlived the service
            await respond_problem(send, *problem(NotReadyError("the service is stopping")))
            return
        started = False
        traced = parts.tracing.begin(scope, send)

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await traced(message)

        try:
            await self._serve(parts, scope, receive, watched)
        except Exception:  # noqa: BLE001  # the outermost boundary: count it, say nothing to the caller
            parts.metrics.refused("internal_error")
            _log.exception("request.failed", path=scope["path"])
            if not started:
                await respond_internal(traced)
        finally:
            parts.tracing.end(scope)

    async def _serve(self, parts: Running, scope: Scope, receive: Receive, send: Send) -> None:
        if parts.access.is_keyless and not parts.settings.allow_keyless:
            try:
                check_keyless(scope)
            except ForbiddenError as error:
                await respond_problem(send, *problem(error))
                return
        path = scope["path"]
        if path == "/route":
            await parts.endpoints.route(scope, receive, send)
        elif path.startswith(AUTHZ) and (len(path) == len(AUTHZ) or path[len(AUTHZ)] == "/"):
            await parts.endpoints.authz(scope, receive, send)
        else:
            await self.api(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with running(self._settings, self._loaded, beat=self._beat) as parts:
            app.state.running = self._running = parts
            yield {protocol.STATE: parts.connections}
            self._running = None


def create_app() -> Service:
    """The application with the settings of the environment, for `uvicorn --factory`."""
    settings = Settings()
    configure_logging(settings.log_level)
    return Service(settings)


def _api(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]) -> FastAPI:
    api = FastAPI(
        title="router-model",
        version=API_VERSION,
        description="Chooses the cheapest adequate model for each call of a coding agent.",
        lifespan=lifespan,
        redirect_slashes=False,
        # Its own routes would ask nobody for a key: ours are in `status`.
        openapi_url=None,
    )
    routers = (
        *(routes.router, status.router, budget_routes.router, switch_routes.router),
        *(systemone.router, portkey.router, wire.router),
    )
    for router in routers:
        api.include_router(router)
    handlers.install(api, served=[route for router in routers for route in router.routes])
    api.openapi = lambda: openapi.described(api)  # type: ignore[method-assign]  # fastapi's own way
    return api
