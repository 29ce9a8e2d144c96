"""Token counts of exports in one convention: input includes cached and written tokens.

OpenAI, LiteLLM and the OpenTelemetry conventions count cached tokens as part of the input;
Anthropic and Langfuse's buckets don't, and some exporters write one under the other's names. A
total settles it: the reading whose parts add up to it is taken.
"""

from collections.abc import Iterator
from itertools import product

import msgspec

from router_model.types import Usage


def usage_from(
    n_input: int | None,
    n_output: int | None,
    *,
    cached: int = 0,
    written: int = 0,
    reasoning: int = 0,
    total: int | None = None,
    is_inclusive: bool,
) -> Usage | None:
    """The usage that was meant; None where neither input nor output is known.

    `is_inclusive` says what the source means where no total settles it. Counts that can't be
    meant so (more cached than there is input) are read the other way.

    >>> usage_from(100, 20, cached=900, is_inclusive=True).input_tokens
    1000
    >>> usage_from(1000, 20, cached=900, total=1020, is_inclusive=False).input_tokens
    1000
    """
    if n_input is None and n_output is None:
        return None
    whole_in, whole_out = _meant(
        n_input or 0,
        n_output or 0,
        outside=(cached, written, reasoning),
        total=total,
        is_inclusive=is_inclusive,
    )
    return Usage(
        input_tokens=whole_in,
        cached_tokens=min(cached, whole_in),
        cache_write_tokens=min(written, whole_in - min(cached, whole_in)),
        output_tokens=whole_out,
        reasoning_tokens=min(reasoning, whole_out),
    )


def fields_of(usage: Usage | None) -> dict[str, int] | None:
    """The counts by name; None for an unknown usage."""
    return None if usage is None else msgspec.structs.asdict(usage)


def _meant(
    n_input: int,
    n_output: int,
    *,
    outside: tuple[int, int, int],
    total: int | None,
    is_inclusive: bool,
) -> tuple[int, int]:
    """Whole input and output: by the total, else as the source means it, else the other way."""
    readings = list(_readings(n_input, n_output, outside=outside, is_inclusive=is_inclusive))
    cached, written, reasoning = outside
    possible = [(i, o) for i, o in readings if i >= cached + written and o >= reasoning]
    matching = [(i, o) for i, o in possible if i + o == total]
    return (matching or possible or readings[-1:])[0]


def _readings(
    n_input: int, n_output: int, *, outside: tuple[int, int, int], is_inclusive: bool
) -> Iterator[tuple[int, int]]:
    """Every way to read the counts, the source's own first: what is part of them, what is not."""
    factors = (0, 1) if is_inclusive else (1, 0)
    cached, written, reasoning = outside
    for thought, read, wrote in product(factors, factors, factors):
        yield n_input + read * cached + wrote * written, n_output + thought * reasoning
