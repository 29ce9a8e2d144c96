"""Candidates as the log has them: what is not a number is null there."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from router_model.errors import LogError
from router_model.types import Candidate

UNKNOWN_IS_NAN: Final = ("p_adequate", "tool_call_latency_ms", "tool_call_latency_p50_ms")


def candidate_of(entry: Mapping[str, Any]) -> Candidate:
    """The candidate in an entry of a row; fields it lacks (older schemas) get their defaults.

    Raises LogError where a field can't be read.

    >>> candidate_of({"model": "a", "p_adequate": None, "expected_cost": 0.1, "input_tokens": 1,
    ...               "cached_tokens": 0, "output_tokens": 9, "probability": 1.0}).p_adequate
    nan
    """
    known = {name: entry[name] for name in Candidate.__struct_fields__ if name in entry}
    for name in UNKNOWN_IS_NAN:
        if known.get(name) is None:
            known[name] = float("nan")
    try:
        return msgspec.convert(known, Candidate, strict=False)
    except msgspec.ValidationError as error:
        raise LogError(f"candidates: can't be read from the log: {error}") from error
