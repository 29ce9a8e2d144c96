"""Decides a logged request again, from what the log kept of it."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from router_model import features
from router_model.embedding import N_MATCH
from router_model.errors import LogError
from router_model.exploration import BEFOREHAND
from router_model.policy import draw
from router_model.router import Router
from router_model.scoring import Situation, Vector
from router_model.terms import Exploration
from router_model.types import Candidate, ModelCard, StepType, Versions

TOLERANCE: Final = 1e-9
# Rows before it lack limits, threshold and exploration.
FIRST_SCHEMA: Final = 2


class LoggedCandidate(Struct, frozen=True, kw_only=True):
    """A candidate as the log has it: what is not a number there is null."""

    model: str
    p_adequate: float | None
    expected_cost: float
    cached_tokens: int
    output_tokens: float
    tool_call_latency_ms: float | None
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
    embedding: str
    versions: Versions
    candidates: tuple[LoggedCandidate, ...]
    exploration: Exploration
    max_output_tokens: int | None = None
    min_adequacy: float | None = None


class Replayed(Struct, frozen=True, kw_only=True):
    """What came out again, and in what it differs from the row: "field: logged, replayed"."""

    decision_id: str
    model: str
    propensity: float
    distribution: Mapping[str, float]
    differences: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """True when nothing differs by more than the tolerance."""
        return not self.differences


def replay(record: Mapping[str, Any], router: Router) -> Replayed:
    """The decision of a row of the log, made again by the router of the same versions.

    Predicted from the logged features, priced with the logged cached tokens, chosen among the
    models that were admissible then, under the logged threshold and exploration, drawn by the
    decision_id. Probabilities, costs and p are compared with a relative tolerance of 1e-9.
    Raises LogError for a row that does not hold all of that, or was made with other versions.
    """
    logged = read(record)
    if logged.versions != router.versions:
        raise LogError(
            f"versions: decision {logged.decision_id!r} was made with {logged.versions}, "
            f"expected those of the router, {router.versions}"
        )
    if logged.feature_schema != features.SCHEMA.hash:
        raise LogError(f"feature_schema: got {logged.feature_schema[:12]}, expected this version's")
    cards = _cards(logged, router)
    scored = router.scorer.score(cards, _situation(logged, router))
    choice = router.choose(
        cards,
        scored,
        min_adequacy=logged.min_adequacy,
        is_side_call=logged.step_type.is_side_call,
        exploration=_beforehand(logged.exploration),
    )
    model = draw(choice.distribution, decision_id=logged.decision_id)
    pairs: list[tuple[str, object, object]] = [
        ("model", logged.model, model),
        ("propensity", logged.propensity, choice.distribution[model]),
        ("reason", logged.reason, choice.reason),
        ("exploration.off", logged.exploration.off, choice.exploration.off),
        ("order", [c.model for c in logged.candidates], [c.model for c in choice.ranked]),
        *_candidate_pairs(logged, scored.candidates, choice.distribution),
    ]
    return Replayed(
        decision_id=logged.decision_id,
        model=model,
        propensity=choice.distribution[model],
        distribution=choice.distribution,
        differences=tuple(
            f"{name}: logged {was}, replayed {now}" for name, was, now in pairs if differs(was, now)
        ),
    )


def read(record: Mapping[str, Any]) -> LoggedDecision:
    """What a replay needs of a row; LogError names what is missing or not readable."""
    if (record.get("schema") or 0) < FIRST_SCHEMA:
        raise LogError(f"schema: got {record.get('schema')}, expected at least {FIRST_SCHEMA}")
    try:
        return msgspec.convert(record, LoggedDecision)
    except msgspec.ValidationError as error:
        raise LogError(f"decision {record.get('decision_id')!r}: {error}") from error


def differs(logged: object, replayed: object) -> bool:
    """True unless equal, or two numbers within the tolerance; null in the log is no number.

    >>> differs(0.1 + 0.2, 0.3), differs(None, float("nan")), differs(0.5, 0.500001)
    (False, False, True)
    """
    if isinstance(replayed, float):
        if math.isnan(replayed):
            return logged is not None
        return not isinstance(logged, float | int) or not math.isclose(
            logged, replayed, rel_tol=TOLERANCE
        )
    return logged != replayed


def _cards(logged: LoggedDecision, router: Router) -> Sequence[ModelCard]:
    """The models that were admissible, in the order of the catalog."""
    names = {candidate.model for candidate in logged.candidates}
    if not names or not names <= router.catalog.models.keys():
        raise LogError(
            f"candidates: decision {logged.decision_id!r} has {sorted(names)}, "
            "expected models of the catalog"
        )
    return [card for card in router.catalog.models.values() if card.id in names]


def _situation(logged: LoggedDecision, router: Router) -> Situation:
    values = _vector(logged, "features", "<f4", length=features.SCHEMA.n)
    n_dimensions = router.encoder.dimension + N_MATCH
    vector = _vector(logged, "embedding", "<f2", length=n_dimensions)
    return Situation(
        tenant=logged.tenant,
        values=values,
        embedding=vector,
        input_tokens=logged.input_tokens,
        max_output_tokens=logged.max_output_tokens,
        cached_tokens={c.model: c.cached_tokens for c in logged.candidates},
        is_side_call=logged.step_type.is_side_call,
    )


def _vector(logged: LoggedDecision, name: str, kind: str, *, length: int) -> Vector:
    try:
        found = np.frombuffer(base64.b64decode(getattr(logged, name)), kind)
    except ValueError as error:
        raise LogError(f"decision {logged.decision_id!r}: {name}: {error}") from error
    if len(found) != length:
        raise LogError(
            f"decision {logged.decision_id!r}: {name}: got {len(found)} numbers, expected {length}"
        )
    return found.astype(np.float32)


def _beforehand(logged: Exploration) -> Exploration:
    """What was set before candidates were compared; the rest comes out again."""
    off = logged.off if logged.off in BEFOREHAND else None
    return msgspec.structs.replace(logged, off=off)


def _candidate_pairs(
    logged: LoggedDecision,
    candidates: Mapping[str, Candidate],
    distribution: Mapping[str, float],
) -> list[tuple[str, object, object]]:
    pairs: list[tuple[str, object, object]] = []
    for was in logged.candidates:
        now = candidates[was.model]
        for name in ("p_adequate", "expected_cost", "output_tokens", "tool_call_latency_ms"):
            pairs.append((f"{was.model}.{name}", getattr(was, name), getattr(now, name)))
        pairs.append((f"{was.model}.probability", was.probability, distribution[was.model]))
    return pairs
