"""What makes a model's entry in a catalog file valid, with messages for the one who wrote it."""

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import msgspec

from router_model.types import Capabilities, ModelCard, PriceCard, PriceTier

_STRUCTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "capabilities": Capabilities,
    "price": PriceCard,
}
_VALIDATION_PATH: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_MISSING: Final = re.compile(r"missing required field `(?P<name>\w+)`")


def check_unknown_keys(table: Mapping[str, Any]) -> str | None:
    """The first key of a model's table that does not exist, with the allowed ones; else None.

    >>> check_unknown_keys({"provider": "self", "contextwindow": 1})[:36]
    "unknown field 'contextwindow', allow"
    """
    problem = _unknown(table, ModelCard, prefix="")
    for name, struct in _STRUCTS.items():
        inner = table.get(name)
        if problem is None and isinstance(inner, dict):
            problem = _unknown(inner, struct, prefix=f"{name}.")
    tiers = table.get("price", {}).get("tiers", ()) if isinstance(table.get("price"), dict) else ()
    for tier in tiers if isinstance(tiers, list) else ():
        if problem is None and isinstance(tier, dict):
            problem = _unknown(tier, PriceTier, prefix="price.tiers.")
    return problem


def explain(error: msgspec.ValidationError, table: Mapping[str, Any]) -> str:
    """A conversion error as "field: got value, expected ..."."""
    match = _VALIDATION_PATH.match(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    if missing := _MISSING.search(what):
        name = f"{path}.{missing['name']}" if path else missing["name"]
        return f"{name}: is missing, a model needs it"
    expected = what.split(", got ")[0].removeprefix("Expected ").replace("`", "")
    return f"{path}: got {_value_at(table, path)!r}, expected {expected}"


def check_card(card: ModelCard) -> str | None:
    """The first thing about a card that cannot be, as "field: got value, expected ..."."""
    for name, minimum in (
        ("context_window", 1),
        ("max_output_tokens", 1),
        ("max_input_tokens", 1),
        ("min_cache_tokens", 0),
        ("cache_ttl_s", 0),
        ("cache_block_tokens", 1),
        ("long_cache_ttl_s", 1),
    ):
        value = getattr(card, name)
        if value is not None and value < minimum:
            return f"{name}: got {value}, expected an integer of at least {minimum}"
    if card.released is not None and not _is_date(card.released):
        return f'released: got {card.released!r}, expected a date like "2026-11-23"'
    for name in ("id", "provider", "snapshot"):
        if not getattr(card, name).strip():
            return f"{name}: got {getattr(card, name)!r}, expected a name"
    return None if card.price is None else _check_price(card.price)


def _check_price(price: PriceCard) -> str | None:
    threshold = 0
    for prefix, rates in (
        ("price", price),
        *((f"price.tiers[{i}]", tier) for i, tier in enumerate(price.tiers)),
    ):
        for name in ("input", "output", "cache_read", "cache_write"):
            value = getattr(rates, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                return (
                    f"{prefix}.{name}: got {value}, expected dollars per million tokens, 0 or more"
                )
        if isinstance(rates, PriceTier):
            if rates.above_input_tokens <= threshold:
                return (
                    f"{prefix}.above_input_tokens: got {rates.above_input_tokens}, "
                    f"expected more than {threshold} (tiers rise)"
                )
            threshold = rates.above_input_tokens
    return None


def _unknown(table: Mapping[str, Any], struct: type[msgspec.Struct], *, prefix: str) -> str | None:
    allowed = struct.__struct_fields__
    unknown = sorted(set(table) - set(allowed))
    if not unknown:
        return None
    shown = ", ".join(name for name in allowed if name != "id")
    return f"unknown field {prefix + unknown[0]!r}, allowed: {shown}"


def _value_at(table: Any, path: str) -> Any:
    for step in re.findall(r"\w+", path):
        if isinstance(table, dict):
            table = table.get(step)
        elif isinstance(table, list) and step.isdigit():
            table = table[int(step)]
    return table


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10
