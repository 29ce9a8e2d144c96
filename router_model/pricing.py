"""The price of one model call, from tokens and a price card."""

from typing import Final

from router_model.types import PriceCard, PriceTier

TOKENS_PER_PRICE: Final = 1_000_000


def price_at(price: PriceCard, input_tokens: int) -> PriceCard | PriceTier:
    """The prices that hold for a call of `input_tokens`: those of the highest tier exceeded.

    A tier holds for the whole call, not only for the tokens above its threshold.

    >>> tier = PriceTier(above_input_tokens=200_000, input=4.0, output=18.0)
    >>> price = PriceCard(input=2.0, output=12.0, tiers=(tier,))
    >>> price_at(price, 200_000).input, price_at(price, 200_001).input
    (2.0, 4.0)
    """
    rates: PriceCard | PriceTier = price
    for tier in price.tiers:
        if input_tokens > tier.above_input_tokens:
            rates = tier
    return rates


def expected_cost(
    price: PriceCard,
    *,
    input_tokens: int,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    output_tokens: float,
) -> float:
    """Cost in US dollars, cache reads, cache writes and the long-context surcharge included.

    `input_tokens` includes the cached and the cache-write tokens; a usage record that says
    otherwise is priced as if all of its input were cached or written, never below zero.
    A cache price that the card does not state is the input price.

        cost = (uncached·input + cached·cache_read + written·cache_write + out·output) / 10⁶

    >>> price = PriceCard(input=3.0, output=15.0, cache_read=0.3)
    >>> cost = expected_cost(price, input_tokens=100_000, cached_tokens=90_000, output_tokens=500)
    >>> round(cost, 4)
    0.0645
    """
    rates = price_at(price, input_tokens)
    uncached = max(0, input_tokens - cached_tokens - cache_write_tokens)
    read = rates.input if rates.cache_read is None else rates.cache_read
    write = rates.input if rates.cache_write is None else rates.cache_write
    total = (
        uncached * rates.input
        + cached_tokens * read
        + cache_write_tokens * write
        + output_tokens * rates.output
    )
    return total / TOKENS_PER_PRICE


def worst_case_cost(price: PriceCard, *, input_tokens: int, max_output_tokens: int) -> float:
    """The most one call can cost in US dollars: nothing cached, all written, all output used.

    Budgets reserve this amount before a call whose usage is not known yet.

    >>> price = PriceCard(input=2.0, output=10.0, cache_read=0.2, cache_write=2.5)
    >>> worst_case_cost(price, input_tokens=100_000, max_output_tokens=8_000)
    0.33
    """
    rates = price_at(price, input_tokens)
    dearest_input = max(rates.input, rates.cache_read or 0.0, rates.cache_write or 0.0)
    total = input_tokens * dearest_input + max_output_tokens * rates.output
    return total / TOKENS_PER_PRICE
