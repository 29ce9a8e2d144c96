"""Rows of the log, as a router's own decisions leave them."""

from typing import Any

import msgspec

from router_data.rows import decision_row, shadow_row
from router_model.incumbent import NAME as INCUMBENT
from router_model.outline import request_hash
from router_model.router import Router
from router_model.scoring import asking_of, logged_situation
from router_model.session_view import NO_SESSION, SessionView
from router_model.terms import NO_TERMS, Terms
from router_model.types import Caller, PolicyOverrides, Request


def logged_row(
    router: Router,
    request: Request,
    *,
    decision_id: str = "d1",
    tenant: str = "default",
    session: SessionView = NO_SESSION,
    terms: Terms = NO_TERMS,
    skip: str = "",
    incumbent: str | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """The row of a decision, once through JSON as in the log."""
    caller, limits = Caller(tenant=tenant), PolicyOverrides(**overrides)
    digest = router.digest(request, skip=skip)
    decision = router.decide(
        digest,
        caller=caller,
        overrides=limits,
        decision_id=decision_id,
        session=session,
        terms=terms,
        skip=skip,
        incumbent=incumbent,
    )
    kept = decision.policy == INCUMBENT
    row = decision_row(
        decision,
        caller=caller,
        digest=digest,
        request_hash=request_hash(request),
        encoder=router.manifest.encoder,
        session="s",
        wire_format="openai.chat",
        now_ms=0,
        overrides=limits,
        min_adequacy=decision.min_adequacy,
        contract=decision.contract,
        exploration=decision.exploration,
        shadow=shadow_row(decision.versions.artifact, decision.shadow) if kept else None,
        situation=logged_situation(session=session, asking=asking_of(digest.outline), load={}),
    )
    content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(row))
    return content
