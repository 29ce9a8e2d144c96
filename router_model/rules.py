"""What each rule meant for one logged decision, in dollars.

Prices, caches, the rest of the session, the trajectory, latency, validity and every exclusion.
Where a rule moved the choice, its dollars are those of the choice with it minus those without.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from router_model.catalog import Catalog
from router_model.economics import Horizon
from router_model.exploration import LATENCY
from router_model.logged_decision import LoggedDecision, situation_of
from router_model.policy import total_cost
from router_model.rules_of_models import (
    accounting_rules,
    excluded_rules,
    validity_rules,
    windows_rules,
)
from router_model.switching import Later
from router_model.told import Rule, Told
from router_model.types import Candidate
from router_model.warmth import Warmth
from router_model.weighing import Chooser

N_SHOWN = 4
"""Candidates from the first choice on whose later costs are told."""


def rules_of(
    logged: LoggedDecision,
    candidates: Sequence[Candidate],
    excluded: Mapping[str, str],
    *,
    catalog: Catalog,
    chooser: Chooser,
    dimension: int,
) -> list[dict[str, Any]]:
    """Every rule that bore on the decision, as JSON; prices are those of `catalog`.

    `dimension` is that of the text encoder. Raises LogError for a damaged row.
    """
    told = Told(
        logged=logged,
        situation=situation_of(logged, dimension=dimension),
        candidates=candidates,
        cards=catalog.models,
        chooser=chooser,
    )
    if told.chosen.model not in catalog.models:
        return []
    rules = [
        *accounting_rules(told),
        *_session(told),
        *_escalation(told),
        *_latency(told),
        *validity_rules(told),
        *windows_rules(told),
        *excluded_rules(told, excluded),
    ]
    return [{k: v for k, v in msgspec.to_builtins(rule).items() if v is not None} for rule in rules]


def _session(told: Told) -> list[Rule]:
    """What keeping or switching costs the rest of the session.

    For the chosen model, the session's, and the next ones; `candidates` has it for all.
    """
    session = told.situation.session
    rules = []
    if session.is_lost:
        detail = "the conversation has a history that is not remembered: caches are taken as cold"
        rules.append(Rule(rule="session_lost", usd=0.0, detail=detail))
    if told.situation.is_side_call:
        return [*rules, *_side_call(told)]
    horizon = told.chooser.horizon(told.situation)
    shown = {told.chosen.model, session.model, *(c.model for c in told.candidates[:N_SHOWN])}
    for candidate, later in zip(told.known, _laters(told), strict=True):
        if candidate.model not in shown:
            continue
        rules.append(
            Rule(
                rule="later_session",
                usd=candidate.later_cost,
                model=candidate.model,
                detail=_later_detail(candidate, later, horizon, session.model),
            )
        )
    kept = next((c for c in told.candidates if c.model == session.model), None)
    if kept is not None and kept.model != told.chosen.model:
        rules.append(_switch(told, kept))
    return rules


def _later_detail(candidate: Candidate, later: Later, horizon: Horizon, current: str | None) -> str:
    role = "keeping" if candidate.model == current else "choosing"
    onward = candidate.continues_with or candidate.model
    return (
        f"{role} it for this call, then going on with {onward}: ${later.low_usd:.6f} to "
        f"${later.high_usd:.6f} more than the choice that costs the session least, over as many "
        f"of the {horizon.turns:.1f} expected calls to come (95% interval {horizon.low:.1f} to "
        f"{horizon.high:.1f}) as a choice may hold for"
    )


def _switch(told: Told, kept: Candidate) -> Rule:
    failure = 0.0 if told.bar.min_adequacy is not None else told.bar.failure_usd
    difference = total_cost(told.chosen, failure=failure) - total_cost(kept, failure=failure)
    detail = f"instead of {kept.model}, which answered last: this call, later calls, failing"
    return Rule(rule="switch", usd=difference, detail=detail, model=told.chosen.model)


def _side_call(told: Told) -> list[Rule]:
    kept = next((c for c in told.candidates if c.model == told.situation.session.model), None)
    difference = 0.0 if kept is None else told.chosen.expected_cost - kept.expected_cost
    than = "" if kept is None else f" instead of {kept.model}, the session's model"
    detail = f"a side call ({told.logged.step_type}) goes to the cheapest adequate model{than}"
    return [Rule(rule="side_call", usd=difference, detail=detail, model=told.chosen.model)]


def _escalation(told: Told) -> list[Rule]:
    """The choice with the moved bar minus that without."""
    bar = told.bar
    if not bar.escalation.reasons:
        return []
    before = _first(told, min_adequacy=bar.usual_min_adequacy, failure_factor=1.0)
    after = _first(
        told, min_adequacy=bar.min_adequacy, failure_factor=bar.escalation.failure_factor
    )
    if bar.min_adequacy is None:
        before_usd, after_usd = bar.usual_failure_usd, bar.failure_usd
        moved = f"an inadequate answer counts ${after_usd:.4f}, not ${before_usd:.4f}"
    elif bar.min_adequacy == bar.usual_min_adequacy:
        moved = f"p of at least {bar.min_adequacy:.3f} is asked as it was, it may only rise"
    else:
        usual = bar.usual_min_adequacy
        moved = f"p of at least {bar.min_adequacy:.3f}, not {usual:.3f}, is asked"
    detail = f"level {bar.escalation.level:+.2f} ({', '.join(bar.escalation.reasons)}): {moved}"
    if before.model != after.model:
        detail += f"; without it {before.model}"
    usd = after.expected_cost - before.expected_cost
    return [Rule(rule="escalation", usd=usd, detail=detail, model=after.model)]


def _first(told: Told, *, min_adequacy: float | None, failure_factor: float) -> Candidate:
    """The first choice under another bar, by cost and with nothing explored."""
    choice = told.chooser.policy.choose(
        told.known,
        min_adequacy=min_adequacy,
        is_side_call=told.situation.is_side_call,
        failure_factor=failure_factor,
    )
    return choice.ranked[0]


def _laters(told: Told) -> Sequence[Later]:
    """What each known candidate costs the session later, with the interval."""
    return told.chooser.laters(
        [told.cards[c.model] for c in told.known],
        told.known,
        {c.model: Warmth(c.cached_tokens, c.p_warm) for c in told.known},
        told.situation,
        bar=told.bar,
        with_interval=True,
    )


def _latency(told: Told) -> list[Rule]:
    overrides = told.logged.overrides
    if overrides is None:
        return []
    if overrides.objective is None and overrides.max_tool_call_latency_ms is None:
        return []
    chosen = told.chosen
    if told.logged.exploration.off == LATENCY or overrides.objective == "latency":
        bar = told.bar
        cheapest = _first(
            told, min_adequacy=bar.min_adequacy, failure_factor=bar.escalation.failure_factor
        )
        detail = (
            f"the fastest adequate model: {chosen.tool_call_latency_ms:.0f} ms at the 95th "
            f"percentile, {cheapest.model} {cheapest.tool_call_latency_ms:.0f} ms"
        )
        usd = chosen.expected_cost - cheapest.expected_cost
        return [Rule(rule="latency_objective", usd=usd, detail=detail, model=chosen.model)]
    detail = (
        f"{chosen.tool_call_latency_ms:.0f} of {overrides.max_tool_call_latency_ms or 0:.0f} ms "
        "at the 95th percentile; slower models are excluded"
    )
    return [Rule(rule="latency_limit", usd=0.0, detail=detail, model=chosen.model)]
