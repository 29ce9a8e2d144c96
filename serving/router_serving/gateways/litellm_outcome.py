"""Makes the outcome of one attempt out of what LiteLLM logs of it."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from router_model import formats
from router_model.answers import Answer, read_answer, tool_calls_valid, wire_signals
from router_model.errors import InvalidRequestError
from router_model.types import Outcome, Request, Usage, WireFormat
from router_serving.gateways.litellm_calls import Attempt, Call

MAX_ERROR_CHARS: Final = 200


def failed(call: Call, number: int, attempt: Attempt, error: BaseException) -> Outcome:
    """The outcome of an attempt that failed: its kind and status, never its text."""
    status = getattr(error, "status_code", None)
    text = type(error).__name__ + (f" {status}" if isinstance(status, int) else "")
    return Outcome(
        decision_id=call.decision_id,
        attempt=number,
        model=call.model_of(attempt.group),
        error=text[:MAX_ERROR_CHARS],
        latency_ms=_ms(attempt.began_s, time.time()),
    )


def answered(
    call: Call,
    number: int,
    attempt: Attempt,
    *,
    logged: Mapping[str, Any],
    response: Any,
    ended: datetime,
) -> tuple[Outcome, Request | None]:
    """The outcome of an attempt that was answered, and the request it was made for.

    `logged` is LiteLLM's standard logging payload.
    """
    plain = Outcome(
        decision_id=call.decision_id, attempt=number, model=call.model_of(attempt.group)
    )
    request = _request(call)
    if logged.get("cache_hit") is True:  # no provider was asked
        return _with(plain, cost_usd=0.0), request
    ended_s = ended.timestamp()
    answer = _answer(response)
    usage = usage_of(logged)
    known: dict[str, Any] = {
        "usage": usage,
        "cost_usd": _cost(logged, usage),
        "latency_ms": _ms(attempt.began_s, ended_s),
    }
    if answer is None:
        return _with(plain, **known), request
    at_s = ended_s if call.first_call is None else call.first_call.at_s
    if answer.calls and at_s is not None:
        known["tool_call_latency_ms"] = _ms(attempt.began_s, at_s)
    known["n_tool_calls"] = len(answer.calls)
    if request is not None:
        known["signals"] = wire_signals(request, answer)
        known["tool_call_valid"] = tool_calls_valid(request, answer)
    return _with(plain, **known), request


def usage_of(logged: Mapping[str, Any]) -> Usage | None:
    """The tokens that LiteLLM logs; `input_tokens` includes cached and written ones there too.

    >>> usage_of({"metadata": {"usage_object": {"prompt_tokens": 9, "completion_tokens": 2}}})
    Usage(input_tokens=9, cached_tokens=0, cache_write_tokens=0, output_tokens=2, \
cache_write_1h_tokens=0, reasoning_tokens=0)
    """
    told = (logged.get("metadata") or {}).get("usage_object")
    if not isinstance(told, Mapping):
        return None
    details = told.get("prompt_tokens_details") or {}
    output_details = told.get("completion_tokens_details") or {}
    written = _first(told.get("cache_creation_input_tokens"), details.get("cache_creation_tokens"))
    by_age = details.get("cache_creation_token_details") or {}
    n_output = _first(told.get("completion_tokens"))
    cached = _first(told.get("cache_read_input_tokens"), details.get("cached_tokens"))
    return Usage(
        input_tokens=max(_first(told.get("prompt_tokens")), cached + written),
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=n_output,
        cache_write_1h_tokens=min(written, _first(by_age.get("ephemeral_1h_input_tokens"))),
        reasoning_tokens=min(n_output, _first(output_details.get("reasoning_tokens"))),
    )


def _first(*values: object) -> int:
    """The first count that is above 0, else 0."""
    return next((n for n in values if isinstance(n, int) and n > 0), 0)


def _cost(logged: Mapping[str, Any], usage: Usage | None) -> float | None:
    """The cost in dollars; None for the 0 that LiteLLM logs of a model whose price it lacks."""
    cost = logged.get("response_cost")
    if not isinstance(cost, int | float) or isinstance(cost, bool):
        return None
    has_tokens = usage is not None and usage.input_tokens + usage.output_tokens > 0
    return None if cost <= 0 and has_tokens else float(cost)


def _request(call: Call) -> Request | None:
    """What the client asked; None for a body that is not understood."""
    try:
        return formats.parse(call.body, wire_format=call.wire_format)
    except InvalidRequestError:
        return None


def _answer(response: Any) -> Answer | None:
    """The answer as LiteLLM keeps it: in the shape of Responses, else of Chat Completions."""
    dump = getattr(response, "model_dump", None)
    content = dump(mode="json") if callable(dump) else response
    if not isinstance(content, Mapping):
        return None
    is_responses = content.get("object") == "response" or "output" in content
    shape = WireFormat.OPENAI_RESPONSES if is_responses else WireFormat.OPENAI_CHAT
    answer = read_answer(content, wire_format=shape)
    return answer if answer.error is None else None


def _with(outcome: Outcome, **known: Any) -> Outcome:
    given = {name: value for name, value in known.items() if value is not None}
    return Outcome(
        decision_id=outcome.decision_id, attempt=outcome.attempt, model=outcome.model, **given
    )


def _ms(began_s: float, ended_s: float) -> float:
    return max(0.0, (ended_s - began_s) * 1000)
