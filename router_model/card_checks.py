"""What makes a model's entry in a catalog file valid, with messages for the one who wrote it."""

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import msgspec

from router_model.types import Capabilities, ModelCard, PriceCard, PriceTier, ServiceTier

_STRUCTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "capabilities": Capabilities,
    "price": PriceCard,
}
_TIERS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "tiers": PriceTier,
    "service_tiers": ServiceTier,
}
_RATES: Final = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
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
    price = table.get("price")
    for name, struct in _TIERS.items():
        tiers = price.get(name) if isinstance(price, dict) else None
        for tier in tiers if isinstance(tiers, list) else ():
            if problem is None and isinstance(tier, dict):
                problem = _unknown(tier, struct, prefix=f"price.{name}.")
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
    named: list[tuple[str, PriceCard | PriceTier | ServiceTier]] = [("price", price)]
    named += [(f"price.tiers[{i}]", tier) for i, tier in enumerate(price.tiers)]
    named += [(f"price.service_tiers[{i}]", tier) for i, tier in enumerate(price.service_tiers)]
    problems = (_check_rates(prefix, rates) for prefix, rates in named)
    found = next((problem for problem in problems if problem is not None), None)
    return found or _check_thresholds(price) or _check_service_tiers(price)


def _check_rates(prefix: str, rates: PriceCard | PriceTier | ServiceTier) -> str | None:
    for name in _RATES:
        value = getattr(rates, name)
        if value is not None and not (math.isfinite(value) and value >= 0.0):
            return f"{prefix}.{name}: got {value}, expected dollars per million tokens, 0 or more"
    return None


def _check_thresholds(price: PriceCard) -> str | None:
    threshold = 0
    for i, tier in enumerate(price.tiers):
        if tier.above_input_tokens <= threshold:
            return (
                f"price.tiers[{i}].above_input_tokens: got {tier.above_input_tokens}, "
                f"expected more than {threshold} (tiers rise)"
            )
        threshold = tier.above_input_tokens
    return None


def _check_service_tiers(price: PriceCard) -> str | None:
    seen: set[str] = set()
    for i, tier in enumerate(price.service_tiers):
        at = f"price.service_tiers[{i}]"
        if not tier.name.strip() or tier.name != tier.name.lower():
            return f'{at}.name: got {tier.name!r}, expected a lower-case name like "batch"'
        if tier.name in seen:
            return f"{at}.name: got {tier.name!r} twice, expected each service tier once"
        if tier.max_input_tokens is not None and tier.max_input_tokens < 1:
            return f"{at}.max_input_tokens: got {tier.max_input_tokens}, expected at least 1"
        seen.add(tier.name)
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
