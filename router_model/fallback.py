"""The fixed policy that answers where P(adequate) is not predicted: the strongest model."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import structs

from router_model.exploration import FALLBACK, NOT_SET
from router_model.policy import Choice
from router_model.predictor import Prediction
from router_model.terms import Exploration
from router_model.types import Candidate, ModelCard

NAME: Final = "strongest_admissible"
UNAVAILABLE: Final = "fallback_prediction_unavailable"
DEADLINE: Final = "fallback_deadline"
REASONS: Final = (UNAVAILABLE, DEADLINE)
_NO_EXPLORATION: Final = Exploration()


def unavailable(problem: str) -> str:
    """The reason of an answer where nothing could be predicted; `problem` says why.

    >>> unavailable("trees: failed")
    'fallback_prediction_unavailable: trees: failed'
    """
    return f"{UNAVAILABLE}: {problem}"


def past_deadline(waited_ms: float, *, deadline_ms: int) -> str:
    """The reason of an answer to a call that waited too long to be predicted for.

    >>> past_deadline(312.4, deadline_ms=250)
    'fallback_deadline: waited 312 of 250 ms'
    """
    return f"{DEADLINE}: waited {waited_ms:.0f} of {deadline_ms} ms"


def is_fallback(reason: str) -> bool:
    """True for the reason of an answer that the fixed policy gave.

    >>> is_fallback(past_deadline(312, deadline_ms=250)), is_fallback("cheapest_adequate")
    (True, False)
    """
    return reason.startswith(REASONS)


def no_prediction(n_models: int) -> Prediction:
    """The prediction for `n_models` models that says nothing: NaN everywhere."""
    unknown = np.full(n_models, np.nan)
    return Prediction(unknown, unknown, unknown, unknown)


def choose_strongest(
    cards: Sequence[ModelCard],
    candidates: Mapping[str, Candidate],
    *,
    abilities: Mapping[str, float],
    reason: str,
    exploration: Exploration = _NO_EXPLORATION,
) -> Choice:
    """The admissible model of the highest learned ability, for certain; `reason` says why.

    Where the ability of one of them is not a finite number, the highest output price stands
    for strength. Ties go to the name, so that the order of cards never matters. Nothing is
    explored, whatever `exploration` asks.
    """
    is_known = all(math.isfinite(abilities[card.id]) for card in cards)

    def weakness(card: ModelCard) -> tuple[float, str]:
        price = 0.0 if card.price is None else card.price.output
        return -(abilities[card.id] if is_known else price), card.id

    ranked = tuple(candidates[card.id] for card in sorted(cards, key=weakness))
    distribution = dict.fromkeys((candidate.model for candidate in ranked), 0.0)
    distribution[ranked[0].model] = 1.0
    off = exploration.off or (FALLBACK if exploration.share > 0.0 else NOT_SET)
    return Choice(
        ranked=ranked,
        distribution=distribution,
        reason=reason,
        exploration=structs.replace(exploration, off=off),
    )
