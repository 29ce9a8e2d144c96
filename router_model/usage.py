"""The tokens that a provider says it billed, in one convention whatever its API's.

What the APIs report, and what differs:

- OpenAI Chat and compatible: `prompt_tokens` includes cached and written tokens, of which
  `prompt_tokens_details` tells; `completion_tokens` includes reasoning. DeepSeek says
  `prompt_cache_hit_tokens`, Moonshot `cached_tokens` beside the totals. xAI leaves reasoning out of
  `completion_tokens`, which shows in `total_tokens`.
- OpenAI Responses: the same with `input_tokens` and `output_tokens`.
- Anthropic Messages: `input_tokens` excludes `cache_read_input_tokens` and
  `cache_creation_input_tokens`; `cache_creation` splits the latter by lifetime. Thinking is part
  of `output_tokens` and not told apart.
- Gemini: `promptTokenCount` includes `cachedContentTokenCount`; `toolUsePromptTokenCount` and
  `thoughtsTokenCount` come on top of the prompt and of `candidatesTokenCount`.
"""

from collections.abc import Mapping
from typing import Any, Final

from router_model.errors import InvalidRequestError
from router_model.types import Usage

MAX_TOKENS: Final = 10**12
"""More than any call can use; beyond it a number is a mistake."""

_EXCLUSIVE: Final = (
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
)


def usage_of(provider_usage: Mapping[str, Any]) -> Usage:
    """A provider's usage object (`usage`, `usageMetadata`) as `Usage`, by whatever keys it has.

    Raises InvalidRequestError naming the field where a number can't be: negative, no integer, a
    part larger than its whole, or no known total at all.

    >>> usage_of({"input_tokens": 3, "cache_read_input_tokens": 900, "output_tokens": 5})
    ... # doctest: +ELLIPSIS
    Usage(input_tokens=903, cached_tokens=900, cache_write_tokens=0, output_tokens=5, ...)
    """
    if "promptTokenCount" in provider_usage or "prompt_token_count" in provider_usage:
        return _gemini(provider_usage)
    if "prompt_tokens" in provider_usage:
        return _openai(provider_usage, "prompt_tokens", "completion_tokens")
    if "input_tokens" not in provider_usage:
        known = "prompt_tokens, input_tokens or promptTokenCount"
        raise InvalidRequestError(
            "usage", sorted(map(str, provider_usage)), f"an object with {known}"
        )
    if any(provider_usage.get(name) is not None for name in _EXCLUSIVE):
        return _anthropic(provider_usage)
    return _openai(provider_usage, "input_tokens", "output_tokens")


def _openai(usage: Mapping[str, Any], total_in: str, total_out: str) -> Usage:
    asked = _inner(usage, f"{total_in}_details")
    answered = _inner(usage, f"{total_out}_details")
    n_in, n_out = _count(usage, total_in), _count(usage, total_out)
    reasoning = _count(answered, "reasoning_tokens", at=f"{total_out}_details.")
    total = _count(usage, "total_tokens")
    if reasoning and total == n_in + n_out + reasoning:
        n_out += reasoning
    cached = (
        _count(asked, "cached_tokens", at=f"{total_in}_details.")
        or _count(usage, "prompt_cache_hit_tokens")
        or _count(usage, "cache_read_input_tokens")
        or _count(usage, "cached_tokens")
    )
    written = (
        _count(asked, "cache_write_tokens", at=f"{total_in}_details.")
        or _count(asked, "cache_creation_tokens", at=f"{total_in}_details.")
        or _count(usage, "cache_creation_input_tokens")
    )
    _at_most(f"{total_in}_details.cached_tokens", cached + written, n_in, total_in)
    _at_most(f"{total_out}_details.reasoning_tokens", reasoning, n_out, total_out)
    return Usage(
        input_tokens=n_in,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=n_out,
        reasoning_tokens=reasoning,
    )


def _anthropic(usage: Mapping[str, Any]) -> Usage:
    split = _inner(usage, "cache_creation")
    hour = _count(split, "ephemeral_1h_input_tokens", at="cache_creation.")
    short = _count(split, "ephemeral_5m_input_tokens", at="cache_creation.")
    written = _count(usage, "cache_creation_input_tokens")
    if usage.get("cache_creation_input_tokens") is None:
        written = hour + short
    cached = _count(usage, "cache_read_input_tokens")
    whole = "cache_creation_input_tokens"
    _at_most("cache_creation.ephemeral_1h_input_tokens", hour + short, written, whole)
    return Usage(
        input_tokens=_count(usage, "input_tokens") + cached + written,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        output_tokens=_count(usage, "output_tokens"),
    )


def _gemini(usage: Mapping[str, Any]) -> Usage:
    prompt = _either(usage, "promptTokenCount", "prompt_token_count")
    cached = _either(usage, "cachedContentTokenCount", "cached_content_token_count")
    tools = _either(usage, "toolUsePromptTokenCount", "tool_use_prompt_token_count")
    thoughts = _either(usage, "thoughtsTokenCount", "thoughts_token_count")
    answer = _either(usage, "candidatesTokenCount", "candidates_token_count")
    _at_most("cachedContentTokenCount", cached, prompt, "promptTokenCount")
    return Usage(
        input_tokens=prompt + tools,
        cached_tokens=cached,
        output_tokens=answer + thoughts,
        reasoning_tokens=thoughts,
    )


def _either(usage: Mapping[str, Any], camel: str, snake: str) -> int:
    return _count(usage, camel if usage.get(camel) is not None else snake)


def _count(usage: Mapping[str, Any], name: str, *, at: str = "") -> int:
    """The number under `name`; 0 where it is missing or null. 12.0 counts as 12."""
    value = usage.get(name)
    if value is None:
        return 0
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= MAX_TOKENS or value != int(value):
        raise InvalidRequestError(
            f"usage.{at}{name}", value, f"a whole number of tokens from 0 to {MAX_TOKENS}"
        )
    return int(value)


def _inner(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = usage.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"usage.{name}", value, "an object or null")
    return value


def _at_most(name: str, part: int, whole: int, of: str) -> None:
    if part > whole:
        raise InvalidRequestError(f"usage.{name}", part, f"no more than {of} ({whole})")
