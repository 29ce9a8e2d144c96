"""What logged calls would be expected to cost at the prices of a catalog."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router_model.catalog import Catalog
from router_model.pricing import TOKENS_PER_PRICE
from router_model.types import PriceCard

Floats = NDArray[np.float64]


def repriced(
    catalog: Catalog,
    models: Sequence[str],
    *,
    input_tokens: Floats,
    cached_tokens: Floats,
    output_tokens: Floats,
) -> Floats:
    """Expected cost in US dollars of each call, NaN where the catalog has no price for its model.

    The same formula as `router_model.pricing.expected_cost`, for whole columns.
    """
    costs = np.full(len(input_tokens), np.nan)
    names = np.asarray(models, dtype=object)
    for model in set(names.tolist()):
        card = catalog.resolve(model)
        if card is None or card.price is None:
            continue
        rows = names == model
        costs[rows] = _cost(
            card.price, input_tokens[rows], cached_tokens[rows], output_tokens[rows]
        )
    return costs


def _cost(price: PriceCard, tokens: Floats, cached: Floats, output: Floats) -> Floats:
    read = price.input if price.cache_read is None else price.cache_read
    costs = np.maximum(0, tokens - cached) * price.input + cached * read + output * price.output
    for tier in price.tiers:
        read = tier.input if tier.cache_read is None else tier.cache_read
        dearer = np.maximum(0, tokens - cached) * tier.input + cached * read + output * tier.output
        costs = np.where(tokens > tier.above_input_tokens, dearer, costs)
    return np.asarray(costs / TOKENS_PER_PRICE)
