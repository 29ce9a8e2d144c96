"""Hard constraints: why a model can't take a request, however good or cheap it is.

A requested output limit above the model's own is no reason: clients send a huge value as a
matter of habit (Claude Code 32,000 and more, opencode 32,000), so excluding by it would throw
out small models for calls that answer in 200 tokens. The gateway has to lower the value to the
limit that `GET /models` states. A model is excluded by its output limit only when it is expected
to need more.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from router_model.types import Candidate, ModelCard, PolicyOverrides, Request

# Token estimates are 4-6% off (tokens.py); too long a prompt fails the call, so leave room.
INPUT_HEADROOM: Final = 1.05
# Room kept for the answer, thinking budget apart: agents write 200-2,000 tokens a call.
OUTPUT_RESERVE: Final = 8_192
NO_OVERRIDES: Final = PolicyOverrides()


class Needs(Struct, frozen=True, kw_only=True, gc=False):
    """What a request demands of any model; computed once per request."""

    input_tokens: int
    output_reserve: int
    tools: bool
    forced_tool_choice: bool
    vision: bool
    json_mode: bool
    strict_schema: bool
    any_json: bool


class _Case(Struct, frozen=True, gc=False):
    """One model and one request, for the checks below."""

    card: ModelCard
    needs: Needs
    overrides: PolicyOverrides
    candidate: Candidate | None


_Check = Callable[[_Case], str | None]


def needs_of(request: Request, *, input_tokens: int) -> Needs:
    """The demands of a request of about `input_tokens` tokens."""
    may_call = request.tool_choice.mode != "none"
    has_called = any(part.kind == "tool_call" for m in request.messages for part in m.parts)
    reserve = OUTPUT_RESERVE + (request.thinking_budget or 0)
    return Needs(
        input_tokens=math.ceil(input_tokens * INPUT_HEADROOM),
        output_reserve=min(request.max_output_tokens or reserve, reserve),
        tools=(bool(request.tools) and may_call) or has_called,
        forced_tool_choice=request.tool_choice.mode in ("required", "named"),
        vision=request.n_images > 0,
        json_mode=request.response_format == "json_object",
        strict_schema=request.is_strict_response or any(t.is_strict for t in request.tools),
        any_json=request.response_format == "json_schema",
    )


def exclusion(
    card: ModelCard,
    *,
    request: Request,
    input_tokens: int,
    overrides: PolicyOverrides = NO_OVERRIDES,
    candidate: Candidate | None = None,
) -> str | None:
    """Why this model can't take the request, as "code: detail"; None where it can.

    Without a `candidate` only what the card and the request decide is checked; with one also
    expected cost, output length and latency. For many models use `admissible`.
    """
    needs = needs_of(request, input_tokens=input_tokens)
    return _first_reason(_Case(card, needs, overrides, candidate), _CHECKS)


def admissible(
    cards: Iterable[ModelCard],
    *,
    needs: Needs,
    overrides: PolicyOverrides = NO_OVERRIDES,
    candidates: Mapping[str, Candidate] | None = None,
) -> tuple[tuple[ModelCard, ...], dict[str, str]]:
    """The models that can take the request, in order, and the reason for each other one.

    `candidates` are looked up by model id; a model without one is judged by its card alone.
    """
    found = candidates or {}
    cases = (_Case(card, needs, overrides, found.get(card.id)) for card in cards)
    return _split(cases, _CHECKS)


def within_limits(
    cards: Iterable[ModelCard],
    *,
    needs: Needs,
    overrides: PolicyOverrides,
    candidates: Mapping[str, Candidate],
) -> tuple[tuple[ModelCard, ...], dict[str, str]]:
    """What `admissible` says with `candidates` of models that it admitted without them."""
    cases = (_Case(card, needs, overrides, candidates.get(card.id)) for card in cards)
    return _split(cases, _CANDIDATE_CHECKS)


def _split(
    cases: Iterable[_Case], checks: Sequence[_Check]
) -> tuple[tuple[ModelCard, ...], dict[str, str]]:
    admitted: list[ModelCard] = []
    excluded: dict[str, str] = {}
    for case in cases:
        card = case.card
        reason = _first_reason(case, checks)
        if reason is None:
            admitted.append(card)
        else:
            excluded[card.id] = reason
    return tuple(admitted), excluded


def _first_reason(case: _Case, checks: Sequence[_Check]) -> str | None:
    for check in checks:
        if reason := check(case):
            return reason
    return None


def _disabled(case: _Case) -> str | None:
    return None if case.card.enabled else "disabled: by the catalog"


def _unknown_price(case: _Case) -> str | None:
    return "unknown_price: the catalog has no price" if case.card.price is None else None


def _not_allowed(case: _Case) -> str | None:
    allowed, card = case.overrides.models, case.card
    if allowed is None or not {card.id, card.snapshot, *card.aliases}.isdisjoint(allowed):
        return None
    return "not_allowed: not among policy.models and the tenant's models"


def _capabilities(case: _Case) -> str | None:
    needs, can = case.needs, case.card.capabilities
    if needs.tools and not can.tools:
        return "no_tools: the request offers tools"
    if needs.forced_tool_choice and not can.forced_tool_choice:
        return "no_tool_choice_required: the request forces a tool call"
    if needs.vision and not can.vision:
        return "no_vision: the request has images"
    return None


def _json(case: _Case) -> str | None:
    needs, can = case.needs, case.card.capabilities
    if needs.strict_schema and not can.strict_schema:
        return "no_strict_schema: the request asks for a strict schema"
    if needs.json_mode and not can.json_mode:
        return "no_json_mode: the request asks for JSON"
    if needs.any_json and not (can.json_mode or can.strict_schema):
        return "no_json_mode: the request asks for JSON of a schema"
    return None


def _context_window(case: _Case) -> str | None:
    card, needs = case.card, case.needs
    total = needs.input_tokens + min(needs.output_reserve, card.max_output_tokens)
    if total > card.context_window:
        return f"context_window: needs {total} of {card.context_window} tokens"
    if card.max_input_tokens is not None and needs.input_tokens > card.max_input_tokens:
        return f"context_window: needs {needs.input_tokens} of {card.max_input_tokens} input tokens"
    return None


def _max_output(case: _Case) -> str | None:
    if case.candidate is None or case.candidate.output_tokens <= case.card.max_output_tokens:
        return None
    expected, limit = math.ceil(case.candidate.output_tokens), case.card.max_output_tokens
    return f"max_output: expects {expected} of {limit} tokens"


def _limits(case: _Case) -> str | None:
    candidate, limits = case.candidate, case.overrides
    if candidate is None:
        return None
    cost, latency = candidate.expected_cost, candidate.tool_call_latency_ms
    if limits.max_cost_usd is not None and cost > limits.max_cost_usd:
        return f"too_expensive: expects ${cost:.6f} of ${limits.max_cost_usd:.6f}"
    most = limits.max_tool_call_latency_ms
    if most is not None and latency > most:
        return f"too_slow: expects {latency:.0f} of {most:.0f} ms to the first tool call"
    return None


_CHECKS: Final[tuple[_Check, ...]] = (
    _disabled,
    _unknown_price,
    _not_allowed,
    _capabilities,
    _json,
    _context_window,
    _max_output,
    _limits,
)
_CANDIDATE_CHECKS: Final[tuple[_Check, ...]] = (_max_output, _limits)
