"""Gives the cells of a plain log in CSV the types that JSON would have."""

from collections.abc import Mapping
from typing import Any, Final

from router_data.imports.loose import count, number, parsed

_AMOUNTS: Final = frozenset(
    {"cost_usd", "latency_ms", "tool_call_latency_ms", "reward", "propensity"}
)
_FLAGS: Final = frozenset({"is_streamed", "tool_call_valid", "adequate"})
_COUNTS: Final = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
)
_OBJECTS: Final = frozenset({"usage", "signals", "distribution", "also_named"})
_TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}
_FIRST_S: Final = 946_684_800  # 2000 as Unix time; a smaller number is a date without dashes


def typed(cells: Mapping[str, str]) -> dict[str, Any]:
    """The values of a row, without its empty cells; text that is no such value stays text.

    >>> typed({"ts": "1795168800", "cost_usd": "0.5", "adequate": "TRUE", "user": "7", "key": ""})
    {'ts': 1795168800.0, 'cost_usd': 0.5, 'adequate': True, 'user': '7'}
    """
    filled = {name: cell for name, cell in cells.items() if cell != ""}
    values = {name: _value(name, cell) for name, cell in filled.items() if name not in _COUNTS}
    counts = {
        name: _or_text(count(filled[name]), filled[name]) for name in _COUNTS if name in filled
    }
    return {"usage": counts, **values} if counts else values


def _value(name: str, cell: str) -> Any:
    if name in _AMOUNTS:
        return _or_text(number(cell), cell)
    if name in _FLAGS:
        return _TRUTH.get(cell.strip().lower(), cell)
    if name in _OBJECTS:
        return parsed(cell)
    if name == "ts":
        seconds = number(cell)
        return cell if seconds is None or seconds < _FIRST_S else seconds
    return cell


def _or_text(value: float | None, cell: str) -> float | str:
    return cell if value is None else value
