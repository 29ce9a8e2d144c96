"""How much of a call a model still has in its cache, how likely, and what the call then costs.

A provider keeps a prefix for a while, in whole blocks, from a least length on, and may drop it or
meet the call with another machine at any time. So warmth is an amount with a probability, and the
cost of a call has two forms: the most likely (warm if that is likelier than not) and the expected,
which weighs both cases. They differ much, since a miss costs several times what a hit does.
"""

from msgspec import Struct

from router_model.economics import CacheFacts
from router_model.pricing import Rates, cost_at, price_at
from router_model.session_view import Prefix
from router_model.types import ModelCard, Usage

PRIOR_CALLS = 100.0
"""As how many calls of the session itself the learned hit rate counts.

Of 9,400 recorded calls of a coding agent, 4% missed after a hit and 15% after a miss. The loss of
the hit probability, -mean(log p), was least with 100 where nobody says which of several endpoints
answers, as is the rule (0.2783; 0.2790 without the session's own bills), and with 30 where it is
known (0.1974 against 0.2005); with 100 it is 0.1982 there.
"""

HOUR_S = 3600
"""From this lifetime on a write is billed as one for an hour."""


class Warmth(Struct, frozen=True, gc=False):
    """`tokens` of a call that would be read from the cache, with probability `p`."""

    tokens: int
    p: float


COLD = Warmth(0, 0.0)
"""Nothing of the call is in the cache."""


def warmth_of(
    card: ModelCard,
    prefix: Prefix | None,
    *,
    input_tokens: int,
    facts: CacheFacts,
    is_marked: bool,
) -> Warmth:
    """What a call of `input_tokens` finds in the model's cache.

    `prefix` is what the model saw last of the session, `input_tokens` as it will be billed,
    `is_marked` says whether the request marks what may be cached. The amount is the prefix in
    whole blocks, never more than the call, and nothing beyond the lifetime, below the least length,
    or where the model caches marked prefixes only and nothing is marked. What the last bill showed
    as read is where the blocks are counted from: a provider's blocks begin after framing of its
    own, so that they end somewhat off the multiples of their size.

    >>> from router_model.types import Capabilities
    >>> card = ModelCard(id="m", provider="p", snapshot="m", family="f", context_window=100_000,
    ...     max_output_tokens=1_000, capabilities=Capabilities(caching="automatic"),
    ...     cache_block_tokens=128)
    >>> prefix = Prefix(tokens=5_000, age_s=20.0, ttl_s=300)
    >>> facts = CacheFacts(p_hit=0.9, n=1_000)
    >>> warmth_of(card, prefix, input_tokens=6_000, facts=facts, is_marked=False)
    Warmth(tokens=4992, p=0.9)
    """
    if prefix is None or not is_cached(card, is_marked=is_marked) or prefix.age_s >= prefix.ttl_s:
        return COLD
    seen = kept_tokens(prefix.tokens, prefix.read_tokens, block=card.cache_block_tokens)
    tokens = min(seen, input_tokens)
    if tokens <= 0 or tokens < card.min_cache_tokens:
        return COLD
    return Warmth(tokens, hit_probability(prefix, facts))


def input_tokens_of(
    prefix: Prefix | None, estimated_tokens: float, *, token_ratio: float = 1.0
) -> int:
    """Input tokens that a model will bill for a call: those of its last bill and what was added.

    `token_ratio` is what the model bills for an estimated token, as learned; it is applied to what
    was added, and without a bill to the whole call. What the last bill has beyond the estimate is
    mostly constant (framing, tools), so a ratio of the whole would be too much for what is added. A
    call that has become shorter is billed in the proportion of the last bill.

    >>> prefix = Prefix(tokens=5_000, age_s=1.0, ttl_s=300, billed_tokens=5_000,
    ...     estimated_tokens=4_000)
    >>> [input_tokens_of(prefix, estimated) for estimated in (4_100, 2_000)]
    [5100, 2500]
    >>> input_tokens_of(None, 1_000, token_ratio=1.2)
    1200
    """
    if prefix is None or prefix.billed_tokens <= 0 or prefix.estimated_tokens <= 0:
        return max(1, round(estimated_tokens * token_ratio))
    added = estimated_tokens - prefix.estimated_tokens
    if added < 0:
        return max(1, round(estimated_tokens * prefix.billed_tokens / prefix.estimated_tokens))
    return round(prefix.billed_tokens + added * token_ratio)


def kept_tokens(tokens: int, read_tokens: int, *, block: int) -> int:
    """Tokens of a prefix that a cache keeps: what was read of it, and whole blocks beyond.

    >>> kept_tokens(5_000, 0, block=2_048), kept_tokens(5_000, 2_100, block=2_048)
    (4096, 4148)
    """
    start = min(read_tokens, tokens)
    return start + (tokens - start) // max(1, block) * max(1, block)


def hit_probability(prefix: Prefix, facts: CacheFacts) -> float:
    """P(hit) from the learned rate and what the session's own bills showed.

    The mean of the Beta posterior: (w p_hit + hits) / (w + hits + misses), w = `PRIOR_CALLS`.
    """
    total = PRIOR_CALLS + prefix.n_hits + prefix.n_misses
    return (PRIOR_CALLS * facts.p_hit + prefix.n_hits) / total


def is_cached(card: ModelCard, *, is_marked: bool) -> bool:
    """Whether the model keeps the prefix of a call; `is_marked`: the request marks what may be."""
    caching = card.capabilities.caching
    return caching == "automatic" or (caching == "marked" and is_marked)


def lifetime_s(card: ModelCard, asked_ttl_s: int | None) -> int:
    """Seconds a prefix is kept: the long lifetime where markers ask for it and the model has it."""
    long_s = card.long_cache_ttl_s
    if asked_ttl_s is None or long_s is None or asked_ttl_s <= card.cache_ttl_s:
        return card.cache_ttl_s
    return min(asked_ttl_s, long_s)


def input_usages(
    card: ModelCard,
    input_tokens: int,
    warmth: Warmth,
    *,
    output_tokens: float,
    writes: bool,
    ttl_s: int = 300,
) -> tuple[tuple[float, Usage], ...]:
    """The cases of the call, each with its probability: warm, then cold; no impossible ones.

    `writes`: the call leaves what it does not read in the cache, for `ttl_s` seconds. A prefix
    below the model's least length is not written. `output_tokens` are rounded.
    """
    cases = []
    for p, cached in ((warmth.p, min(warmth.tokens, input_tokens)), (1.0 - warmth.p, 0)):
        if p > 0.0:
            written = _written(card, input_tokens, cached, writes)
            usage = Usage(
                input_tokens=input_tokens,
                cached_tokens=cached,
                cache_write_tokens=written,
                cache_write_1h_tokens=written if ttl_s >= HOUR_S else 0,
                output_tokens=round(output_tokens),
            )
            cases.append((p, usage))
    return tuple(cases)


def expected_call_cost(
    card: ModelCard,
    input_tokens: int,
    warmth: Warmth,
    *,
    output_tokens: float,
    writes: bool,
    ttl_s: int = 300,
    service_tier: str | None = None,
) -> float:
    """Cost in US dollars, expected over a warm and a cold cache; NaN without a price.

    p cost(warm) + (1 - p) cost(cold)
    """
    if card.price is None:
        return float("nan")
    rates = price_at(card.price, input_tokens, service_tier=service_tier)
    cold = _cost(card, rates, input_tokens, 0, output_tokens, writes, ttl_s)
    if warmth.p <= 0.0:
        return cold
    cached = min(warmth.tokens, input_tokens)
    warm = _cost(card, rates, input_tokens, cached, output_tokens, writes, ttl_s)
    return warmth.p * warm + (1.0 - warmth.p) * cold


def likely_call_cost(
    card: ModelCard,
    input_tokens: int,
    warmth: Warmth,
    *,
    output_tokens: float,
    writes: bool,
    ttl_s: int = 300,
    service_tier: str | None = None,
) -> float:
    """Cost in US dollars in the likelier case: near the median, and below the mean where warm."""
    if card.price is None:
        return float("nan")
    rates = price_at(card.price, input_tokens, service_tier=service_tier)
    cached = min(warmth.tokens, input_tokens) if warmth.p >= 0.5 else 0
    return _cost(card, rates, input_tokens, cached, output_tokens, writes, ttl_s)


def _written(card: ModelCard, input_tokens: int, cached: int, writes: bool) -> int:
    if not writes or card.capabilities.caching == "none" or input_tokens < card.min_cache_tokens:
        return 0
    return input_tokens - cached


def _cost(
    card: ModelCard,
    rates: Rates,
    input_tokens: int,
    cached: int,
    output_tokens: float,
    writes: bool,
    ttl_s: int,
) -> float:
    written = _written(card, input_tokens, cached, writes)
    for_an_hour = written if ttl_s >= HOUR_S else 0
    return cost_at(rates, input_tokens, cached, written, for_an_hour, output_tokens)
