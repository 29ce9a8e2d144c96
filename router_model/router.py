"""The decision: which model is the cheapest adequate one for a request.

context -> predict -> price -> constrain -> decide
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import structs

from router_model import artifact, explanation, fallback, features
from router_model.artifact import Manifest
from router_model.catalog import Catalog, load_catalog
from router_model.constraints import admissible, needs_of, within_limits
from router_model.contract import Contracts
from router_model.descriptors import DESCRIPTOR_NAMES
from router_model.embedding import embed
from router_model.encoder import StaticEncoder
from router_model.errors import ArtifactError, NoAdmissibleModelError
from router_model.exploration import LOCKED, PINNED
from router_model.features import Context
from router_model.golden import check_golden
from router_model.locks import lock_of
from router_model.persistence import load_predictor
from router_model.policy import CheapestAdequate, Choice, draw
from router_model.predictor import JointPredictor
from router_model.scoring import Scored, Scorer, Situation, Vector
from router_model.session_view import NO_SESSION
from router_model.tenants import TenantOffsets, load_tenants
from router_model.terms import ARTIFACT, NO_TERMS, REQUEST, SETTING, Exploration, Terms
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
_NO_TOKENS: Mapping[str, int] = {}
_NO_CONTRACTS = Contracts({})
_NO_OFFSETS = TenantOffsets()


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
        contracts: Contracts = _NO_CONTRACTS,
        offsets: TenantOffsets = _NO_OFFSETS,
    ) -> None:
        self.predictor = predictor
        self.encoder = encoder
        self.catalog = catalog
        self.policy = policy
        self.manifest = manifest
        self.contracts = contracts
        self.scorer = Scorer(predictor, catalog, offsets=offsets)
        self.versions = Versions(
            artifact=manifest.version, catalog=catalog.version, policy=policy.version
        )
        self._cards: tuple[ModelCard, ...] = tuple(catalog.models.values())

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
            contracts=Contracts.load(path),
            offsets=load_tenants(path),
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
        terms: Terms = NO_TERMS,
    ) -> Decision:
        """The decision for a request; the same decision_id gives the same one.

        `cached_tokens` says how much of the prefix each model is expected to have warm, `terms`
        what the settings of the service and the tenant ask.
        Raises NoAdmissibleModelError with the reason for every model. Where no prediction is
        possible, `fallback` chooses, and `policy` and `reason` say so.
        """
        context = self.context(request) if context is None else context
        situation = Situation(
            tenant=caller.tenant,
            values=context.values,
            embedding=self.embed(context) if embedding is None else embedding,
            input_tokens=context.input_tokens,
            max_output_tokens=request.max_output_tokens,
            cached_tokens=cached_tokens,
            is_side_call=context.step_type.is_side_call,
        )
        overrides = _within_pin(overrides, terms)
        cards, scored, excluded = self._score(request, situation, overrides)
        min_adequacy, contract = self._threshold(caller.tenant, overrides, terms)
        choice = self.choose(
            cards,
            scored,
            min_adequacy=min_adequacy,
            is_side_call=situation.is_side_call,
            exploration=self._exploration(request, cards, overrides, terms),
        )
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
            excluded=excluded,
            versions=self.versions,
            distribution=choice.distribution,
            candidates=choice.ranked,
            step_type=context.step_type,
            min_adequacy=min_adequacy,
            contract=contract,
            exploration=choice.exploration,
            expected_regret_usd=choice.expected_regret_usd,
        )

    def choose(
        self,
        cards: Sequence[ModelCard],
        scored: Scored,
        *,
        min_adequacy: float | None,
        is_side_call: bool,
        exploration: Exploration,
    ) -> Choice:
        """The choice among scored models; that of the fallback where p is not known."""
        if scored.problem:
            return fallback.choose_strongest(
                cards,
                scored.candidates,
                abilities=self.scorer.abilities,
                problem=scored.problem,
                exploration=exploration,
            )
        return self.policy.choose(
            [scored.candidates[card.id] for card in cards],
            min_adequacy=min_adequacy,
            is_side_call=is_side_call,
            exploration=exploration,
        )

    def explain(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Why a logged decision came out as it did; `record` is its row in the log.

        Contributions are recomputed from the logged features with this router; where its
        versions differ from the logged ones, the answer says so.
        """
        return explanation.explain(
            record,
            bound=self.scorer.bound,
            policy=self.policy,
            versions=self.versions,
            catalog=self.catalog,
        )

    def _score(
        self, request: Request, situation: Situation, overrides: PolicyOverrides
    ) -> tuple[Sequence[ModelCard], Scored, Mapping[str, str]]:
        """Predict, price, constrain; only models that the request allows at all are scored."""
        needs = needs_of(request, input_tokens=situation.input_tokens)
        able, unable = admissible(self._cards, needs=needs, overrides=overrides)
        scored = self.scorer.score(able, situation)
        cards, beyond = within_limits(
            able, needs=needs, overrides=overrides, candidates=scored.candidates
        )
        excluded = unable | beyond
        ordered = {card.id: excluded[card.id] for card in self._cards if card.id in excluded}
        if not cards:
            raise NoAdmissibleModelError(ordered)
        return cards, scored, ordered

    def _threshold(
        self, tenant: str, overrides: PolicyOverrides, terms: Terms
    ) -> tuple[float | None, str | None]:
        """The least P(adequate) in effect and what set it: the first that is given.

        The request itself, the tenant's contract, the service's setting, the artifact's policy.
        """
        if overrides.min_adequacy is not None:
            return overrides.min_adequacy, REQUEST
        if (promise := terms.contract) is not None:
            found = self.contracts.min_adequacy_for(tenant, promise.alpha, promise.delta)
            return found.min_adequacy, found.source
        if terms.min_adequacy is not None:
            return terms.min_adequacy, SETTING
        if self.policy.min_adequacy > 0.0:
            return self.policy.min_adequacy, ARTIFACT
        return None, None

    def _exploration(
        self,
        request: Request,
        cards: Sequence[ModelCard],
        overrides: PolicyOverrides,
        terms: Terms,
    ) -> Exploration:
        """What may be explored, before candidates are compared."""
        exploration = self.policy.exploring if terms.exploration is None else terms.exploration
        if exploration.share <= 0.0:
            return exploration
        is_pinned = overrides.models is not None and len(cards) == 1
        lock = lock_of(request, NO_SESSION, self.catalog)
        off = LOCKED if lock is not None and lock.is_tied else PINNED if is_pinned else None
        return structs.replace(exploration, off=off)


def _within_pin(overrides: PolicyOverrides, terms: Terms) -> PolicyOverrides:
    """The request's limits with the tenant's pin: both must allow a model."""
    pin = terms.models
    if pin is None:
        return overrides
    asked = overrides.models
    models = pin if asked is None else tuple(model for model in asked if model in pin)
    return structs.replace(overrides, models=models)


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
