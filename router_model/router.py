"""The decision: which model is the cheapest adequate one for a request.

context -> predict -> price -> constrain -> decide
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from router_model import explanation, fallback, features
from router_model.artifact import Manifest
from router_model.behaviour import NO_BEHAVIOUR, Behaviour
from router_model.body import Body, id_of_call, request_in
from router_model.catalog import Catalog, load_catalog
from router_model.constraint_checks import none_admissible
from router_model.constraints import admissible, needs_of, within_limits
from router_model.contract import Contracts
from router_model.digest import Digest, digest_of
from router_model.economics import PRIOR, Economics
from router_model.embedding import embed
from router_model.encoder import StaticEncoder
from router_model.errors import InvalidRequestError
from router_model.features import Context
from router_model.in_effect import exploration_of, objective_of, threshold_of, within_pin
from router_model.incumbent import Incumbent, keep
from router_model.loading import load_learned
from router_model.locks import Lock, lock_of
from router_model.outline import Outline, outline_of
from router_model.overrides import NO_OVERRIDES, checked_overrides
from router_model.policy import CheapestAdequate, draw
from router_model.predictor import JointPredictor
from router_model.reservation import reservations
from router_model.scoring import NO_VECTOR, Scored, Scorer, Situation, Vector, asking_of
from router_model.session_view import NO_SESSION, SessionView
from router_model.tenants import TenantOffsets, load_tenants
from router_model.terms import NO_TERMS, Terms
from router_model.types import (
    Caller,
    Decision,
    Expected,
    ModelCard,
    PolicyOverrides,
    Request,
    Versions,
    WireFormat,
)
from router_model.weighing import Chooser

CATALOG_FILE = "catalog.toml"
_NO_LOAD: Mapping[str, int] = {}
_NO_CONTRACTS = Contracts({})
_NO_OFFSETS = TenantOffsets()
_ANYBODY = Caller()


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
        economics: Economics = PRIOR,
        behaviour: Behaviour = NO_BEHAVIOUR,
    ) -> None:
        self.predictor = predictor
        self.encoder = encoder
        self.catalog = catalog
        self.policy = policy
        self.manifest = manifest
        self.contracts = contracts
        self.scorer = Scorer(
            predictor, catalog, offsets=offsets, economics=economics, behaviour=behaviour
        )
        self.chooser = Chooser(policy, self.scorer)
        self.versions = Versions(
            artifact=manifest.version, catalog=catalog.version, policy=policy.version
        )
        self._cards: tuple[ModelCard, ...] = tuple(catalog.models.values())
        self._windows = {
            card.id: window
            for card in self._cards
            if (window := behaviour.effective_window(card)) < card.context_window
        }

    @classmethod
    def load(cls, path: Path | str, *, catalog: Catalog | None = None) -> Self:
        """The router in an artifact folder, every file's hash checked first.

        `catalog` replaces the artifact's own. Raises ArtifactError where the folder is
        incomplete, altered, made for another feature schema, or where its golden predictions
        do not come out again.
        """
        path = Path(path)
        learned = load_learned(path)
        return cls(
            **learned._asdict(),
            catalog=catalog or load_catalog(path / CATALOG_FILE),
            contracts=Contracts.load(path),
            offsets=load_tenants(path),
            economics=Economics.load(path),
            behaviour=Behaviour.load(path),
        )

    def context(self, request: Request) -> Context:
        """What is known about a request before a model is chosen."""
        return features.extract(request)

    def embed(self, context: Context, *, skip: str = "") -> Vector:
        """Text vector and match values, float32 (encoder.dimension + N_MATCH,); with `skip`, ()."""
        return NO_VECTOR if skip else embed(context, self.encoder)

    def digest(self, request: Request, *, skip: str = "") -> Digest:
        """All that a decision reads of a request; with `skip` without an embedding."""
        context = self.context(request)
        return digest_of(outline_of(request), context, self.embed(context, skip=skip))

    def decide(
        self,
        asked: Request | Body | Digest,
        *,
        caller: Caller = _ANYBODY,
        overrides: PolicyOverrides = NO_OVERRIDES,
        decision_id: str | None = None,
        wire_format: WireFormat | None = None,
        path: str | None = None,
        session: SessionView = NO_SESSION,
        load: Mapping[str, int] = _NO_LOAD,
        terms: Terms = NO_TERMS,
        skip: str = "",
        incumbent: Incumbent | str | None = None,
    ) -> Decision:
        """The decision for a call; the same decision_id gives the same one.

        `asked` is the client's body as bytes, text or a dict (`wire_format` and `path` say of which
        dialect, else it is detected), a parsed request, or a digest. Without a `decision_id`, the
        caller's, else one that follows from request, caller and overrides: a call that is made
        again then counts as a repetition of the first.

        `session` says what is known of the session, `load` how many calls each model got in the
        last minute, `terms` what the settings of the service and the tenant ask. An `incumbent`
        answers whatever would be decided. Without a prediction, which `skip` gives a reason not to
        make, `fallback` chooses; `policy` and `reason` say so. Raises InvalidRequestError for what
        can't be used, and NoAdmissibleModelError with the reason for every model.
        """
        decision_id = decision_id or caller.decision_id
        if isinstance(asked, Digest):
            if decision_id is None:
                raise InvalidRequestError("decision_id", None, "an id: a digest has none")
            digest = asked
        else:
            overrides = checked_overrides(overrides, self.catalog)
            request = request_in(asked, wire_format=wire_format, path=path)
            decision_id = decision_id or id_of_call(request, caller, overrides)
            digest = self.digest(request, skip=skip)
        situation = Situation(
            tenant=caller.tenant,
            values=digest.values,
            embedding=digest.embedding,
            input_tokens=digest.input_tokens,
            max_output_tokens=digest.outline.max_output_tokens,
            step_type=digest.step_type,
            session=session,
            asking=asking_of(digest.outline),
            load=load,
            skip=skip,
        )
        decide = partial(
            self._decided, digest.outline, situation, overrides, terms, decision_id=decision_id
        )
        if incumbent is None:
            return decide()
        return keep(
            incumbent,
            situation,
            decide,
            catalog=self.catalog,
            scorer=self.scorer,
            decision_id=decision_id,
            versions=self.versions,
            allowance=terms.allowance,
        )

    def learned_of(self, card: ModelCard) -> dict[str, Any]:
        """What the log taught of a model: window, cache, tokens, how its tool calls come."""
        economics, behaviour = self.scorer.economics, self.scorer.behaviour
        facts, cache = behaviour.facts_of(card.id), economics.cache_of(card.id)
        return {
            "effective_window": behaviour.effective_window(card),
            "cache_read_share": cache.p_hit,
            "n_cached_calls": cache.n,
            "billed_tokens_per_estimated": economics.token_ratio_of(card.id),
            "parallel_tool_calls_share": None if facts is None else facts.parallel_share,
            "chunked_tool_calls_share": None if facts is None else facts.chunked_share,
            "n_tool_calls": 0 if facts is None else facts.n,
        }

    def explain(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Why a logged decision came out as it did; `record` is its row in the log.

        Contributions are computed with this router; the answer says if its versions are others.
        """
        return explanation.explain(
            record,
            chooser=self.chooser,
            versions=self.versions,
            catalog=self.catalog,
            dimension=self.encoder.dimension,
        )

    def _decided(
        self,
        outline: Outline,
        situation: Situation,
        overrides: PolicyOverrides,
        terms: Terms,
        *,
        decision_id: str,
    ) -> Decision:
        overrides = within_pin(overrides, terms)
        lock = lock_of(outline, situation.session, self.catalog)
        cards, scored, excluded = self._score(outline, situation, overrides, lock, terms)
        min_adequacy, contract = threshold_of(
            self.policy, self.contracts, tenant=situation.tenant, overrides=overrides, terms=terms
        )
        choice = self.chooser.choose(
            cards,
            scored,
            situation,
            min_adequacy=min_adequacy,
            set_by=contract,
            exploration=exploration_of(self.policy, cards, overrides, terms, lock),
            objective=objective_of(overrides, set_by=contract),
        )
        model = draw(choice.distribution, decision_id=decision_id)
        card = self.catalog.models[model]
        worst = reservations([card], scored, situation)[model] if terms.allowance else None
        return Decision(
            decision_id=decision_id,
            model=model,
            snapshot=card.snapshot,
            provider=card.provider,
            fallbacks=tuple(c.model for c in choice.ranked if c.model != model),
            expected=Expected.of(next(c for c in choice.ranked if c.model == model)),
            propensity=choice.distribution[model],
            policy=fallback.NAME if scored.problem else self.policy.name,
            reason=choice.reason,
            excluded=excluded,
            versions=self.versions,
            distribution=choice.distribution,
            candidates=choice.ranked,
            step_type=situation.step_type,
            min_adequacy=min_adequacy,
            contract=contract,
            exploration=choice.exploration,
            expected_regret_usd=choice.expected_regret_usd,
            lock=None if lock is None else lock.reason,
            reserved_microusd=worst,
        )

    def _score(
        self,
        outline: Outline,
        situation: Situation,
        overrides: PolicyOverrides,
        lock: Lock | None,
        terms: Terms,
    ) -> tuple[Sequence[ModelCard], Scored, Mapping[str, str]]:
        """Predict, price, constrain; only models that the request allows at all are scored."""
        needs = needs_of(outline, input_tokens=situation.input_tokens)
        able, unable = admissible(
            self._cards,
            needs=needs,
            overrides=overrides,
            lock=lock,
            pin=None if situation.is_side_call else situation.session.pin,
        )
        scored = self.scorer.score(able, situation)
        reserved = reservations(able, scored, situation) if terms.allowance else {}
        cards, beyond = within_limits(
            able,
            needs=needs,
            overrides=overrides,
            candidates=scored.candidates,
            windows=self._windows,
            reserved_microusd=reserved,
            allowance=terms.allowance,
        )
        excluded = unable | beyond
        ordered = {card.id: excluded[card.id] for card in self._cards if card.id in excluded}
        if not cards:
            raise none_admissible(ordered, reserved)
        return cards, scored, ordered
