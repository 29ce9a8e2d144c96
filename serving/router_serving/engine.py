"""One request around the router: parse, features, decide, answer, and afterwards the log.

`Engine.answer` is what a caller waits for. `Engine.record` runs once the answer is sent.
"""

import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs
from ulid import ULID

from router_data.rows import decision_row, request_hash
from router_model import formats
from router_model.features import Context
from router_model.router import Router
from router_model.session import session_id
from router_model.types import Decision, PolicyOverrides, Request, WireFormat
from router_serving.envelope import BYTE_ORDER_MARK, Call
from router_serving.recent import Given, RecentAnswers, RouteAnswer, answer_of
from router_serving.sessions import SessionMemory
from router_serving.settings import Settings
from router_serving.telemetry import Metrics
from router_serving.writer import LogWriter


class Decided(Struct, frozen=True, kw_only=True):
    """What the log wants to know about one decision, with the router that took it."""

    call: Call
    request: Request
    context: Context
    decision: Decision
    session: str
    wire_format: WireFormat
    router: Router


class Answered(Struct, frozen=True):
    """An answer, the nanoseconds of its stages, and what is left to record.

    `decided` is None for a repeated decision_id: it was recorded the first time.
    """

    answer: RouteAnswer
    stages: Mapping[str, int]
    decided: Decided | None


class Engine:
    """Holds the one reference that a reload replaces, and the memories of this process."""

    def __init__(
        self, router: Router, *, settings: Settings, writer: LogWriter, metrics: Metrics
    ) -> None:
        self._router = router
        self._settings = settings
        self._writer = writer
        self._metrics = metrics
        self.recent = RecentAnswers(settings.recent_decisions)
        self.sessions = SessionMemory(settings.session_entries)
        metrics.serving(router.versions)

    @property
    def router(self) -> Router:
        """The router in use."""
        return self._router

    def swap(self, router: Router) -> None:
        """Decide with another router from the next call on; calls under way keep theirs."""
        self._router = router
        self._metrics.serving(router.versions)

    def answer(self, call: Call, *, started_ns: int) -> Answered:
        """The decision for one call; `started_ns` is when the call began to arrive."""
        read_ns = time.perf_counter_ns()
        tenant, own_id = call.caller.tenant, call.caller.decision_id
        wire_format = wire_format_of(call)
        request = formats.parse(call.body, wire_format=wire_format, path=call.path)
        content_hash = "" if own_id is None else request_hash(request)
        if own_id is not None:
            given = self.recent.repeated(
                tenant, own_id, request_hash=content_hash, overrides=call.overrides
            )
            if given is not None:
                return Answered(given, {"total": time.perf_counter_ns() - started_ns}, None)
        router = self._router
        session = session_id(request, call.headers, call.caller)
        parsed_ns = time.perf_counter_ns()
        context = router.context(request)
        features_ns = time.perf_counter_ns()
        now_s = time.monotonic()
        decision = router.decide(
            request,
            caller=call.caller,
            overrides=self._with_defaults(call.overrides),
            cached_tokens=self.sessions.cached_tokens(
                tenant, session, input_tokens=context.input_tokens, now_s=now_s
            ),
            decision_id=own_id or str(ULID()),
            context=context,
        )
        decided_ns = time.perf_counter_ns()
        answer = answer_of(decision)
        self.recent.remember(tenant, Given(answer, content_hash, call.overrides))
        card = router.catalog.models[decision.model]
        self.sessions.remember(decision, request, card, tenant=tenant, session=session, now_s=now_s)
        stages = {
            "read": read_ns - started_ns,
            "parse": parsed_ns - read_ns,
            "features": features_ns - parsed_ns,
            "decide": decided_ns - features_ns,
            "total": time.perf_counter_ns() - started_ns,
        }
        decided = Decided(
            call=call,
            request=request,
            context=context,
            decision=decision,
            session=session,
            wire_format=wire_format,
            router=router,
        )
        return Answered(answer, stages, decided)

    def record(self, answered: Answered) -> None:
        """Count an answer that was sent and offer its row to the log.

        Done here and not in the writer thread, so that no queued row keeps a conversation alive.
        """
        decided = answered.decided
        if decided is None:
            self._metrics.repeated()
            return
        decision = decided.decision
        self._metrics.decided(
            model=decision.model,
            reason=decision.reason,
            excluded=decision.excluded,
            stages=answered.stages,
        )
        self._writer.offer(self._row(decided))

    def _row(self, decided: Decided) -> Mapping[str, Any]:
        caller = decided.call.caller
        is_text_logged = caller.tenant in self._settings.log_text_tenants
        return decision_row(
            decided.decision,
            caller=caller,
            request=decided.request,
            context=decided.context,
            embedding=decided.router.embed(decided.context),
            encoder=decided.router.manifest.encoder,
            session=decided.session,
            wire_format=decided.wire_format,
            now_ms=time.time_ns() // 1_000_000,
            text=decided.context.text if is_text_logged else None,
        )

    def _with_defaults(self, overrides: PolicyOverrides) -> PolicyOverrides:
        if overrides.min_adequacy is not None or self._settings.min_adequacy is None:
            return overrides
        return structs.replace(overrides, min_adequacy=self._settings.min_adequacy)


def wire_format_of(call: Call) -> WireFormat:
    """The dialect of a call: as named, else as its path says, else as its body looks."""
    named = call.wire_format or (formats.format_of_path(call.path) if call.path else None)
    return named or formats.detect(call.body.removeprefix(BYTE_ORDER_MARK))
