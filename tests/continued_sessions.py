"""A session that goes on call by call, with a cache for each model and bills as providers make."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct, structs

from router_model.continuation import Option
from router_model.economics import GAP_EDGES_S, PRIOR, CacheFacts, Economics, Horizon
from router_model.pricing import call_cost
from router_model.types import Capabilities, ModelCard, PriceCard, PriceTier, Usage

ALWAYS = tuple(1.0 for _ in GAP_EDGES_S)


def card(
    name: str = "m",
    *,
    price: PriceCard | None = None,
    caching: str = "automatic",
    least: int = 1024,
    ttl_s: int = 300,
    block: int = 1,
) -> ModelCard:
    return ModelCard(
        id=name, provider="p", snapshot=name, family=name, context_window=10**6,
        max_output_tokens=10**4, price=price or PriceCard(input=3.0, output=15.0, cache_read=0.3),
        capabilities=Capabilities(caching=caching),  # type: ignore[arg-type]
        min_cache_tokens=least, cache_ttl_s=ttl_s, cache_block_tokens=block,
    )  # fmt: skip


CHEAP = PriceCard(input=0.5, output=2.0, cache_read=0.05)
DEAR = PriceCard(input=5.0, output=25.0, cache_read=0.5, cache_write=6.25)
TIERED = PriceCard(
    input=2.0, output=12.0, cache_read=0.2,
    tiers=(PriceTier(above_input_tokens=30_000, input=4.0, output=18.0, cache_read=0.4),),
)  # fmt: skip


def option(name: str = "m", **changes: object) -> Option:
    shown = {"price", "caching", "least", "ttl_s", "block"}
    of_card = {key: value for key, value in changes.items() if key in shown}
    own = {key: value for key, value in changes.items() if key not in shown}
    made = Option(
        card=card(name, **of_card),  # type: ignore[arg-type]
        p_adequate=0.8,
        input_tokens=20_000,
        output_tokens=300.0,
    )
    return structs.replace(made, **own)


def economics(*, p_hit: float = 1.0, growth: float = 500.0, gaps: object = ALWAYS) -> Economics:
    return structs.replace(
        PRIOR, growth_tokens=growth, gaps=gaps, any_cache=CacheFacts(p_hit=p_hit, n=0)
    )


def fixed(n_turns: int) -> Horizon:
    n = float(n_turns)
    return Horizon(turns=n, low=n, high=n, second=n * (n + 1) / 2, p_any=float(n > 0))


def horizon_of(lengths: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Horizon:
    """The horizon of a sample of lengths."""
    mean = float(lengths.mean())
    return Horizon(
        turns=mean, low=mean, high=mean,
        second=float((lengths * (lengths + 1) / 2).mean()), p_any=float((lengths >= 1).mean()),
    )  # fmt: skip


def drawn_gap(known: Economics, rng: np.random.Generator) -> float:
    """Seconds to the next call, so that P(gap <= s) is what `p_within` says."""
    share = float(rng.random())
    place = bisect_left(known.gaps, share)
    if place == len(GAP_EDGES_S):
        return float("inf")
    low, at_low = (GAP_EDGES_S[place - 1], known.gaps[place - 1]) if place else (0.0, 0.0)
    return low + (GAP_EDGES_S[place] - low) * (share - at_low) / (known.gaps[place] - at_low)


class Memory(Struct):
    """What a model's cache holds of the session."""

    tokens: int
    age_s: float


def bill(
    options: Sequence[Option],
    plan: Sequence[int],
    known: Economics,
    *,
    failure: float = 0.0,
    gap: Callable[[], float] = lambda: 0.5,
    is_found: Callable[[float], bool] = lambda p: p > 0.0,
) -> float:
    """Dollars of the calls after the first; `plan` says who answers the first and all others."""
    memories = {
        place: Memory(o.warm_tokens, o.age_s) for place, o in enumerate(options) if o.warm_tokens
    }
    memories[plan[0]] = Memory(options[plan[0]].input_tokens, 0.0)
    total = 0.0
    for turn, place in enumerate(plan[1:], start=1):
        waited = gap()
        for memory in memories.values():
            memory.age_s += waited
        who = options[place]
        tokens = who.input_tokens + turn * int(known.growth_tokens)
        cached = _cached(who, memories.get(place), known, is_found)
        keeps = who.is_kept and who.card.capabilities.caching != "none"
        usage = Usage(
            input_tokens=tokens,
            cached_tokens=cached,
            cache_write_tokens=(
                tokens - cached if keeps and tokens >= who.card.min_cache_tokens else 0
            ),
            output_tokens=int(who.output_tokens),
        )
        assert who.card.price is not None
        total += call_cost(who.card.price, usage) + (1.0 - who.p_adequate) * failure
        memories[place] = Memory(tokens, 0.0)
    return total


def _cached(
    who: Option, memory: Memory | None, known: Economics, is_found: Callable[[float], bool]
) -> int:
    if memory is None or not who.is_kept or who.card.capabilities.caching == "none":
        return 0
    ttl_s = who.card.cache_ttl_s if who.ttl_s is None else who.ttl_s
    p = who.p_warm if who.warm_tokens else known.cache_of(who.card.id).p_hit
    is_alive = memory.age_s <= ttl_s and memory.tokens >= who.card.min_cache_tokens
    return memory.tokens if is_alive and is_found(p) else 0
