"""The rows of the log: one per decision and one per outcome.

Rows hold ingredients (candidates, distribution, propensity, versions, exclusions, usage), never
rewards. Features are base64 of little-endian float32, embeddings of little-endian float16.
The prompt's text is only there when the tenant opted in.

Schema 2 adds to a decision what the request limited (`overrides`, `max_output_tokens`), what was
in effect (`min_adequacy`, `contract`, `exploration`, `rollout`) and what another artifact would
have done (`shadow`). Schema 3 adds what was known of the session and the call (`situation`) and
what tied the call to a model (`lock`); candidates carry warmth, validity, both latencies and what
they cost the session later. Rows of older schemas lack these fields and are read all the same,
and so do earlier rows of this one: `adoption` and `took_us`.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from router_model.digest import Digest
from router_model.features import SCHEMA
from router_model.incumbent import NAME as INCUMBENT
from router_model.outline import request_hash as request_hash
from router_model.types import (
    Caller,
    Candidate,
    Decision,
    Outcome,
    PolicyOverrides,
    WireFormat,
)
from router_model.vectors import EMBEDDING, FEATURES, Kind
from router_model.vectors import encode_embedding as encode_embedding
from router_model.vectors import encode_features as encode_features

ROW_SCHEMA = 3
# The data set of rows that `router-data probe` logs.
PROBE_DATASET = "probe"


def decision_row(
    decision: Decision,
    *,
    caller: Caller,
    digest: Digest,
    request_hash: str,
    encoder: str,
    session: str,
    wire_format: WireFormat | str,
    now_ms: int,
    feature_schema: str = SCHEMA.hash,
    text: str | None = None,
    overrides: PolicyOverrides | None = None,
    min_adequacy: float | None = None,
    contract: str | None = None,
    exploration: msgspec.Struct | Mapping[str, Any] | None = None,
    rollout: str | None = None,
    shadow: msgspec.Struct | Mapping[str, Any] | None = None,
    situation: Mapping[str, Any] | None = None,
    adoption: msgspec.Struct | Mapping[str, Any] | None = None,
    took_us: int | None = None,
) -> dict[str, Any]:
    """The log row of one decision; `encoder` is the hash of the text encoder.

    A digest without an embedding is one for which nothing was predicted; it is not learned from.
    `text` is logged only when given: pass it for tenants that opted in. `min_adequacy` is the
    threshold in effect (None: none) and `contract` what set it; `overrides` are as the request
    gave them. `exploration` holds share, floor, budget_left_usd and off; `rollout` is "champion"
    or "canary"; `shadow` is the choice of an artifact that only watches, or the one that was not
    taken because the caller keeps its own model (`shadow_row`). `situation` is what a
    replay needs beside the features (`router_model.scoring.logged_situation`). `adoption` holds
    the session's arm, "router" or "incumbent", and the share of sessions that is routed; None is
    all of them. `took_us` are the microseconds that the decision took this machine.
    """
    row = {
        "schema": ROW_SCHEMA,
        "kind": "decision",
        "ts_ms": now_ms,
        "tenant": caller.tenant,
        "key": caller.key,
        "user": caller.user,
        "session": session,
        "client": caller.client or digest.family or None,
        "format": str(wire_format),
        "requested_model": digest.outline.requested_model,
        "request_hash": request_hash,
        "features": encode_features(digest.values),
        "feature_schema": feature_schema,
        "embedding": encode_embedding(digest.embedding) if digest.embedding.size else None,
        "encoder": encoder,
        "input_tokens": int(digest.input_tokens),
        "max_output_tokens": digest.outline.max_output_tokens,
        "overrides": msgspec.to_builtins(overrides),
        "min_adequacy": min_adequacy,
        "contract": contract,
        "exploration": msgspec.to_builtins(exploration),
        "rollout": rollout,
        "shadow": msgspec.to_builtins(shadow),
        "situation": situation,
        "adoption": msgspec.to_builtins(adoption),
        "took_us": took_us,
        **_choice(decision),
    }
    return row if text is None else row | {"text": text}


def _choice(decision: Decision) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "step_type": str(decision.step_type),
        "model": decision.model,
        "snapshot": decision.snapshot,
        "provider": decision.provider,
        "propensity": decision.propensity,
        "policy": decision.policy,
        "reason": decision.reason,
        # Nobody drew the model that a caller uses anyway.
        "feedback": "observational" if decision.policy == INCUMBENT else "bandit",
        "fallbacks": decision.fallbacks,
        "lock": decision.lock,
        "excluded": decision.excluded,
        "candidates": candidate_rows(decision.candidates, decision.distribution),
        "versions": msgspec.to_builtins(decision.versions),
        # Only imports know these.
        "dataset": None,
        "task": None,
        "group": None,
    }


def shadow_row(artifact: str, decision: Decision | None) -> dict[str, Any]:
    """What a decision that was not carried out says; `model` is null where there was none.

    `decision` is that of the `artifact` version.
    """
    row: dict[str, Any] = {"artifact": artifact}
    if decision is None:
        unknown = dict.fromkeys(("p_adequate", "expected_cost", "reason"))
        return row | {"model": None, "distribution": {}, **unknown}
    return row | {
        "model": decision.model,
        "distribution": decision.distribution,
        "p_adequate": decision.expected.p_adequate,
        "expected_cost": decision.expected.cost_usd,
        "reason": decision.reason,
    }


def outcome_row(outcome: Outcome, *, tenant: str, now_ms: int) -> dict[str, Any]:
    """The log row of one outcome."""
    row: dict[str, Any] = msgspec.to_builtins(outcome)
    return {"schema": ROW_SCHEMA, "kind": "outcome", "ts_ms": now_ms, "tenant": tenant, **row}


def candidate_rows(
    candidates: Sequence[Candidate], distribution: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Candidates with the probability that the policy gave each of them."""
    return [
        {**msgspec.to_builtins(candidate), "probability": distribution.get(candidate.model, 0.0)}
        for candidate in candidates
    ]


def decode_features(texts: Sequence[str]) -> NDArray[np.float32]:
    """The matrix of many rows' features; all must have the same length.

    >>> decode_features(["AACAPw==", "AACAPw=="])
    array([[1.],
           [1.]], dtype=float32)
    """
    return _decode(texts, FEATURES)


def decode_embeddings(texts: Sequence[str]) -> NDArray[np.float32]:
    """The matrix of many rows' embeddings, as float32; all must have the same length.

    >>> decode_embeddings(["ADw="])
    array([[1.]], dtype=float32)
    """
    return _decode(texts, EMBEDDING)


def _decode(texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
    data = b"".join(base64.b64decode(text) for text in texts)
    values = np.frombuffer(data, dtype=kind).astype(np.float32)
    return values.reshape(len(texts), -1) if texts else values.reshape(0, 0)
