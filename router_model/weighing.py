"""From scored candidates to a choice, the rest of the session and its trajectory considered.

Deciding and replaying a decision choose alike: all that is read here is in the log.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from router_model import fallback
from router_model.choice_horizon import choice_horizon
from router_model.economics import Horizon
from router_model.escalation import Escalation, escalation_from
from router_model.policy import CheapestAdequate, Choice
from router_model.scoring import Scored, Scorer, Situation
from router_model.switching import Later, Option, later_costs
from router_model.terms import ARTIFACT, SETTING, Exploration, Objective
from router_model.types import Candidate, ModelCard
from router_model.warmth import Warmth, is_cached, lifetime_s


class Bar(Struct, frozen=True, kw_only=True):
    """How adequate a model has to be: a threshold with what set it, or a failure cost.

    `min_adequacy` None means that total cost decides, with `failure_usd` for an inadequate answer.
    `escalation` says by how much the trajectory moved either for this call; what comes later is
    weighed by `usual_min_adequacy` and `usual_failure_usd`, for a level passes in a few calls.
    """

    min_adequacy: float | None
    failure_usd: float
    usual_min_adequacy: float | None
    usual_failure_usd: float
    escalation: Escalation


class Chooser:
    """The policy with what it needs to look beyond the call itself."""

    def __init__(self, policy: CheapestAdequate, scorer: Scorer) -> None:
        self.policy = policy
        self.scorer = scorer

    def choose(
        self,
        cards: Sequence[ModelCard],
        scored: Scored,
        situation: Situation,
        *,
        min_adequacy: float | None,
        set_by: str | None,
        exploration: Exploration,
        objective: Objective,
    ) -> Choice:
        """The choice among scored models; that of the fallback where p is not known.

        `set_by` names what set `min_adequacy`: only a setting's threshold may be lowered.
        """
        if scored.problem:
            return fallback.choose_strongest(
                cards,
                scored.candidates,
                abilities=self.scorer.abilities,
                reason=scored.problem,
                exploration=exploration,
            )
        bar = self.bar(situation, min_adequacy=min_adequacy, set_by=set_by)
        return self.policy.choose(
            self.weighed(cards, scored, situation, bar=bar),
            min_adequacy=bar.min_adequacy,
            is_side_call=situation.is_side_call,
            exploration=exploration,
            failure_factor=bar.escalation.failure_factor,
            objective=objective,
        )

    def bar(self, situation: Situation, *, min_adequacy: float | None, set_by: str | None) -> Bar:
        """The bar of one call: raised where its trajectory is stuck, lowered where it is easy."""
        escalation = escalation_from(situation.values, situation.step_type)
        failure = self.policy.failure_cost(is_side_call=situation.is_side_call)
        usual = min_adequacy
        if min_adequacy is not None:
            # A promise or an order is never undercut.
            is_certified = set_by not in (SETTING, ARTIFACT)
            min_adequacy = escalation.threshold(min_adequacy, is_certified=is_certified)
        return Bar(
            min_adequacy=min_adequacy,
            failure_usd=failure * escalation.failure_factor,
            usual_min_adequacy=usual,
            usual_failure_usd=failure,
            escalation=escalation,
        )

    def horizon(self, situation: Situation) -> Horizon:
        """How many calls the session is expected to make after this one."""
        return self.scorer.economics.horizon(situation.step_type, situation.session.turn)

    def weighed(
        self, cards: Sequence[ModelCard], scored: Scored, situation: Situation, *, bar: Bar
    ) -> Sequence[Candidate]:
        """The candidates, each with what choosing it costs the session later."""
        candidates = [scored.candidates[card.id] for card in cards]
        if situation.is_side_call or len(cards) == 1:
            return candidates
        laters = self.laters(cards, candidates, scored.warmth, situation, bar=bar)
        return [
            structs.replace(
                candidate, later_cost=later.cost_usd, continues_with=later.continues_with
            )
            for candidate, later in zip(candidates, laters, strict=True)
        ]

    def laters(
        self,
        cards: Sequence[ModelCard],
        candidates: Sequence[Candidate],
        warmth: Mapping[str, Warmth],
        situation: Situation,
        *,
        bar: Bar,
        with_interval: bool = False,
    ) -> Sequence[Later]:
        """What each candidate costs the session later, for as long as the choice may hold."""
        return later_costs(
            options_of(cards, candidates, situation, warmth=warmth),
            horizon=choice_horizon(self.horizon(situation)),
            economics=self.scorer.economics,
            # With a threshold, one of 0 included, only dollars count.
            failure_cost_usd=0.0 if bar.min_adequacy is not None else bar.usual_failure_usd,
            min_adequacy=bar.usual_min_adequacy,
            service_tier=situation.asking.service_tier,
            with_interval=with_interval,
        )


def options_of(
    cards: Sequence[ModelCard],
    candidates: Sequence[Candidate],
    situation: Situation,
    *,
    warmth: Mapping[str, Warmth],
) -> list[Option]:
    """What the rest of the session could go on with, by the caches as they are now."""
    options = []
    for card, candidate in zip(cards, candidates, strict=True):
        warm = warmth[card.id]
        prefix = situation.session.prefixes.get(card.id)
        lifetime = lifetime_s(card, situation.asking.cache_ttl_s)
        options.append(
            Option(
                card=card,
                p_adequate=candidate.p_adequate,
                input_tokens=candidate.input_tokens,
                output_tokens=candidate.output_tokens,
                warm_tokens=warm.tokens,
                p_warm=warm.p,
                age_s=0.0 if prefix is None else prefix.age_s,
                ttl_s=lifetime if prefix is None else prefix.ttl_s,
                is_kept=is_cached(card, is_marked=situation.asking.is_marked),
            )
        )
    return options
