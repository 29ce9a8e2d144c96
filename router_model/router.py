"""The decision: which model is the cheapest adequate one for a request.

context -> predict -> price -> constrain -> decide
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model import artifact, explanation, fallback, features
from router_model.artifact import Manifest
from router_model.catalog import Catalog, load_catalog
from router_model.constraints import admissible, needs_of, within_limits
from router_model.descriptors import DESCRIPTOR_NAMES, describe
from router_model.embedding import embed
from router_model.encoder import StaticEncoder
from router_model.errors import ArtifactError, NoAdmissibleModelError, PredictionError
from router_model.features import Context
from router_model.golden import check_golden
from router_model.persistence import load_predictor
from router_model.policy import CheapestAdequate, Choice, draw
from router_model.predictor import BoundPredictor, JointPredictor, Prediction
from router_model.pricing import expected_cost
from router_model.types import (
    Caller,
    Candidate,
    Decision,
    Expected,
    ModelCard,
    PolicyOverrides,
    Request,
    Versions,
)

CATALOG_FILE = "catalog.toml"
Vector = NDArray[np.float32]
_NO_TOKENS: Mapping[str, int] = {}
# Without any observed output: what a step of a coding agent writes, about.
_DEFAULT_OUTPUT_TOKENS = 600.0


class _Scored(Struct, frozen=True):
    """Admissible cards, candidates by model, why others are excluded, why p is unknown or ""."""

    cards: tuple[ModelCard, ...]
    candidates: Mapping[str, Candidate]
    excluded: Mapping[str, str]
    problem: str


class Router:
    """Everything a decision needs, immutable: a reload replaces the whole object."""

    def __init__(
        self,
        *,
        predictor: JointPredictor,
        encoder: StaticEncoder,
        catalog: Catalog,
        policy: CheapestAdequate,
        manifest: Manifest,
    ) -> None:
        self.predictor = predictor
        self.encoder = encoder
        self.catalog = catalog
        self.policy = policy
        self.manifest = manifest
        self.versions = Versions(
            artifact=manifest.version, catalog=catalog.version, policy=policy.version
        )
        self._cards: tuple[ModelCard, ...] = tuple(catalog.models.values())
        rows = [describe(card) for card in self._cards]
        self.bound: BoundPredictor = predictor.bind(
            tuple(catalog.models), np.array(rows, np.float32).reshape(-1, len(DESCRIPTOR_NAMES))
        )
        self._place = {card.id: index for index, card in enumerate(self._cards)}
        self._abilities = dict(zip(self.bound.names, self.bound.abilities.tolist(), strict=True))

    @classmethod
    def load(cls, path: Path, *, catalog: Catalog | None = None) -> Self:
        """The router in an artifact folder, every file's hash checked first.

        `catalog` replaces the artifact's own. Raises ArtifactError where the folder is
        incomplete, altered, made for another feature schema, or where its golden predictions
        do not come out again.
        """
        manifest = artifact.verify(path)
        if manifest.feature_schema != features.SCHEMA.hash:
            raise ArtifactError(
                f"{path}: trained for feature schema {manifest.feature_schema[:12]}, this version "
                f"computes {features.SCHEMA.hash[:12]}; retrain, or install the matching version"
            )
        encoder = StaticEncoder.load(path)
        if encoder.hash != manifest.encoder:
            raise ArtifactError(
                f"{path}: trained with encoder {manifest.encoder}, holds {encoder.hash}"
            )
        predictor = load_predictor(path)
        sizes = (predictor.n_features, predictor.n_dimensions, predictor.n_descriptors)
        expected = (features.SCHEMA.n, encoder.dimension, len(DESCRIPTOR_NAMES))
        if sizes != expected:
            raise ArtifactError(
                f"{path}: the predictor reads {sizes} features, dimensions and descriptors, "
                f"expected {expected}"
            )
        check_golden(path, predictor, encoder)
        return cls(
            predictor=predictor,
            encoder=encoder,
            catalog=catalog or load_catalog(path / CATALOG_FILE),
            policy=_policy(manifest, path),
            manifest=manifest,
        )

    def context(self, request: Request) -> Context:
        """What is known about a request before a model is chosen."""
        return features.extract(request)

    def embed(self, context: Context) -> Vector:
        """Text vector and match values, float32 of shape (encoder.dimension + N_MATCH,)."""
        return embed(context, self.encoder)

    def decide(
        self,
        request: Request,
        *,
        caller: Caller,
        overrides: PolicyOverrides,
        decision_id: str,
        cached_tokens: Mapping[str, int] = _NO_TOKENS,
        context: Context | None = None,
        embedding: Vector | None = None,
    ) -> Decision:
        """The decision for a request; the same decision_id gives the same one.

        `cached_tokens` says how much of the prefix each model is expected to have warm.
        Raises NoAdmissibleModelError with the reason for every model. Where no prediction is
        possible, `fallback` chooses, and `policy` and `reason` say so.
        """
        context = self.context(request) if context is None else context
        embedding = self.embed(context) if embedding is None else embedding
        scored = self._score(request, context, embedding, overrides, cached_tokens)
        if not scored.cards:
            raise NoAdmissibleModelError(scored.excluded)
        choice = self._choose(scored, context, overrides)
        model = draw(choice.distribution, decision_id=decision_id)
        card, chosen = self.catalog.models[model], scored.candidates[model]
        return Decision(
            decision_id=decision_id,
            model=model,
            snapshot=card.snapshot,
            provider=card.provider,
            fallbacks=tuple(c.model for c in choice.ranked if c.model != model),
            expected=expected_of(chosen),
            propensity=choice.distribution[model],
            policy=fallback.NAME if scored.problem else self.policy.name,
            reason=choice.reason,
            excluded=scored.excluded,
            versions=self.versions,
            distribution=choice.distribution,
            candidates=choice.ranked,
            step_type=context.step_type,
        )

    def explain(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Why a logged decision came out as it did; `record` is its row in the log.

        Contributions are recomputed from the logged features with this router; where its
        versions differ from the logged ones, the answer says so.
        """
        return explanation.explain(
            record,
            bound=self.bound,
            policy=self.policy,
            versions=self.versions,
            catalog=self.catalog,
        )

    def _score(
        self,
        request: Request,
        context: Context,
        embedding: Vector,
        overrides: PolicyOverrides,
        cached_tokens: Mapping[str, int],
    ) -> _Scored:
        """Predict, price, constrain; only models that the request allows at all are scored."""
        needs = needs_of(request, input_tokens=context.input_tokens)
        able, unable = admissible(self._cards, needs=needs, overrides=overrides)
        prediction, problem = self._predict(able, context, embedding)
        candidates = self._price(able, request, context, prediction, cached_tokens)
        cards, beyond = within_limits(able, needs=needs, overrides=overrides, candidates=candidates)
        excluded = unable | beyond
        ordered = {card.id: excluded[card.id] for card in self._cards if card.id in excluded}
        return _Scored(cards, candidates, ordered, problem)

    def _predict(
        self, cards: Sequence[ModelCard], context: Context, embedding: Vector
    ) -> tuple[Prediction, str]:
        """The prediction for these models only, and "" or why there is none."""
        places = np.array([self._place[card.id] for card in cards], dtype=np.intp)
        try:
            return self.bound.predict(context.values, embedding, only=places), ""
        except PredictionError as error:
            return fallback.no_prediction(len(cards)), str(error)

    def _choose(self, scored: _Scored, context: Context, overrides: PolicyOverrides) -> Choice:
        if scored.problem:
            return fallback.choose_strongest(
                scored.cards,
                scored.candidates,
                abilities=self._abilities,
                problem=scored.problem,
            )
        return self.policy.choose(
            [scored.candidates[card.id] for card in scored.cards],
            min_adequacy=overrides.min_adequacy,
            is_side_call=context.step_type.is_side_call,
        )

    def _price(
        self,
        cards: Sequence[ModelCard],
        request: Request,
        context: Context,
        prediction: Prediction,
        cached_tokens: Mapping[str, int],
    ) -> dict[str, Candidate]:
        candidates = {}
        for card, p, output, latency in zip(
            cards,
            prediction.p_adequate.tolist(),
            prediction.output_tokens.tolist(),
            prediction.tool_call_latency_ms.tolist(),
            strict=True,
        ):
            output = _DEFAULT_OUTPUT_TOKENS if output != output else output
            output = min(
                output, float(min(request.max_output_tokens or 10**9, card.max_output_tokens))
            )
            cached = min(cached_tokens.get(card.id, 0), context.input_tokens)
            cost = 0.0
            if card.price is not None:
                cost = expected_cost(
                    card.price,
                    input_tokens=context.input_tokens,
                    cached_tokens=cached,
                    output_tokens=output,
                )
            candidates[card.id] = Candidate(
                model=card.id,
                p_adequate=p,
                expected_cost=cost,
                input_tokens=context.input_tokens,
                cached_tokens=cached,
                output_tokens=output,
                tool_call_latency_ms=latency,
            )
        return candidates


def _policy(manifest: Manifest, path: Path) -> CheapestAdequate:
    try:
        return msgspec.convert(manifest.policy, CheapestAdequate)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{path}: policy in the manifest: {error}") from error


def expected_of(candidate: Candidate) -> Expected:
    """What the API says of the chosen candidate."""
    return Expected(
        p_adequate=candidate.p_adequate,
        cost_usd=candidate.expected_cost,
        input_tokens=candidate.input_tokens,
        cached_tokens=candidate.cached_tokens,
        output_tokens=round(candidate.output_tokens),
        tool_call_latency_ms=candidate.tool_call_latency_ms,
    )
