"""The price of one model call, from tokens and a price card.

Prices are dollars per million tokens, so tokens times price is millionths of a dollar. Reasoning
tokens are part of `output_tokens` and cost what output costs; images are part of `input_tokens`
(see `images`). Whether a prefix was long enough to be cached, and in which steps, is `warmth`'s
business: here the tokens are what was billed or is expected to be.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from msgspec import Struct

from router_model.types import PriceCard, PriceTier, ServiceTier, Usage

TOKENS_PER_PRICE: Final = 1_000_000

Rates = PriceCard | PriceTier | ServiceTier
_RATES: Final = ("input", "output", "cache_read", "cache_write", "cache_write_1h")


class CostParts(Struct, frozen=True, kw_only=True):
    """What a call costs by cause, in dollars; together `call_cost`.

    `surcharge` is what a long context adds; the other parts are at the rates of a short one.
    """

    uncached: float
    cache_read: float
    cache_write: float
    output: float
    surcharge: float


def price_at(price: PriceCard, input_tokens: int, *, service_tier: str | None = None) -> Rates:
    """The prices that hold for a call of `input_tokens`: those of the highest tier exceeded.

    A tier holds for the whole call, not only for the tokens above its threshold. A service tier
    changes a long context's prices in the ratio in which it changes the others, unless it is not
    offered for as many tokens (`max_input_tokens`): then, and where the card does not know it, the
    standard prices hold.

    >>> tier = PriceTier(above_input_tokens=200_000, input=4.0, output=18.0)
    >>> batch = ServiceTier(name="batch", input=1.0, output=6.0)
    >>> price = PriceCard(input=2.0, output=12.0, tiers=(tier,), service_tiers=(batch,))
    >>> price_at(price, 200_000).input, price_at(price, 200_001).input
    (2.0, 4.0)
    >>> price_at(price, 200_001, service_tier="batch").output
    9.0
    """
    if service_tier is None and not price.tiers:
        return price
    context: PriceTier | None = None
    for tier in price.tiers:
        if input_tokens > tier.above_input_tokens:
            context = tier
    service = _service_tier(price, input_tokens, service_tier)
    if context is None or service is None:
        return context or service or price
    return _combined(price, context, service)


def expected_cost(
    price: PriceCard,
    *,
    input_tokens: int,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    cache_write_1h_tokens: int = 0,
    output_tokens: float,
    service_tier: str | None = None,
) -> float:
    """Cost in US dollars, cache reads, cache writes and the long-context surcharge included.

    `input_tokens` includes the cached and the cache-write tokens, those again the ones written for
    an hour; a usage record that says otherwise is priced as if all of its input were cached or
    written, never below zero. A cache price that the card does not state is the input price, that
    of an hour the price of any write.

        cost = (uncached·input + cached·cache_read + written·cache_write + out·output) / 10⁶

    >>> price = PriceCard(input=3.0, output=15.0, cache_read=0.3)
    >>> cost = expected_cost(price, input_tokens=100_000, cached_tokens=90_000, output_tokens=500)
    >>> round(cost, 4)
    0.0645
    """
    return cost_at(
        price_at(price, input_tokens, service_tier=service_tier),
        input_tokens,
        cached_tokens,
        cache_write_tokens,
        cache_write_1h_tokens,
        output_tokens,
    )


def cost_at(
    rates: Rates,
    input_tokens: int,
    cached_tokens: int,
    cache_write_tokens: int,
    cache_write_1h_tokens: int,
    output_tokens: float,
) -> float:
    """The same at these rates."""
    read, write, write_1h = _cache_rates(rates)
    total = (
        max(0, input_tokens - cached_tokens - cache_write_tokens) * rates.input
        + cached_tokens * read
        + max(0, cache_write_tokens - cache_write_1h_tokens) * write
        + cache_write_1h_tokens * write_1h
        + output_tokens * rates.output
    )
    return total / TOKENS_PER_PRICE


def call_cost(price: PriceCard, usage: Usage, *, service_tier: str | None = None) -> float:
    """What a call with this usage is billed, in US dollars; see `expected_cost`.

    `service_tier` is the one that served the call, which may be another than was asked for.
    """
    return expected_cost(
        price,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        service_tier=service_tier,
    )


def call_cost_microusd(price: PriceCard, usage: Usage, *, service_tier: str | None = None) -> int:
    """The same in whole millionths of a dollar, exact to the last, halves rounded up.

    >>> price = PriceCard(input=2.0, output=12.0, cache_read=0.2)
    >>> usage = Usage(input_tokens=6_131, cached_tokens=4_058, output_tokens=27)
    >>> call_cost_microusd(price, usage)
    5282
    """
    rates = price_at(price, usage.input_tokens, service_tier=service_tier)
    read, write, write_1h = _cache_rates(rates)
    amounts = (
        (max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens), rates.input),
        (usage.cached_tokens, read),
        (max(0, usage.cache_write_tokens - usage.cache_write_1h_tokens), write),
        (usage.cache_write_1h_tokens, write_1h),
        (usage.output_tokens, rates.output),
    )
    total = sum((tokens * Decimal(str(rate)) for tokens, rate in amounts), Decimal(0))
    return int(total.to_integral_value(rounding=ROUND_HALF_UP))


def cost_parts(price: PriceCard, usage: Usage, *, service_tier: str | None = None) -> CostParts:
    """`call_cost` by cause; the long-context surcharge is apart from what it is charged on."""
    rates = _service_tier(price, usage.input_tokens, service_tier) or price
    read, write, write_1h = _cache_rates(rates)
    written_1h = usage.cache_write_1h_tokens
    written = max(0, usage.cache_write_tokens - written_1h)
    uncached = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
    parts = (
        uncached * rates.input / TOKENS_PER_PRICE,
        usage.cached_tokens * read / TOKENS_PER_PRICE,
        (written * write + written_1h * write_1h) / TOKENS_PER_PRICE,
        usage.output_tokens * rates.output / TOKENS_PER_PRICE,
    )
    is_long = any(usage.input_tokens > tier.above_input_tokens for tier in price.tiers)
    total = call_cost(price, usage, service_tier=service_tier)
    return CostParts(
        uncached=parts[0],
        cache_read=parts[1],
        cache_write=parts[2],
        output=parts[3],
        surcharge=total - sum(parts) if is_long else 0.0,
    )


def worst_case_cost(
    price: PriceCard,
    *,
    input_tokens: int,
    max_output_tokens: int,
    cache_write_1h_tokens: int = 0,
    service_tier: str | None = None,
) -> float:
    """The most one call can cost in US dollars: nothing cached, all written, all output used.

    `cache_write_1h_tokens` of the input may be written for an hour, where markers ask for that.
    Budgets reserve this amount before a call whose usage is not known yet.

    >>> price = PriceCard(input=2.0, output=10.0, cache_read=0.2, cache_write=2.5)
    >>> worst_case_cost(price, input_tokens=100_000, max_output_tokens=8_000)
    0.33
    """
    standard = price_at(price, input_tokens)
    asked = price_at(price, input_tokens, service_tier=service_tier)
    hour = min(cache_write_1h_tokens, input_tokens)
    totals = []
    # A tier that is full or not offered falls back to the standard one, which may cost more.
    for rates in (standard, asked):
        read, write, write_1h = _cache_rates(rates)
        dearest = max(rates.input, read, write)
        spent = (input_tokens - hour) * dearest + hour * max(dearest, write_1h)
        totals.append(spent + max_output_tokens * rates.output)
    return max(totals) / TOKENS_PER_PRICE


def _cache_rates(rates: Rates) -> tuple[float, float, float]:
    """Prices of a cache read, a short write and one for an hour, whatever is stated of them."""
    read = rates.input if rates.cache_read is None else rates.cache_read
    write = rates.input if rates.cache_write is None else rates.cache_write
    return read, write, write if rates.cache_write_1h is None else rates.cache_write_1h


def _service_tier(price: PriceCard, input_tokens: int, name: str | None) -> ServiceTier | None:
    if name is None:
        return None
    for tier in price.service_tiers:
        if tier.name == name:
            limit = tier.max_input_tokens
            return tier if limit is None or input_tokens <= limit else None
    return None


def _combined(price: PriceCard, context: PriceTier, service: ServiceTier) -> PriceTier:
    """The long context's rates, each times what the service tier makes of the base rate."""
    rates: dict[str, float | None] = {}
    for name in _RATES:
        base, long, changed = (_rate(r, name) for r in (price, context, service))
        rates[name] = _times(long, changed, base)
    return PriceTier(above_input_tokens=context.above_input_tokens, **rates)  # type: ignore[arg-type] # input and output are never None


def _rate(rates: Rates, name: str) -> float:
    read, write, write_1h = _cache_rates(rates)
    if name in ("input", "output"):
        return rates.input if name == "input" else rates.output
    return {"cache_read": read, "cache_write": write, "cache_write_1h": write_1h}[name]


def _times(long: float, changed: float, base: float) -> float:
    """long · changed / base in decimals, so that 18 · 6 / 12 is 9 and 0.4 · 0.1 / 0.2 is 0.2."""
    if base == 0.0:
        return max(long, changed)
    return float(Decimal(str(long)) * Decimal(str(changed)) / Decimal(str(base)))
