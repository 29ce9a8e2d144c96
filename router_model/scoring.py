"""From the models that a call may go to, to candidates with probabilities, prices and latencies.

Deciding and replaying a decision score alike: all that is read of a call is in the log.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from router_model import fallback
from router_model.behaviour import NO_BEHAVIOUR, Behaviour
from router_model.catalog import Catalog
from router_model.descriptors import DESCRIPTOR_NAMES, describe
from router_model.economics import PRIOR, Economics
from router_model.errors import PredictionError
from router_model.images import image_correction
from router_model.outline import Outline
from router_model.predictor import BoundPredictor, JointPredictor, Prediction
from router_model.schema_complexity import schema_complexity
from router_model.session_view import NO_SESSION, SessionView
from router_model.tenants import TenantOffsets
from router_model.types import Candidate, ModelCard, StepType
from router_model.warmth import (
    COLD,
    Warmth,
    expected_call_cost,
    input_tokens_of,
    is_cached,
    lifetime_s,
    warmth_of,
)

Vector = NDArray[np.float32]
Floats = NDArray[np.float64]
# The embedding of a call for which nothing is predicted.
NO_VECTOR: Vector = np.zeros(0, dtype=np.float32)
# Without any observed output: what a step of a coding agent writes, about.
_DEFAULT_OUTPUT_TOKENS = 600.0
_NO_LIMIT = 10**9


class Asking(Struct, frozen=True, kw_only=True):
    """What of a request bears on its price and on how its tools are called.

    `is_marked`: the client set cache markers; `cache_ttl_s` is the longest lifetime they ask for.
    `images` holds the width and height in pixels of each, 0 where not known.
    `n_answers` are asked for at once.
    """

    is_marked: bool = False
    images: tuple[tuple[int, int], ...] = ()
    cache_ttl_s: int | None = None
    service_tier: str | None = None
    has_tools: bool = False
    n_answers: int = 1


class Situation(Struct, frozen=True, kw_only=True):
    """What is read of one call: features, embedding, sizes, its session, and the load.

    `input_tokens` is an estimate that is the same for every model. `load` counts the calls that
    each model got in the last minute; 0 where it is not in it. `skip` says why nothing is to be
    predicted, "" where it is: the embedding is then not read.
    """

    tenant: str
    values: Vector
    embedding: Vector
    input_tokens: int
    max_output_tokens: int | None
    step_type: StepType
    session: SessionView = NO_SESSION
    asking: Asking = Asking()
    load: Mapping[str, int] = field(default_factory=dict)
    skip: str = ""

    @property
    def is_side_call(self) -> bool:
        """True for housekeeping calls, which have a prefix of their own."""
        return self.step_type.is_side_call


class Scored(Struct, frozen=True):
    """Candidates by model, the warm prefix of each, and why p is unknown or ""."""

    candidates: Mapping[str, Candidate]
    warmth: Mapping[str, Warmth]
    problem: str


class _Estimates(Struct, frozen=True):
    """What is expected of each model, arrays (n_models,)."""

    input_tokens: Sequence[int]
    warmth: Sequence[Warmth]
    output_tokens: Floats
    p50_ms: Floats
    p95_ms: Floats
    p_valid: Floats


class Scorer:
    """A predictor bound to the models of a catalog, with all that was learned beside it."""

    def __init__(
        self,
        predictor: JointPredictor,
        catalog: Catalog,
        *,
        offsets: TenantOffsets,
        economics: Economics = PRIOR,
        behaviour: Behaviour = NO_BEHAVIOUR,
    ) -> None:
        cards = tuple(catalog.models.values())
        rows = [describe(card) for card in cards]
        self.bound: BoundPredictor = predictor.bind(
            tuple(catalog.models), np.array(rows, np.float32).reshape(-1, len(DESCRIPTOR_NAMES))
        )
        self.economics = economics
        self.behaviour = behaviour
        self.abilities = dict(zip(self.bound.names, self.bound.abilities.tolist(), strict=True))
        self._place = {card.id: index for index, card in enumerate(cards)}
        self._shifts = {
            tenant: offsets.for_models(tenant, self.bound.names) for tenant in offsets.tenants
        }

    def score(self, cards: Sequence[ModelCard], situation: Situation) -> Scored:
        """Predict and price these models, and no others."""
        prediction, problem = self._predict(cards, situation)
        inputs = [self._input_tokens(card, situation) for card in cards]
        prefixes = situation.session.prefixes
        warmth = [
            self._warmth(card, situation, n) if card.id in prefixes else COLD
            for card, n in zip(cards, inputs, strict=True)
        ]
        estimates = self._estimates(cards, situation, prediction, inputs, warmth)
        candidates = _candidates(cards, situation, prediction.p_adequate, estimates)
        by_model = {card.id: warm for card, warm in zip(cards, warmth, strict=True)}
        return Scored(candidates, by_model, problem)

    def _predict(self, cards: Sequence[ModelCard], situation: Situation) -> tuple[Prediction, str]:
        """The prediction for these models only, and "" or why there is none."""
        if situation.skip:
            return fallback.no_prediction(len(cards)), situation.skip
        places = np.array([self._place[card.id] for card in cards], dtype=np.intp)
        shifts = self._shifts.get(situation.tenant)
        try:
            return self.bound.predict(
                situation.values,
                situation.embedding,
                only=places,
                shift=None if shifts is None else shifts[places],
                with_cost=False,  # prices say it better
            ), ""
        except PredictionError as error:
            return fallback.no_prediction(len(cards)), fallback.unavailable(str(error))

    def _estimates(
        self,
        cards: Sequence[ModelCard],
        situation: Situation,
        prediction: Prediction,
        inputs: Sequence[int],
        warmth: Sequence[Warmth],
    ) -> _Estimates:
        names = [card.id for card in cards]
        most = situation.max_output_tokens or _NO_LIMIT
        limits = [float(min(most, card.max_output_tokens)) for card in cards]
        expected = prediction.output_tokens
        output = np.where(np.isnan(expected), _DEFAULT_OUTPUT_TOKENS, expected)
        output = np.minimum(output, limits)
        mean = prediction.tool_call_latency_ms
        p50 = p95 = mean
        if self.behaviour.latency.models:
            quantiles = self.behaviour.latencies(
                names,
                input_tokens=np.array(inputs, dtype=np.float64),
                output_tokens=output,
                load=[situation.load.get(name, 0) for name in names],
                cached_tokens=np.array([warm.tokens * warm.p for warm in warmth]),
            )
            # Without learned quantiles, the mean that the predictor knows is the best there is.
            p50, p95 = (np.where(np.isnan(found), mean, found) for found in quantiles)
        p_valid = np.ones(len(names))
        if situation.asking.has_tools and self.behaviour.validity.models:
            complexity = schema_complexity(situation.values)
            p_valid = self.behaviour.validity_factor(names, complexity)
        return _Estimates(inputs, warmth, output, p50, p95, p_valid)

    def _input_tokens(self, card: ModelCard, situation: Situation) -> int:
        """The estimate, corrected by what this model was last billed, and how it counts images."""
        prefix = situation.session.prefixes.get(card.id)
        tokens = input_tokens_of(
            prefix,
            situation.input_tokens,
            token_ratio=self.economics.token_ratio_of(card.id),
        )
        images = situation.asking.images
        # A bill of the session has counted them by the model's own rule already.
        is_billed = prefix is not None and prefix.billed_tokens > 0
        return tokens if is_billed or not images else tokens + image_correction(images, card)

    def _warmth(self, card: ModelCard, situation: Situation, input_tokens: int) -> Warmth:
        return warmth_of(
            card,
            situation.session.prefixes.get(card.id),
            input_tokens=input_tokens,
            facts=self.economics.cache_of(card.id),
            is_marked=situation.asking.is_marked,
        )


def asking_of(outline: Outline) -> Asking:
    """What of a request bears on its price and on how its tools are called."""
    return Asking(
        is_marked=outline.n_cache_markers > 0,
        images=outline.images,
        cache_ttl_s=outline.cache_ttl_s,
        service_tier=outline.service_tier,
        has_tools=outline.may_call_tools,
        n_answers=outline.n_answers,
    )


def logged_situation(
    *, session: SessionView, asking: Asking, load: Mapping[str, int]
) -> dict[str, Any]:
    """What a replay needs beside the other columns of the log, as JSON."""
    return {
        "session": msgspec.to_builtins(session),
        "asking": msgspec.to_builtins(asking),
        "load": dict(load),
    }


def _candidates(
    cards: Sequence[ModelCard],
    situation: Situation,
    p_adequate: Floats,
    estimates: _Estimates,
) -> dict[str, Candidate]:
    candidates = {}
    for card, p, valid, tokens, warm, output, p50, p95 in zip(
        cards,
        p_adequate.tolist(),
        estimates.p_valid.tolist(),
        estimates.input_tokens,
        estimates.warmth,
        estimates.output_tokens.tolist(),
        estimates.p50_ms.tolist(),
        estimates.p95_ms.tolist(),
        strict=True,
    ):
        candidates[card.id] = Candidate(
            model=card.id,
            p_adequate=p * valid,
            expected_cost=call_usd(
                card, situation.asking, warm, input_tokens=tokens, output_tokens=output
            ),
            input_tokens=tokens,
            cached_tokens=warm.tokens,
            output_tokens=output,
            tool_call_latency_ms=p95,
            tool_call_latency_p50_ms=p50,
            p_warm=warm.p,
            p_valid=valid,
        )
    return candidates


def call_usd(
    card: ModelCard,
    asking: Asking,
    warmth: Warmth,
    *,
    input_tokens: int,
    output_tokens: float,
) -> float:
    """What the model is expected to charge for a call that finds this in its cache; 0 unpriced."""
    if card.price is None:
        return 0.0
    return expected_call_cost(
        card,
        input_tokens,
        warmth,
        output_tokens=output_tokens,
        writes=is_cached(card, is_marked=asking.is_marked),
        ttl_s=lifetime_s(card, asking.cache_ttl_s),
        service_tier=asking.service_tier,
    )
