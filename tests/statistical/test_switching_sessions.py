"""Whole sessions, decided call by call: what counting later costs saves, by the bills."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from continued_sessions import Memory, drawn_gap, option
from msgspec import structs

from router_model.continuation import Option
from router_model.economics import PRIOR
from router_model.pricing import call_cost
from router_model.switching import later_costs
from router_model.types import PriceCard, StepType, Usage

pytestmark = pytest.mark.statistical

THRESHOLD = 0.6
# Each with its P(adequate) at an easy and at a hard call.
MODELS = (
    (option("small", price=PriceCard(input=1.0, output=5.0, cache_read=0.1, cache_write=1.25)),
     (0.8, 0.3)),
    (option("middle", price=PriceCard(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)),
     (0.9, 0.65)),
    (option("large", price=PriceCard(input=4.0, output=20.0, cache_read=0.2, cache_write=5.0)),
     (0.95, 0.9)),
)  # fmt: skip

# What is chosen among options with their expected costs now, given the last choice and the turn.
Policy = Callable[[Sequence[Option], Sequence[float], int | None, int], int]


def adequate(options: Sequence[Option]) -> list[int]:
    return [i for i, one in enumerate(options) if one.p_adequate >= THRESHOLD]


def cheapest_now(
    options: Sequence[Option], costs: Sequence[float], last: int | None, turn: int
) -> int:
    return min(adequate(options), key=lambda i: costs[i])


def sticky(options: Sequence[Option], costs: Sequence[float], last: int | None, turn: int) -> int:
    return last if last in adequate(options) else cheapest_now(options, costs, last, turn)


def with_later(
    options: Sequence[Option], costs: Sequence[float], last: int | None, turn: int
) -> int:
    step = StepType.TOOL_RESULT if turn else StepType.MAIN
    later = later_costs(
        options, horizon=PRIOR.horizon(step, turn), economics=PRIOR, min_adequacy=THRESHOLD
    )
    return min(adequate(options), key=lambda i: costs[i] + later[i].cost_usd)


def billed(one: Option, tokens: int, cached: int) -> float:
    assert one.card.price is not None
    usage = Usage(
        input_tokens=tokens,
        cached_tokens=cached,
        cache_write_tokens=tokens - cached,
        output_tokens=int(one.output_tokens),
    )
    return call_cost(one.card.price, usage)


def played(policy: Policy, *, seed: int, n_calls: int, share_hard: float) -> float:
    """Dollars of one session; hits, gaps and growth are drawn as `PRIOR` says."""
    rng = np.random.default_rng(seed)
    tokens, total, last = int(rng.integers(6_000, 30_000)), 0.0, None
    memories: dict[int, Memory] = {}
    for turn in range(n_calls):
        is_hard = bool(rng.random() < share_hard)
        options = []
        for place, (one, p) in enumerate(MODELS):
            known = memories.get(place)
            warm = known.tokens if known and known.age_s <= one.card.cache_ttl_s else 0
            options.append(
                structs.replace(
                    one,
                    p_adequate=p[is_hard],
                    input_tokens=tokens,
                    warm_tokens=warm,
                    p_warm=PRIOR.any_cache.p_hit if warm else 0.0,
                    age_s=known.age_s if known else 0.0,
                )
            )
        costs = [
            one.p_warm * billed(one, tokens, one.warm_tokens)
            + (1.0 - one.p_warm) * billed(one, tokens, 0)
            for one in options
        ]
        last = policy(options, costs, last, turn)
        is_found = bool(rng.random() < options[last].p_warm)
        total += billed(options[last], tokens, options[last].warm_tokens if is_found else 0)
        memories[last] = Memory(tokens, 0.0)
        waited = drawn_gap(PRIOR, rng)
        for memory in memories.values():
            memory.age_s += waited
        tokens += int(rng.exponential(PRIOR.growth_tokens))
    return total


@pytest.mark.parametrize("share_hard", [0.1, 0.3, 0.6])
def test_counting_later_costs_saves_money_over_whole_sessions(share_hard: float) -> None:
    """Although hard calls come and go, which the formula does not foresee."""
    lengths = 1 + np.random.default_rng(2).lognormal(3.3, 0.6, 200).astype(int)
    bills = {
        policy: np.array(
            [
                played(policy, seed=seed, n_calls=int(n), share_hard=share_hard)
                for seed, n in enumerate(lengths)
            ]
        )
        for policy in (cheapest_now, sticky, with_later)
    }
    for other in (cheapest_now, sticky):
        saved = bills[other] - bills[with_later]
        assert saved.mean() > 3.0 * saved.std() / np.sqrt(len(saved))


def test_nothing_is_lost_where_one_model_is_best_throughout() -> None:
    bills = [
        sum(played(policy, seed=seed, n_calls=30, share_hard=0.0) for seed in range(50))
        for policy in (cheapest_now, with_later)
    ]
    assert bills[0] == pytest.approx(bills[1])
