"""The fixed policy that answers when P(adequate) can't be predicted: the strongest model."""

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
REASON: Final = "fallback_prediction_unavailable"
_NO_EXPLORATION: Final = Exploration()


def no_prediction(n_models: int) -> Prediction:
    """The prediction for `n_models` models that says nothing: NaN everywhere."""
    unknown = np.full(n_models, np.nan)
    return Prediction(unknown, unknown, unknown, unknown)


def choose_strongest(
    cards: Sequence[ModelCard],
    candidates: Mapping[str, Candidate],
    *,
    abilities: Mapping[str, float],
    problem: str,
    exploration: Exploration = _NO_EXPLORATION,
) -> Choice:
    """The admissible model of the highest learned ability, for certain; `problem` says why.

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
        reason=f"{REASON}: {problem}",
        exploration=structs.replace(exploration, off=off),
    )
