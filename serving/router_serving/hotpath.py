"""`POST /route` and `ANY /authz/<path>` as plain ASGI: a framework would cost as much as the model.

Both read the client's own bytes, wait for their turn, ask the engine, answer, and record the
decision afterwards.
"""

import time
from collections.abc import Mapping

import msgspec
import structlog
from msgspec import structs

from router_model.errors import MalformedJsonError, RouterError
from router_serving.access import Access
from router_serving.answered import Answered
from router_serving.asgi import (
    Bodies,
    Receive,
    Scope,
    Send,
    header_value,
    headers_of,
    query_flag,
    respond,
    respond_problem,
)
from router_serving.call import Call
from router_serving.engine import Engine
from router_serving.envelope import bare, is_envelope, opened
from router_serving.errors import (
    ClientGoneError,
    WrongMethodError,
    internal_problem,
    problem,
    problem_headers,
)
from router_serving.protocol import connection_of
from router_serving.recent import RouteAnswer
from router_serving.telemetry import Metrics
from router_serving.tracing import describe
from router_serving.turns import Turns

AUTHZ = "/authz"
_BODYLESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode


class DecisionEndpoints:
    """The two ways to ask for a decision, and what those of single gateways share with them."""

    def __init__(
        self, engine: Engine, *, access: Access, metrics: Metrics, bodies: Bodies, turns: Turns
    ) -> None:
        self._engine = engine
        self._access = access
        self._metrics = metrics
        self._bodies = bodies
        self._turns = turns

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /route`."""
        started_ns = time.perf_counter_ns()
        prefix = ""
        try:
            if scope["method"] != "POST":
                raise WrongMethodError(scope["method"], allowed=["POST"])
            headers = headers_of(scope)
            rights = self._access.rights(headers, "route")
            body = await self.body(receive, headers)
            waited_ns = await self._turns.take(len(body), connection=connection_of(scope))
            catalog = self._engine.router.catalog
            in_envelope = is_envelope(body)
            call = (opened if in_envelope else bare)(body, headers, catalog=catalog, rights=rights)
            prefix = call.prefix
            answered = await self._engine.answer(call, started_ns=started_ns, waited_ns=waited_ns)
        except RouterError as error:
            await self._refuse(send, error, prefix=prefix)
            return
        answer = answered.answer
        if headers.get("x-router-timing") == "1" or query_flag(scope, b"timing"):
            timing = {stage: ns // 1000 for stage, ns in answered.stages.items()}
            answer = structs.replace(answer, timing_us=timing)
        describe(scope, answered, tenant=call.caller.tenant)
        await respond(send, 200, _encode(answer))
        self.record(answered)

    async def authz(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an external authorization call: the decision stands in the headers.

        A call without a body asks no model anything; it may pass, without a decision.
        """
        started_ns = time.perf_counter_ns()
        try:
            headers = headers_of(scope)
            rights = self._access.rights(headers, "route")
            body = await self.body(receive, headers, may_be_empty=scope["method"] in _BODYLESS)
            if not body:
                await respond(send, 200, b"", headers=[(b"x-router-skipped", b"no body")])
                return
            waited_ns = await self._turns.take(len(body), connection=connection_of(scope))
            path = scope["path"].removeprefix(AUTHZ) or "/"
            catalog = self._engine.router.catalog
            call: Call = bare(body, headers, catalog=catalog, path=path, rights=rights)
            answered = await self._engine.answer(call, started_ns=started_ns, waited_ns=waited_ns)
        except RouterError as error:
            await self._refuse(send, error)
            return
        await respond(send, 200, b"", headers=decision_headers(answered.answer))
        self.record(answered)

    async def body(
        self, receive: Receive, headers: Mapping[str, str], *, may_be_empty: bool = False
    ) -> bytes:
        """The body of a call for a decision, where one more may wait for its own."""
        self._turns.check()  # where nobody may wait any more, no body is read
        body = await self._bodies.read(receive, headers)
        if not body and not may_be_empty:
            raise MalformedJsonError("body", "nothing", "a JSON object")
        return body

    async def ask(self, call: Call, scope: Scope, *, started_ns: int) -> Answered:
        """The decision for a call that another endpoint has read; `record` it afterwards."""
        waited_ns = await self._turns.take(len(call.body), connection=connection_of(scope))
        answered = await self._engine.answer(call, started_ns=started_ns, waited_ns=waited_ns)
        describe(scope, answered, tenant=call.caller.tenant)
        return answered

    def record(self, answered: Answered) -> None:
        """Count and log a decision whose answer was sent; nothing is raised."""
        self._turns.spent(answered.decided_ns)
        try:
            self._engine.record(answered)
        except Exception:  # noqa: BLE001  # the answer is out: a failed row is no 500
            self._metrics.dropped(1, cause="unbuildable")
            decided = answered.decided
            _log.exception(
                "decision.unlogged",
                decision_id=answered.answer.decision_id,
                tenant=None if decided is None else decided.asked.call.caller.tenant,
            )

    async def _refuse(self, send: Send, error: RouterError, *, prefix: str = "") -> None:
        if isinstance(error, ClientGoneError):
            return
        self._metrics.refused(error.code)
        status, body = problem(error, field_prefix=prefix)
        await respond_problem(send, status, body, headers=problem_headers(error))


def decision_headers(answer: RouteAnswer) -> list[tuple[bytes, bytes]]:
    """A decision as response headers for a gateway."""
    return [
        (b"x-routed-model", header_value(answer.model)),
        (b"x-routed-snapshot", header_value(answer.snapshot)),
        (b"x-routed-provider", header_value(answer.provider)),
        (b"x-router-decision-id", header_value(answer.decision_id)),
        (b"x-router-fallbacks", header_value(",".join(answer.fallbacks))),
        (b"x-router-expected-cost-usd", b"%.9f" % answer.expected.cost_usd),
        (b"x-router-p-adequate", b"%.4f" % answer.expected.p_adequate),
        (b"x-router-reason", header_value(answer.reason)),
        (b"x-router-artifact", header_value(answer.versions.artifact)),
    ]


async def respond_internal(send: Send) -> None:
    """Send the answer to a failure that nobody expected."""
    status, body = internal_problem()
    await respond_problem(send, status, body)
