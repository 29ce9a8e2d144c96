"""The checks of one model against one request: each gives a reason, "code: detail", or None."""

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from router_model.errors import NoAdmissibleModelError
from router_model.exploration import MICRO
from router_model.locks import Lock, locked_out
from router_model.terms import Allowance
from router_model.types import Candidate, ModelCard, PolicyOverrides

# Token estimates are 4-6% off (tokens.py); too long a prompt fails the call, so leave room.
INPUT_HEADROOM: Final = 1.05
# The code of models that a budget shuts out.
OVER_BUDGET: Final = "over_budget"
NOTHING_RESERVED: Final[Mapping[str, int]] = {}


class Needs(Struct, frozen=True, kw_only=True, gc=False):
    """What a request demands of any model; computed once per request.

    `input_tokens` include the headroom, `output_reserve` is the room to keep for the answer.
    """

    input_tokens: int
    output_reserve: int
    tools: bool
    forced_tool_choice: bool
    vision: bool
    json_mode: bool
    strict_schema: bool
    any_json: bool


class Case(Struct, frozen=True, gc=False):
    """One request, for any model.

    `pin` is the model that the session keeps, if it keeps one. `has_room` says that every model is
    known to hold the prompt and its answer. `reserved_microusd` is the most that the call can cost
    by model, of the `allowance` that a budget leaves it.
    """

    needs: Needs
    overrides: PolicyOverrides
    lock: Lock | None = None
    pin: str | None = None
    has_room: bool = False
    reserved_microusd: Mapping[str, int] = NOTHING_RESERVED
    allowance: Allowance | None = None


Reason = Callable[[Case, ModelCard, Candidate | None], str | None]


class Check(NamedTuple):
    """Why a model can't take a request, where `applies` says that one may not for this reason."""

    reason: Reason
    applies: Callable[[Case], bool] = lambda case: True


def effective_window(needs: Needs, window: int) -> str | None:
    """The reason not to send so long a prompt to a model of this effective window, in tokens."""
    if needs.input_tokens <= window:
        return None
    return f"effective_window: quality falls beyond {window} tokens, needs {needs.input_tokens}"


def _disabled(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    return None if card.enabled else "disabled: by the catalog"


def _unknown_price(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    return "unknown_price: the catalog has no price" if card.price is None else None


def _not_allowed(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    allowed = case.overrides.models
    if allowed is None or not {card.id, card.snapshot, *card.aliases}.isdisjoint(allowed):
        return None
    return "not_allowed: not among policy.models and the tenant's models"


def _session_pinned(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    """Kept unless the call itself gives the pin up; never lifted because the model can't answer.

    The pinned model is then excluded with its own reason, so that the error names both.
    """
    pin = case.pin
    if pin is None or card.id == pin or case.overrides.pin_session is False:
        return None
    return f"session_pinned: to {pin}"


def _locked(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    return locked_out(card, case.lock)


def _not_deterministic(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    if not case.overrides.deterministic:
        return None
    lacks = []
    if not card.capabilities.seed:
        lacks.append("honours no seed")
    if not card.is_snapshot_pinned:
        lacks.append("its snapshot is not pinned")
    return f"not_deterministic: {' and '.join(lacks)}" if lacks else None


def _tools(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    needs, can = case.needs, card.capabilities
    if needs.tools and not can.tools:
        return "no_tools: the request offers tools"
    if needs.forced_tool_choice and not can.forced_tool_choice:
        return "no_tool_choice_required: the request forces a tool call"
    return None


def _vision(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    if case.needs.vision and not card.capabilities.vision:
        return "no_vision: the request has images"
    return None


def _json(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    needs, can = case.needs, card.capabilities
    if needs.strict_schema and not can.strict_schema:
        return "no_strict_schema: the request asks for a strict schema"
    if needs.json_mode and not can.json_mode:
        return "no_json_mode: the request asks for JSON"
    if needs.any_json and not (can.json_mode or can.strict_schema):
        return "no_json_mode: the request asks for JSON of a schema"
    return None


def _context_window(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    """Room for the prompt, as long as this model counts it, and for an answer."""
    tokens = case.needs.input_tokens
    if candidate is not None:
        tokens = max(tokens, math.ceil(candidate.input_tokens * INPUT_HEADROOM))
    total = tokens + min(case.needs.output_reserve, card.max_output_tokens)
    if total > card.context_window:
        return f"context_window: needs {total} of {card.context_window} tokens"
    if card.max_input_tokens is not None and tokens > card.max_input_tokens:
        return f"context_window: needs {tokens} of {card.max_input_tokens} input tokens"
    if candidate is None or not math.isfinite(candidate.output_tokens):
        return None
    return _max_output(card, tokens, math.ceil(candidate.output_tokens))


def _max_output(card: ModelCard, tokens: int, expected: int) -> str | None:
    """The expected answer must fit the model's limit and what the prompt leaves of its window."""
    if expected > card.max_output_tokens:
        return f"max_output: expects {expected} of {card.max_output_tokens} tokens"
    if tokens + expected > card.context_window:
        return (
            f"context_window: expects {tokens + expected} of {card.context_window} tokens, "
            "the answer included"
        )
    return None


def _limits(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    """Expected cost and latency against the caller's limits.

    A latency that nobody knows is NaN and passes: a limit would otherwise shut out every new
    model for good, as only calls to it can tell how fast it is.
    """
    limits = case.overrides
    if candidate is None:
        return None
    cost, latency = candidate.expected_cost, candidate.tool_call_latency_ms
    if limits.max_cost_usd is not None and cost > limits.max_cost_usd:
        return f"too_expensive: expects ${cost:.6f} of ${limits.max_cost_usd:.6f}"
    most = limits.max_tool_call_latency_ms
    if most is not None and latency > most:
        return (
            f"too_slow: expects {latency:.0f} of {most:.0f} ms to the first tool call, "
            "95th percentile"
        )
    return None


def _budget(case: Case, card: ModelCard, candidate: Candidate | None) -> str | None:
    if case.allowance is None:
        return None
    return over_budget(case.reserved_microusd.get(card.id, 0), case.allowance)


def over_budget(reserved_microusd: int, allowance: Allowance) -> str | None:
    """The reason not to make a call that may cost so much, None where it fits."""
    if reserved_microusd <= allowance.left_microusd:
        return None
    return (
        f"{OVER_BUDGET}: may cost up to ${reserved_microusd / MICRO:.6f}, "
        f"${allowance.left_microusd / MICRO:.6f} is left of {allowance.budget}"
    )


def none_admissible(
    excluded: Mapping[str, str], reserved_microusd: Mapping[str, int]
) -> NoAdmissibleModelError:
    """The error where all are excluded, with the least that would be enough of a budget."""
    over = (model for model, reason in excluded.items() if reason.startswith(OVER_BUDGET))
    needed = min((reserved_microusd[model] for model in over), default=None)
    return NoAdmissibleModelError(excluded, needed_microusd=needed)


def _demands_tools(case: Case) -> bool:
    return case.needs.tools or case.needs.forced_tool_choice


def _demands_json(case: Case) -> bool:
    return case.needs.strict_schema or case.needs.json_mode or case.needs.any_json


def _has_limits(case: Case) -> bool:
    limits = case.overrides
    return limits.max_cost_usd is not None or limits.max_tool_call_latency_ms is not None


_WINDOW: Final = Check(_context_window, lambda case: not case.has_room)
_LIMITS: Final = Check(_limits, _has_limits)
CANDIDATE_CHECKS: Final[tuple[Check, ...]] = (
    _WINDOW,
    _LIMITS,
    Check(_budget, lambda case: case.allowance is not None),
)
CARD_CHECKS: Final[tuple[Check, ...]] = (
    Check(_disabled),
    Check(_unknown_price),
    Check(_not_allowed, lambda case: case.overrides.models is not None),
    Check(_session_pinned, lambda case: case.pin is not None),
    Check(_locked, lambda case: case.lock is not None),
    Check(_tools, _demands_tools),
    Check(_vision, lambda case: case.needs.vision),
    Check(_json, _demands_json),
    Check(_not_deterministic, lambda case: bool(case.overrides.deterministic)),
    _WINDOW,
)
CHECKS: Final[tuple[Check, ...]] = (*CARD_CHECKS, _LIMITS)
