"""From the models that a call may go to, to candidates with probabilities and prices.

Deciding and replaying a decision score alike: all that is read of a call is in the log.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model import fallback
from router_model.catalog import Catalog
from router_model.descriptors import DESCRIPTOR_NAMES, describe
from router_model.errors import PredictionError
from router_model.predictor import BoundPredictor, JointPredictor, Prediction
from router_model.pricing import expected_cost
from router_model.tenants import TenantOffsets
from router_model.types import Candidate, ModelCard

Vector = NDArray[np.float32]
# Without any observed output: what a step of a coding agent writes, about.
_DEFAULT_OUTPUT_TOKENS = 600.0
_NO_LIMIT = 10**9


class Situation(Struct, frozen=True, kw_only=True):
    """What is read of one call: features, embedding, sizes, and the warm prefix of each model."""

    tenant: str
    values: Vector
    embedding: Vector
    input_tokens: int
    max_output_tokens: int | None
    cached_tokens: Mapping[str, int]
    is_side_call: bool


class Scored(Struct, frozen=True):
    """Candidates by model, and why p is unknown or ""."""

    candidates: Mapping[str, Candidate]
    problem: str


class Scorer:
    """A predictor bound to the models of a catalog, with what each tenant departs by."""

    def __init__(
        self, predictor: JointPredictor, catalog: Catalog, *, offsets: TenantOffsets
    ) -> None:
        cards = tuple(catalog.models.values())
        rows = [describe(card) for card in cards]
        self.bound: BoundPredictor = predictor.bind(
            tuple(catalog.models), np.array(rows, np.float32).reshape(-1, len(DESCRIPTOR_NAMES))
        )
        self.abilities = dict(zip(self.bound.names, self.bound.abilities.tolist(), strict=True))
        self._place = {card.id: index for index, card in enumerate(cards)}
        self._shifts = {
            tenant: offsets.for_models(tenant, self.bound.names) for tenant in offsets.tenants
        }

    def score(self, cards: Sequence[ModelCard], situation: Situation) -> Scored:
        """Predict and price these models, and no others."""
        prediction, problem = self._predict(cards, situation)
        return Scored(_priced(cards, situation, prediction), problem)

    def _predict(self, cards: Sequence[ModelCard], situation: Situation) -> tuple[Prediction, str]:
        """The prediction for these models only, and "" or why there is none."""
        places = np.array([self._place[card.id] for card in cards], dtype=np.intp)
        shifts = self._shifts.get(situation.tenant)
        try:
            return self.bound.predict(
                situation.values,
                situation.embedding,
                only=places,
                shift=None if shifts is None else shifts[places],
            ), ""
        except PredictionError as error:
            return fallback.no_prediction(len(cards)), str(error)


def _priced(
    cards: Sequence[ModelCard], situation: Situation, prediction: Prediction
) -> dict[str, Candidate]:
    limit = situation.max_output_tokens or _NO_LIMIT
    candidates = {}
    for card, p, output, latency in zip(
        cards,
        prediction.p_adequate.tolist(),
        prediction.output_tokens.tolist(),
        prediction.tool_call_latency_ms.tolist(),
        strict=True,
    ):
        output = _DEFAULT_OUTPUT_TOKENS if output != output else output
        output = min(output, float(min(limit, card.max_output_tokens)))
        cached = min(situation.cached_tokens.get(card.id, 0), situation.input_tokens)
        cost = 0.0
        if card.price is not None:
            cost = expected_cost(
                card.price,
                input_tokens=situation.input_tokens,
                cached_tokens=cached,
                output_tokens=output,
            )
        candidates[card.id] = Candidate(
            model=card.id,
            p_adequate=p,
            expected_cost=cost,
            input_tokens=situation.input_tokens,
            cached_tokens=cached,
            output_tokens=output,
            tool_call_latency_ms=latency,
        )
    return candidates
