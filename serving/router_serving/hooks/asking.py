"""A decision for an endpoint of a gateway, logged once its answer is out."""

import time

from fastapi import Request, Response
from starlette.background import BackgroundTask

from router_serving.answered import Answered
from router_serving.call import Call
from router_serving.parts import Running
from router_serving.routes import as_json


async def asked(request: Request, parts: Running, call: Call) -> Answered:
    """The decision for a call that came in another shape."""
    return await parts.endpoints.ask(call, request.scope, started_ns=time.perf_counter_ns())


def decided(parts: Running, answered: Answered, content: object) -> Response:
    """The response with this content, after which the decision is counted and logged."""

    async def record() -> None:  # a plain function would run in a thread
        parts.endpoints.record(answered)

    response = as_json(content)
    response.background = BackgroundTask(record)
    return response
