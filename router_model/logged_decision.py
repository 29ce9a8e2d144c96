"""A logged decision, and the situation in which it was made."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from router_model import fallback, features
from router_model.embedding import N_MATCH
from router_model.errors import LogError
from router_model.incumbent import NAME as INCUMBENT
from router_model.scoring import NO_VECTOR, Asking, Situation, Vector
from router_model.session_view import SessionView
from router_model.terms import Exploration
from router_model.types import PolicyOverrides, StepType, Versions

# Rows before it lack what was known of the session.
FIRST_SCHEMA: Final = 3


class LoggedSituation(Struct, frozen=True, kw_only=True):
    """What was known of the session, what the request said of caches, and each model's load."""

    session: SessionView
    asking: Asking
    load: Mapping[str, int]


class LoggedCandidate(Struct, frozen=True, kw_only=True):
    """A candidate as the log has it: what is not a number there is null."""

    model: str
    p_adequate: float | None
    expected_cost: float
    cached_tokens: int
    output_tokens: float
    tool_call_latency_ms: float | None
    tool_call_latency_p50_ms: float | None
    p_warm: float
    p_valid: float
    later_cost: float
    probability: float


class LoggedDecision(Struct, frozen=True, kw_only=True):
    """What is read of a decision's row; candidates from first to last choice."""

    schema: int
    decision_id: str
    tenant: str
    model: str
    propensity: float
    reason: str
    step_type: StepType
    input_tokens: int
    features: str
    feature_schema: str
    embedding: str | None
    versions: Versions
    candidates: tuple[LoggedCandidate, ...]
    exploration: Exploration
    situation: LoggedSituation
    contract: str | None = None
    overrides: PolicyOverrides | None = None
    max_output_tokens: int | None = None
    min_adequacy: float | None = None


def own_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row as if the router's own decision had been carried out; the row itself if it was.

    Where a caller kept its own model, the row holds the router's decision as its `shadow`, and the
    caller's model is the last candidate if it is an excluded one. `model` is None where the router
    had nothing to choose.
    """
    if record.get("policy") != INCUMBENT:
        return record
    shadow, excluded = record.get("shadow") or {}, record.get("excluded") or {}
    distribution = shadow.get("distribution") or {}
    candidates = [
        {**entry, "probability": distribution.get(entry["model"], 0.0)}
        for entry in record.get("candidates") or ()
        if entry["model"] not in excluded
    ]
    model = shadow.get("model")
    return {
        **record,
        "model": model,
        "reason": shadow.get("reason"),
        "propensity": distribution.get(model),
        "candidates": candidates,
    }


def read(record: Mapping[str, Any]) -> LoggedDecision:
    """What a replay needs of a row; LogError names what is missing or not readable."""
    if (record.get("schema") or 0) < FIRST_SCHEMA:
        raise LogError(f"schema: got {record.get('schema')}, expected at least {FIRST_SCHEMA}")
    try:
        return msgspec.convert(record, LoggedDecision)
    except msgspec.ValidationError as error:
        raise LogError(f"decision {record.get('decision_id')!r}: {error}") from error


def situation_of(logged: LoggedDecision, *, dimension: int) -> Situation:
    """What the decision read of the call; `dimension` is that of the text encoder.

    Past the deadline nothing was predicted, and the row has no embedding: nor is it now.
    Raises LogError where features or embedding are damaged.
    """
    values = _vector(logged, "features", "<f4", length=features.SCHEMA.n)
    is_late = logged.reason.startswith(fallback.DEADLINE)
    vector = NO_VECTOR
    if not (is_late and logged.embedding is None):
        vector = _vector(logged, "embedding", "<f2", length=dimension + N_MATCH)
    return Situation(
        tenant=logged.tenant,
        values=values,
        embedding=vector,
        input_tokens=logged.input_tokens,
        max_output_tokens=logged.max_output_tokens,
        step_type=logged.step_type,
        session=logged.situation.session,
        asking=logged.situation.asking,
        load=logged.situation.load,
        skip=logged.reason if is_late else "",
    )


def _vector(logged: LoggedDecision, name: str, kind: str, *, length: int) -> Vector:
    text = getattr(logged, name)
    if text is None:
        raise LogError(f"decision {logged.decision_id!r}: {name}: got nothing")
    try:
        found = np.frombuffer(base64.b64decode(text), kind)
    except ValueError as error:
        raise LogError(f"decision {logged.decision_id!r}: {name}: {error}") from error
    if len(found) != length:
        raise LogError(
            f"decision {logged.decision_id!r}: {name}: got {len(found)} numbers, expected {length}"
        )
    return found.astype(np.float32)
