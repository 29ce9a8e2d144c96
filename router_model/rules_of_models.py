"""What the rules about single models meant for a logged decision: bills, validity, exclusions."""

from collections.abc import Mapping

from router_model.pricing import CostParts, cost_parts
from router_model.scoring import Situation, call_usd
from router_model.told import Rule, Told
from router_model.types import Candidate, ModelCard
from router_model.warmth import COLD, Warmth, input_usages, is_cached, lifetime_s


def accounting_rules(told: Told) -> list[Rule]:
    """The parts of the expected bill, and what the cache and a surcharge add or save."""
    chosen, situation = told.chosen, told.situation
    card = told.cards[chosen.model]
    if card.price is None:
        return []
    parts = _expected_parts(card, chosen, situation)
    rules = [
        Rule(rule=f"price.{name}", usd=usd, detail=_PRICED[name], model=card.id)
        for name, usd in parts.items()
        if usd
    ]
    if chosen.cached_tokens:
        cold = _cold_usd(card, chosen, situation)
        detail = (
            f"{chosen.cached_tokens} of {chosen.input_tokens} tokens are read from its cache "
            f"with probability {chosen.p_warm:.3f}"
        )
        saved = chosen.expected_cost - cold
        rules.append(Rule(rule="cache", usd=saved, detail=detail, model=card.id))
    return rules


_PRICED: Mapping[str, str] = {
    "uncached": "input tokens that no cache holds",
    "cache_read": "input tokens read from the cache",
    "cache_write": "input tokens written to the cache",
    "output": "expected output tokens, thinking included",
    "surcharge": "what a long context adds to the other parts",
}


def _expected_parts(
    card: ModelCard, candidate: Candidate, situation: Situation
) -> dict[str, float]:
    """Dollars by part of the bill, expected over a warm and a cold cache."""
    sums = dict.fromkeys(CostParts.__struct_fields__, 0.0)
    if card.price is None:
        return sums
    for probability, usage in input_usages(
        card,
        candidate.input_tokens,
        Warmth(candidate.cached_tokens, candidate.p_warm),
        output_tokens=round(candidate.output_tokens),
        writes=is_cached(card, is_marked=situation.asking.is_marked),
        ttl_s=lifetime_s(card, situation.asking.cache_ttl_s),
    ):
        parts = cost_parts(card.price, usage, service_tier=situation.asking.service_tier)
        for name in sums:
            sums[name] += probability * getattr(parts, name)
    return sums


def _cold_usd(card: ModelCard, candidate: Candidate, situation: Situation) -> float:
    """The same call with nothing of it in the model's cache."""
    return call_usd(
        card,
        situation.asking,
        COLD,
        input_tokens=candidate.input_tokens,
        output_tokens=candidate.output_tokens,
    )


def validity_rules(told: Told) -> list[Rule]:
    """What calls that break their schema are expected to cost, by candidate."""
    failure = told.bar.failure_usd
    return [
        Rule(
            rule="tool_call_validity",
            usd=failure * c.p_adequate * (1.0 / c.p_valid - 1.0),
            model=c.model,
            detail=f"schemas as complex as these lower its p by the factor {c.p_valid:.3f}",
        )
        for c in told.candidates
        if 0.0 < c.p_valid < 1.0
    ]


def windows_rules(told: Told) -> list[Rule]:
    """Candidates beyond the prefix up to which they answer well: no other model was left."""
    behaviour = told.chooser.scorer.behaviour
    return [
        Rule(
            rule="effective_window",
            usd=0.0,
            model=c.model,
            detail=f"{c.input_tokens} tokens are beyond its effective window of {window}, as are "
            "those of every other model that could answer",
        )
        for c in told.candidates
        if c.model in told.cards
        and c.input_tokens > (window := behaviour.effective_window(told.cards[c.model]))
    ]


def excluded_rules(told: Told, excluded: Mapping[str, str]) -> list[Rule]:
    """What the call would cost on each model that was not admitted, its cache cold."""
    chosen, rules = told.chosen, []
    for model, reason in excluded.items():
        card, usd = told.cards.get(model), None
        if card is not None and card.price is not None:
            usd = _cold_usd(card, chosen, told.situation)
        code = reason.split(":")[0]
        rules.append(Rule(rule=f"excluded.{code}", usd=usd, detail=reason, model=model))
    return rules
