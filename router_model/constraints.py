"""Hard constraints: why a model can't take a request, however good or cheap it is.

A requested output limit above the model's own is no reason: clients send a huge value as a
matter of habit (Claude Code 32,000 and more, opencode 32,000), so excluding by it would throw
out small models for calls that answer in 200 tokens. The gateway has to lower the value to the
limit that `GET /models` states, and to what the prompt leaves of the context window. A model is
excluded by its output limit only when it is expected to need more. Nothing is ever cut from a
prompt to make it fit.

The effective window of a model is learned, and speaks of quality, not of ability: it is checked
last, and only while another model is left. Nor is a service tier that a provider doesn't sell a
reason: such a call is priced at the base rates.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from router_model.constraint_checks import (
    CANDIDATE_CHECKS,
    CARD_CHECKS,
    CHECKS,
    INPUT_HEADROOM,
    NOTHING_RESERVED,
    Case,
    Check,
    Needs,
    effective_window,
)
from router_model.locks import Lock
from router_model.outline import Outline
from router_model.terms import Allowance
from router_model.types import Candidate, ModelCard, PolicyOverrides

# Room kept for the answer, thinking budget apart: agents write 200-2,000 tokens a call.
OUTPUT_RESERVE: Final = 8_192
NO_OVERRIDES: Final = PolicyOverrides()

Split = tuple[tuple[ModelCard, ...], dict[str, str]]


def needs_of(outline: Outline, *, input_tokens: int) -> Needs:
    """The demands of a request of about `input_tokens` tokens.

    Tools that may not be called are no demand, but calls that were made are: a model without
    tools refuses them in the prefix. `parallel_tool_calls` is a permission, which some clients
    send with every call, and no demand.
    """
    reserve = OUTPUT_RESERVE + (outline.thinking_budget or 0)
    return Needs(
        input_tokens=math.ceil(input_tokens * INPUT_HEADROOM),
        output_reserve=min(outline.max_output_tokens or reserve, reserve),
        tools=outline.may_call_tools or outline.has_called_tools,
        forced_tool_choice=outline.must_call_tools,
        vision=bool(outline.images),
        json_mode=outline.response_format == "json_object",
        strict_schema=outline.is_strict,
        any_json=outline.response_format == "json_schema",
    )


def exclusion(
    card: ModelCard,
    *,
    outline: Outline,
    input_tokens: int,
    overrides: PolicyOverrides = NO_OVERRIDES,
    candidate: Candidate | None = None,
    lock: Lock | None = None,
    pin: str | None = None,
) -> str | None:
    """Why this model can't take the request, as "code: detail"; None where it can.

    Without a `candidate` only what the card and the request decide is checked; with one also
    expected cost, output length and latency. For many models use `admissible`.
    """
    case = Case(needs_of(outline, input_tokens=input_tokens), overrides, lock, pin)
    found = {} if candidate is None else {card.id: candidate}
    return _split((card,), case, CHECKS, found)[1].get(card.id)


def admissible(
    cards: Sequence[ModelCard],
    *,
    needs: Needs,
    overrides: PolicyOverrides = NO_OVERRIDES,
    candidates: Mapping[str, Candidate] | None = None,
    windows: Mapping[str, int] | None = None,
    lock: Lock | None = None,
    pin: str | None = None,
) -> Split:
    """The models that can take the request, in order, and the reason for each other one.

    `candidates` are looked up by model id; a model without one is judged by its card alone.
    `windows` are effective windows by model id, in tokens, `lock` is what
    ties the call, `pin` the id of the model that its session keeps.
    """
    found = candidates or {}
    case = Case(needs, overrides, lock, pin, has_room=_has_room(cards, needs, found))
    return _soft(_split(cards, case, CHECKS if found else CARD_CHECKS, found), needs, windows)


def within_limits(
    cards: Sequence[ModelCard],
    *,
    needs: Needs,
    overrides: PolicyOverrides,
    candidates: Mapping[str, Candidate],
    windows: Mapping[str, int] | None = None,
    reserved_microusd: Mapping[str, int] = NOTHING_RESERVED,
    allowance: Allowance | None = None,
) -> Split:
    """What `admissible` says with `candidates` of models that it admitted without them.

    A model whose call could cost more than the `allowance` is out, by `reserved_microusd`. Give
    the `windows` here rather than there: a limit then never falls on the last model that the
    windows left.
    """
    case = Case(
        needs,
        overrides,
        has_room=_has_room(cards, needs, candidates),
        reserved_microusd=reserved_microusd,
        allowance=allowance,
    )
    return _soft(_split(cards, case, CANDIDATE_CHECKS, candidates), needs, windows)


def beyond_windows(
    cards: Iterable[ModelCard], *, needs: Needs, windows: Mapping[str, int]
) -> dict[str, str]:
    """The models whose effective window the prompt exceeds, by id, with the reason.

    Of models that were admitted it says that all are beyond theirs, so that the answer may be
    worse than usual.
    """
    found = (
        (card.id, effective_window(needs, windows[card.id])) for card in cards if card.id in windows
    )
    return {model: reason for model, reason in found if reason}


def _soft(split: Split, needs: Needs, windows: Mapping[str, int] | None) -> Split:
    """Without the models beyond their effective window, unless all of them are."""
    cards, excluded = split
    beyond = beyond_windows(cards, needs=needs, windows=windows) if windows else {}
    within = tuple(card for card in cards if card.id not in beyond)
    return (within, excluded | beyond) if within else split


def _has_room(
    cards: Sequence[ModelCard], needs: Needs, candidates: Mapping[str, Candidate]
) -> bool:
    """Whether the longest call that any model expects fits into every model, as most calls do."""
    if not cards:
        return True
    tokens, answer = needs.input_tokens, 0.0
    if candidates:
        longest = max([candidate.input_tokens for candidate in candidates.values()])
        tokens = max(tokens, math.ceil(longest * INPUT_HEADROOM))
        answer = max([candidate.output_tokens for candidate in candidates.values()])
    limits = [card.max_input_tokens for card in cards if card.max_input_tokens is not None]
    return (
        tokens + max(needs.output_reserve, answer) + 1 <= min([c.context_window for c in cards])
        and answer <= min([card.max_output_tokens for card in cards])
        and tokens <= min(limits, default=tokens)
    )


def _split(
    cards: Iterable[ModelCard],
    case: Case,
    checks: Sequence[Check],
    candidates: Mapping[str, Candidate],
) -> Split:
    """The first reason against each model, by the checks that apply to the case at all."""
    reasons = [check.reason for check in checks if check.applies(case)]
    if not reasons:
        return tuple(cards), {}
    admitted: list[ModelCard] = []
    excluded: dict[str, str] = {}
    for card in cards:
        candidate = candidates.get(card.id)
        for reason_of in reasons:
            if reason := reason_of(case, card, candidate):
                excluded[card.id] = reason
                break
        else:
            admitted.append(card)
    return tuple(admitted), excluded
