"""Decides a logged request again, from what the log kept of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, structs

from router_model import features
from router_model.errors import LogError
from router_model.exploration import BEFOREHAND
from router_model.in_effect import objective_of
from router_model.logged_decision import FIRST_SCHEMA as FIRST_SCHEMA
from router_model.logged_decision import LoggedDecision, own_of, read, situation_of
from router_model.policy import Choice, draw
from router_model.router import Router
from router_model.session_view import SessionView
from router_model.terms import Exploration
from router_model.types import ModelCard, PolicyOverrides

TOLERANCE: Final = 1e-9
_NO_OVERRIDES: Final = PolicyOverrides()
_COMPARED: Final = (
    *("p_adequate", "expected_cost", "cached_tokens", "output_tokens", "p_warm", "p_valid"),
    *("tool_call_latency_ms", "tool_call_latency_p50_ms", "later_cost"),
)


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

    Where the caller kept its own model, that is the decision which was not carried out.
    Predicted from the logged features, priced with what was known of the session, chosen among
    the models that were admissible then, under the logged threshold and exploration, drawn by the
    decision_id. Probabilities, costs and p are compared with a relative tolerance of 1e-9.
    Raises LogError for a row that does not hold all of that, or was made with other versions.
    """
    logged = read(own_of(record))
    if logged.versions != router.versions:
        raise LogError(
            f"versions: decision {logged.decision_id!r} was made with {logged.versions}, "
            f"expected those of the router, {router.versions}"
        )
    model, choice = decided_again(logged, router)
    pairs: list[tuple[str, object, object]] = [
        ("model", logged.model, model),
        ("propensity", logged.propensity, choice.distribution[model]),
        ("reason", logged.reason, choice.reason),
        ("exploration.off", logged.exploration.off, choice.exploration.off),
        ("order", [c.model for c in logged.candidates], [c.model for c in choice.ranked]),
        *_candidate_pairs(logged, choice),
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


def decided_again(
    logged: LoggedDecision, router: Router, *, session: SessionView | None = None
) -> tuple[str, Choice]:
    """The model that is drawn, and the choice, among the models that were admissible then.

    With a `session`, as if that had been known of it. Raises LogError for a row that was made with
    other features, or whose models the router does not have.
    """
    if logged.feature_schema != features.SCHEMA.hash:
        raise LogError(f"feature_schema: got {logged.feature_schema[:12]}, expected this version's")
    cards = _cards(logged, router)
    situation = situation_of(logged, dimension=router.encoder.dimension)
    if session is not None:
        situation = structs.replace(situation, session=session)
    choice = router.chooser.choose(
        cards,
        router.scorer.score(cards, situation),
        situation,
        min_adequacy=logged.min_adequacy,
        set_by=logged.contract,
        exploration=_beforehand(logged.exploration),
        objective=objective_of(logged.overrides or _NO_OVERRIDES, set_by=logged.contract),
    )
    return draw(choice.distribution, decision_id=logged.decision_id), choice


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


def _beforehand(logged: Exploration) -> Exploration:
    """What was set before candidates were compared; the rest comes out again."""
    off = logged.off if logged.off in BEFOREHAND else None
    return structs.replace(logged, off=off)


def _candidate_pairs(logged: LoggedDecision, choice: Choice) -> list[tuple[str, object, object]]:
    pairs: list[tuple[str, object, object]] = []
    found = {candidate.model: candidate for candidate in choice.ranked}
    for was in logged.candidates:
        now = found[was.model]
        for name in _COMPARED:
            pairs.append((f"{was.model}.{name}", getattr(was, name), getattr(now, name)))
        probability = choice.distribution[was.model]
        pairs.append((f"{was.model}.probability", was.probability, probability))
    return pairs
