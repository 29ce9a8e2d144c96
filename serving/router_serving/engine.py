"""One request around the router: parse, features, decide, answer, and afterwards the log.

`Engine.answer` is what a caller waits for. `Engine.record` runs once the answer is sent.
"""

import time

from msgspec import structs
from ulid import ULID

from router_model import fallback
from router_model.incumbent import served_card
from router_model.router import Router
from router_model.session import session_id
from router_model.terms import Allowance, Terms
from router_model.types import Caller, Decision, Outcome
from router_serving.adoption import AdoptionCounts, Place, is_kept
from router_serving.answered import Answered, explored_as, seen_as, stages_of
from router_serving.call import Call
from router_serving.canary import CANARY, Side
from router_serving.decided import Asked, Decided, row_of
from router_serving.exploration_budget import ExplorationBudgets, utc_day
from router_serving.ledger.admission import Admission, check_tokens
from router_serving.ledger.ledger import Ledger
from router_serving.ledger.limits import Limits
from router_serving.load import LoadGauge
from router_serving.reading import digest_for, known_of, read
from router_serving.recent import Given, RecentAnswers, RouteAnswer, answer_of
from router_serving.redaction import as_name
from router_serving.rollout import Rollout
from router_serving.sessions import SessionMemory
from router_serving.settings import Settings
from router_serving.telemetry import Metrics
from router_serving.tenants import Tenants, TenantSettings
from router_serving.writer import LogWriter


class Engine:
    """Holds the one reference that a reload replaces, and the memories of this process."""

    def __init__(
        self,
        router: Router,
        *,
        settings: Settings,
        writer: LogWriter,
        metrics: Metrics,
        tenants: Tenants | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._router = router
        self._settings = settings
        self._writer = writer
        self._metrics = metrics
        self._tenants = tenants or Tenants(
            TenantSettings(Terms(min_adequacy=settings.min_adequacy))
        )
        self._ledger = ledger
        self._rollout: Rollout | None = None
        self._budgets = ExplorationBudgets(n_workers=settings.workers)
        self.recent = RecentAnswers(settings.recent_decisions)
        self.sessions = SessionMemory(settings.session_entries)
        self._load = LoadGauge()
        self._arms = AdoptionCounts(metrics.registry)
        metrics.serving(router.versions)

    @property
    def router(self) -> Router:
        """The router in use."""
        return self._router

    def swap(self, router: Router) -> None:
        """Decide with another router from the next call on; calls under way keep theirs."""
        self._router = router
        self._metrics.serving(router.versions)

    @property
    def tenants(self) -> Tenants:
        """The settings of tenants in use."""
        return self._tenants

    def use_tenants(self, tenants: Tenants) -> None:
        """Go by other settings of tenants from the next call on."""
        self._tenants = tenants

    def use_rollout(self, rollout: Rollout | None) -> None:
        """Try another artifact from the next call on, or none."""
        self._rollout = rollout

    def router_of(self, artifact: str) -> Router:
        """The router with this artifact version if it is at hand, else the one in use."""
        rollout = self._rollout
        is_tried = rollout is not None and rollout.version == artifact
        return rollout.router if rollout is not None and is_tried else self._router

    async def answer(self, call: Call, *, started_ns: int, waited_ns: int = 0) -> Answered:
        """The decision for one call; `started_ns` is when the call began to arrive.

        One that waited beyond the deadline for its turn is decided without a prediction. Nothing
        is waited for here but the ledger, and that only where the lease of a limit runs short.
        """
        turn_ns = time.perf_counter_ns()
        tenant = self._tenants.of(call.caller.tenant)
        limits = tenant.limits
        admission = await self._admitted(call.payer, limits)
        marks = [started_ns, turn_ns - waited_ns, turn_ns, time.perf_counter_ns()]
        reading = read(call)
        content_hash = "" if call.caller.decision_id is None else reading.content_hash()
        if (given := self._given_before(call, content_hash)) is not None:
            return Answered(given, {"total": time.perf_counter_ns() - started_ns}, None)
        session = as_name(session_id(reading.outline, call.headers, call.caller))
        place = tenant.adoption.place(call.caller.tenant, session)
        router, side, other = self._sides(call.caller.tenant, session, place)
        incumbent = tenant.adoption.incumbent_for(place, reading.outline, router.catalog)
        marks.append(time.perf_counter_ns())
        known = known_of(
            reading, router, other=other, is_text_logged=self._is_text_logged(call.caller.tenant)
        )
        check_tokens(reading.outline, limits, input_tokens=known.input_tokens)
        marks.append(time.perf_counter_ns())
        skip = self._skip(waited_ns)
        digest = digest_for(known, reading.outline, router, skip=skip)
        marks.append(time.perf_counter_ns())
        decided = await self._decide(
            Asked(
                call=call,
                reading=reading,
                known=known,
                digest=digest,
                session=session,
                router=router,
                side=side,
                other=other,
                place=place,
                incumbent=incumbent,
                skip=skip,
            ),
            admission,
        )
        marks.append(time.perf_counter_ns())
        answer = answer_of(decided.decision)
        self.recent.remember(
            call.caller.tenant, Given(answer, content_hash, call.overrides, session, side)
        )
        return Answered(answer, stages_of(marks), decided)

    def record(self, answered: Answered) -> None:
        """Count an answer that was sent and offer its row to the log.

        Done here and not in the writer thread, so that no queued row keeps a conversation alive.
        """
        decided = answered.decided
        if decided is None:
            self._metrics.repeated()
            return
        decision = decided.decision
        if self._ledger is not None:
            self._ledger.called(decided.asked.call.caller.tenant)
        self._metrics.decided(
            model=decision.model,
            reason=decision.reason,
            excluded=decision.excluded,
            stages=answered.stages,
            exploration=explored_as(decision),
            expected_regret_usd=decision.expected_regret_usd,
            side=decided.asked.side,
            session=seen_as(decided.session),
        )
        self._arms.decided(decided.asked.place, decision)
        is_text_logged = self._is_text_logged(decided.asked.call.caller.tenant)
        took_us = answered.decided_ns // 1000
        self._writer.offer(row_of(decided, is_text_logged=is_text_logged, took_us=took_us))

    def observe(self, outcome: Outcome, *, tenant: str) -> tuple[Rollout, str] | None:
        """Learn what became of a call; returns what a rollout broke when it has to be stopped.

        The session's memory is corrected by it. For the rollout an outcome
        counts where its decision is remembered and was made by one of the two artifacts that are
        compared now.
        """
        self.sessions.observe(outcome, tenant=tenant, catalog=self._router.catalog)
        rollout, given = self._rollout, self.recent.given(tenant, outcome.decision_id)
        if rollout is None or given is None or given.side is None or given.session is None:
            return None
        self._metrics.compared(given.side, outcome.adequate)
        champion = self._router.versions.artifact
        version = rollout.version if given.side == CANARY else champion
        if rollout.file.mode != "canary" or given.answer.versions.artifact != version:
            return None
        reason = rollout.monitor.observe(
            given.side,
            champion=champion,
            tenant=tenant,
            session=given.session,
            adequate=outcome.adequate,
            is_error=outcome.error is not None,
        )
        return None if reason is None else (rollout, reason)

    def _is_text_logged(self, tenant: str) -> bool:
        return tenant in self._settings.log_text_tenants

    def _skip(self, waited_ns: int) -> str:
        """Why nothing is to be predicted any more for a call that waited so long, or ""."""
        waited_ms, deadline_ms = waited_ns / 1e6, self._settings.deadline_ms
        if waited_ms < deadline_ms:
            return ""
        return fallback.past_deadline(waited_ms, deadline_ms=deadline_ms)

    def _given_before(self, call: Call, content_hash: str) -> RouteAnswer | None:
        own_id = call.caller.decision_id
        if own_id is None:
            return None
        return self.recent.repeated(
            call.caller.tenant, own_id, request_hash=content_hash, overrides=call.overrides
        )

    def _sides(
        self, tenant: str, session: str, place: Place | None
    ) -> tuple[Router, Side | None, Router | None]:
        """The router that decides, its side, and the other one if its decision is logged too.

        A session that keeps its own model has no part in a rollout.
        """
        champion, rollout = self._router, self._rollout
        if rollout is None or is_kept(place) or rollout.version == champion.versions.artifact:
            return champion, None, None
        side = rollout.side(tenant, session)
        pair = (champion, rollout.router) if side != CANARY else (rollout.router, champion)
        return pair[0], side, pair[1] if rollout.is_shadowed else None

    async def _admitted(self, caller: Caller, limits: Limits) -> Admission | None:
        """The call's way through the ledger, None where there is none."""
        return None if self._ledger is None else await self._ledger.admitted(caller, limits)

    async def _decide(self, asked: Asked, admission: Admission | None) -> Decided:
        caller, router = asked.call.caller, asked.router
        now_s, day = time.monotonic(), utc_day()
        terms = self._terms(caller.tenant, router, admission, day=day)
        session = self.sessions.view(
            caller.tenant,
            asked.session,
            asked.digest.outline,
            now_s=now_s,
            step_type=asked.digest.step_type,
        )
        load = self._load.by_model(tuple(router.catalog.models), n_workers=self._settings.workers)
        decision_id = caller.decision_id or str(ULID())

        def decide(allowance: Allowance | None) -> Decision:
            return router.decide(
                asked.digest,
                caller=caller,
                overrides=asked.call.overrides,
                session=session,
                load=load,
                decision_id=decision_id,
                terms=terms if allowance is None else structs.replace(terms, allowance=allowance),
                skip=asked.skip,
                incumbent=asked.incumbent,
            )

        decision = decide(None) if admission is None else await admission.decided(decide)
        if decision.exploration.budget_left_usd is not None:  # tenants without one take no room
            self._budgets.charge(caller.tenant, decision.expected_regret_usd, day=day)
        card = served_card(decision, router.catalog)
        if card is not None:
            self._load.sent(card.id)
        self.sessions.remember(
            decision,
            asked.digest.outline,
            card,
            tenant=caller.tenant,
            session=asked.session,
            now_s=now_s,
            estimated_tokens=asked.digest.input_tokens,
            pin_session=asked.call.overrides.pin_session,
        )
        return Decided(asked, decision, terms, session, load)

    def _terms(
        self, tenant: str, router: Router, admission: Admission | None, *, day: int
    ) -> Terms:
        """The tenant's terms, with the bar of a soft cap that is exceeded, and what is left of
        its budget where it explores.
        """
        settings = self._tenants.of(tenant)
        terms, budget = settings.terms, settings.budget_microusd_per_day
        if admission is not None and admission.is_over_soft_cap:
            enough = settings.limits.user_min_adequacy
            terms = structs.replace(terms, soft_cap_min_adequacy=enough)
        exploration = terms.exploration or router.policy.exploring
        if budget is None or exploration.share <= 0.0:
            return terms
        left_usd = self._budgets.left_usd(tenant, budget_microusd=budget, day=day)
        return structs.replace(
            terms, exploration=structs.replace(exploration, budget_left_usd=left_usd)
        )
