"""What a decision leaves in the log, beside what another artifact would have decided."""

import time
from collections.abc import Mapping
from typing import Any

import structlog
from msgspec import Struct, structs

from router_data.rows import decision_row, shadow_row
from router_model.digest import Digest
from router_model.errors import NoAdmissibleModelError
from router_model.incumbent import NAME as INCUMBENT
from router_model.incumbent import Incumbent
from router_model.router import Router
from router_model.scoring import Asking, asking_of, logged_situation
from router_model.session_view import SessionView
from router_model.terms import Terms
from router_model.types import Decision
from router_serving.adoption import Place
from router_serving.call import Call
from router_serving.canary import Side
from router_serving.reading import Known, Reading, digest_for, text_of
from router_serving.redaction import as_name

_log = structlog.get_logger(__name__)


class Asked(Struct, frozen=True, kw_only=True):
    """One call as far as it is known before the decision, with the router that will take it.

    `side` and `other` are set while a rollout is in force; `other` is the router that does not
    decide, where its decision is to be logged. `place` is set while not every session is routed,
    `incumbent` where this one keeps the model that its caller uses.
    `skip` says why nothing is predicted, or is "".
    """

    call: Call
    reading: Reading
    known: Known
    digest: Digest
    session: str
    router: Router
    side: Side | None = None
    other: Router | None = None
    place: Place | None = None
    incumbent: Incumbent | None = None
    skip: str = ""


class Decided(Struct, frozen=True):
    """What the log wants to know about one decision."""

    asked: Asked
    decision: Decision
    terms: Terms
    session: SessionView
    load: Mapping[str, int]


def row_of(
    decided: Decided, *, is_text_logged: bool, took_us: int | None = None
) -> Mapping[str, Any]:
    """The row of a decision; the prompt's text only where its tenant opted in."""
    asked, decision = decided.asked, decided.decision
    row = decision_row(
        decision,
        caller=asked.call.caller,
        digest=asked.digest,
        request_hash=asked.reading.content_hash(),
        encoder=asked.router.manifest.encoder,
        session=asked.session,
        wire_format=asked.reading.wire_format,
        now_ms=time.time_ns() // 1_000_000,
        text=text_of(asked.known) if is_text_logged else None,
        overrides=asked.call.overrides,
        min_adequacy=decision.min_adequacy,
        contract=decision.contract,
        exploration=decision.exploration,
        rollout=asked.side,
        situation=logged_situation(
            session=decided.session,
            asking=_kept(asking_of(asked.digest.outline)),
            load=decided.load,
        ),
        shadow=_shadow(decided),
        adoption=asked.place,
        took_us=took_us,
    )
    return row | {"requested_model": as_name(asked.digest.outline.requested_model)}


def _kept(asking: Asking) -> Asking:
    tier = asking.service_tier
    return asking if tier is None else structs.replace(asking, service_tier=as_name(tier))


def _shadow(decided: Decided) -> Mapping[str, Any] | None:
    """What was not carried out: our own decision, or that of the other artifact."""
    asked = decided.asked
    if decided.decision.policy == INCUMBENT:
        return shadow_row(asked.router.versions.artifact, decided.decision.shadow)
    return None if asked.other is None else shadow_of(decided, asked.other)


def shadow_of(decided: Decided, other: Router) -> Mapping[str, Any]:
    """What the other artifact would have decided; `model` is null where it decides nothing."""
    artifact = other.versions.artifact
    try:
        decision = _decided_by(other, decided)
    except Exception as error:  # noqa: BLE001  # the decision that counts is logged all the same
        if not isinstance(error, NoAdmissibleModelError):
            _log.exception("shadow.failed", artifact=artifact)
        return shadow_row(artifact, None)
    return shadow_row(artifact, decision)


def _decided_by(other: Router, decided: Decided) -> Decision:
    asked = decided.asked
    digest = asked.digest
    if other.encoder.hash != asked.router.encoder.hash:
        digest = digest_for(asked.known, digest.outline, other, skip=asked.skip)
    return other.decide(
        digest,
        caller=asked.call.caller,
        overrides=asked.call.overrides,
        session=decided.session,
        load=decided.load,
        decision_id=decided.decision.decision_id,
        terms=decided.terms,
        skip=asked.skip,
    )
