"""One request around the router: parse, features, decide, answer, and afterwards the log.

`Engine.answer` is what a caller waits for. `Engine.record` runs once the answer is sent.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray
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
from router_serving.telemetry import STAGES, Metrics
from router_serving.writer import LogWriter


class Asked(Struct, frozen=True, kw_only=True):
    """One call as far as it is known before the decision, with the router that will take it."""

    call: Call
    request: Request
    context: Context
    embedding: NDArray[np.float32]
    session: str
    wire_format: WireFormat
    router: Router


class Decided(Struct, frozen=True):
    """What the log wants to know about one decision."""

    asked: Asked
    decision: Decision


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
        marks = [started_ns, time.perf_counter_ns()]
        router = self._router
        wire_format = wire_format_of(call)
        request = formats.parse(call.body, wire_format=wire_format, path=call.path)
        content_hash = "" if call.caller.decision_id is None else request_hash(request)
        if (given := self._given_before(call, content_hash)) is not None:
            return Answered(given, {"total": time.perf_counter_ns() - started_ns}, None)
        session = session_id(request, call.headers, call.caller)
        marks.append(time.perf_counter_ns())
        context = router.context(request)
        marks.append(time.perf_counter_ns())
        embedding = router.embed(context)
        marks.append(time.perf_counter_ns())
        asked = Asked(
            call=call,
            request=request,
            context=context,
            embedding=embedding,
            session=session,
            wire_format=wire_format,
            router=router,
        )
        decision = self._decide(asked)
        marks.append(time.perf_counter_ns())
        answer = answer_of(decision)
        self.recent.remember(call.caller.tenant, Given(answer, content_hash, call.overrides))
        return Answered(answer, stages_of(marks), Decided(asked, decision))

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

    def _given_before(self, call: Call, content_hash: str) -> RouteAnswer | None:
        own_id = call.caller.decision_id
        if own_id is None:
            return None
        return self.recent.repeated(
            call.caller.tenant, own_id, request_hash=content_hash, overrides=call.overrides
        )

    def _decide(self, asked: Asked) -> Decision:
        caller, router = asked.call.caller, asked.router
        now_s = time.monotonic()
        decision = router.decide(
            asked.request,
            caller=caller,
            overrides=self._with_defaults(asked.call.overrides),
            cached_tokens=self.sessions.cached_tokens(
                caller.tenant,
                asked.session,
                input_tokens=asked.context.input_tokens,
                now_s=now_s,
            ),
            decision_id=caller.decision_id or str(ULID()),
            context=asked.context,
            embedding=asked.embedding,
        )
        self.sessions.remember(
            decision,
            asked.request,
            router.catalog.models[decision.model],
            tenant=caller.tenant,
            session=asked.session,
            now_s=now_s,
        )
        return decision

    def _row(self, decided: Decided) -> Mapping[str, Any]:
        asked = decided.asked
        tenant = asked.call.caller.tenant
        is_text_logged = tenant in self._settings.log_text_tenants
        return decision_row(
            decided.decision,
            caller=asked.call.caller,
            request=asked.request,
            context=asked.context,
            embedding=asked.embedding,
            encoder=asked.router.manifest.encoder,
            session=asked.session,
            wire_format=asked.wire_format,
            now_ms=time.time_ns() // 1_000_000,
            text=asked.context.text if is_text_logged else None,
        )

    def _with_defaults(self, overrides: PolicyOverrides) -> PolicyOverrides:
        if overrides.min_adequacy is not None or self._settings.min_adequacy is None:
            return overrides
        return structs.replace(overrides, min_adequacy=self._settings.min_adequacy)


def wire_format_of(call: Call) -> WireFormat:
    """The dialect of a call: as named, else as its path says, else as its body looks."""
    named = call.wire_format or (formats.format_of_path(call.path) if call.path else None)
    return named or formats.detect(call.body.removeprefix(BYTE_ORDER_MARK))


def stages_of(marks: Sequence[int]) -> dict[str, int]:
    """The stages between six marks, and their total.

    >>> stages_of([0, 1, 3, 6, 10, 15])
    {'read': 1, 'parse': 2, 'features': 3, 'embed': 4, 'decide': 5, 'total': 15}
    """
    stages = {name: marks[i + 1] - marks[i] for i, name in enumerate(STAGES[:-1])}
    return stages | {"total": marks[-1] - marks[0]}
