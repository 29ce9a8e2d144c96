"""What a model still has cached, how likely, and what a call then costs."""

from typing import Any

import pytest

from router_model.cards import Caching
from router_model.economics import CacheFacts
from router_model.session_view import Prefix
from router_model.types import Capabilities, ModelCard, PriceCard, ServiceTier
from router_model.warmth import (
    COLD,
    PRIOR_CALLS,
    Warmth,
    expected_call_cost,
    hit_probability,
    input_tokens_of,
    input_usages,
    likely_call_cost,
    warmth_of,
)

FACTS = CacheFacts(p_hit=0.9, n=500)
PRICE = PriceCard(
    input=3.0,
    output=15.0,
    cache_read=0.3,
    cache_write=3.75,
    cache_write_1h=6.0,
    service_tiers=(ServiceTier(name="batch", input=1.5, output=7.5),),
)


def card(*, caching: Caching = "automatic", **changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "id": "m",
        "provider": "p",
        "snapshot": "m",
        "family": "f",
        "context_window": 200_000,
        "max_output_tokens": 8_000,
        "capabilities": Capabilities(caching=caching),
        "price": PRICE,
    }
    return ModelCard(**fields | changes)


def prefix(tokens: int = 10_000, **changes: Any) -> Prefix:
    return Prefix(**{"tokens": tokens, "age_s": 10.0, "ttl_s": 300} | changes)


def warmth(
    held: Prefix | None, of: ModelCard | None = None, *, tokens: int = 12_000, marked: bool = False
) -> Warmth:
    return warmth_of(of or card(), held, input_tokens=tokens, facts=FACTS, is_marked=marked)


def test_the_prefix_is_warm_with_the_learned_probability() -> None:
    assert warmth(prefix()) == Warmth(10_000, 0.9)


@pytest.mark.parametrize(
    ("held", "of"),
    [
        (None, card()),
        (prefix(age_s=300.0), card()),
        (prefix(tokens=0), card()),
        (prefix(tokens=1_023), card()),
        (prefix(tokens=4_000), card(cache_block_tokens=4_096)),
        (prefix(), card(caching="none")),
        (prefix(), card(caching="marked")),
    ],
    ids=["never", "too old", "empty", "too short", "no block", "no cache", "not marked"],
)
def test_cold_is_what_is_not_there_too_old_too_short_or_not_cached(
    held: Prefix | None, of: ModelCard
) -> None:
    assert warmth(held, of) == COLD


def test_a_marked_call_reads_where_only_marked_prefixes_are_cached() -> None:
    assert warmth(prefix(), card(caching="marked"), marked=True).tokens == 10_000


def test_a_longer_lifetime_that_was_asked_for_keeps_an_older_prefix() -> None:
    assert warmth(prefix(age_s=3000.0, ttl_s=3600)).tokens == 10_000


def test_a_call_shorter_than_the_prefix_reads_no_more_than_itself() -> None:
    assert warmth(prefix(), tokens=7_000).tokens == 7_000
    assert warmth(prefix(), tokens=1_000) == COLD


@pytest.mark.parametrize(
    ("tokens", "read", "kept"),
    [
        (10_000, 0, 9_984),
        (10_000, 9_000, 9_896),
        (10_000, 10_000, 10_000),
        (10_000, 12_000, 10_000),
    ],
)
def test_blocks_are_counted_from_what_the_last_bill_showed(
    tokens: int, read: int, kept: int
) -> None:
    held = prefix(tokens, read_tokens=read)
    assert warmth(held, card(cache_block_tokens=128)).tokens == kept


def test_the_sessions_own_bills_move_the_probability() -> None:
    assert hit_probability(prefix(n_hits=10), FACTS) > 0.9
    missed = hit_probability(prefix(n_misses=10), FACTS)
    assert missed == pytest.approx(0.9 * PRIOR_CALLS / (PRIOR_CALLS + 10))
    assert hit_probability(prefix(n_misses=10_000), FACTS) < 0.01


def test_the_cases_of_a_call_say_what_is_read_and_what_is_written() -> None:
    (p, warm), (q, cold) = input_usages(
        card(), 12_000, Warmth(10_000, 0.9), output_tokens=300.4, writes=True
    )
    assert p == 0.9
    assert q == pytest.approx(0.1)
    assert (warm.input_tokens, warm.cached_tokens, warm.cache_write_tokens) == (
        12_000,
        10_000,
        2_000,
    )
    assert (cold.cached_tokens, cold.cache_write_tokens) == (0, 12_000)
    assert warm.output_tokens == cold.output_tokens == 300
    assert warm.cache_write_1h_tokens == 0


def test_a_write_for_an_hour_is_told_apart() -> None:
    ((_, cold),) = input_usages(card(), 5_000, COLD, output_tokens=0, writes=True, ttl_s=3600)
    assert cold.cache_write_1h_tokens == cold.cache_write_tokens == 5_000


@pytest.mark.parametrize("of", [card(min_cache_tokens=6_000), card(caching="none")])
def test_what_no_cache_takes_is_not_written(of: ModelCard) -> None:
    ((_, usage),) = input_usages(of, 5_000, COLD, output_tokens=0, writes=True)
    assert usage.cache_write_tokens == 0


def test_the_expected_cost_weighs_both_cases_and_the_likely_takes_one() -> None:
    # warm: 10,000 × 0.3 + 2,000 × 3.75 + 100 × 15 = 12,000; cold: 12,000 × 3.75 + 1,500 = 46,500
    given: dict[str, Any] = {"output_tokens": 100, "writes": True}
    expected = expected_call_cost(card(), 12_000, Warmth(10_000, 0.9), **given)
    assert expected == pytest.approx((0.9 * 12_000 + 0.1 * 46_500) / 1e6)
    assert likely_call_cost(card(), 12_000, Warmth(10_000, 0.9), **given) == pytest.approx(0.012)
    assert likely_call_cost(card(), 12_000, Warmth(10_000, 0.4), **given) == pytest.approx(0.0465)


def test_the_lifetime_and_the_service_tier_change_the_price() -> None:
    given: dict[str, Any] = {"output_tokens": 0, "writes": True}
    hour = expected_call_cost(card(), 10_000, COLD, ttl_s=3600, **given)
    assert hour == pytest.approx(0.06)
    batch = expected_call_cost(card(), 10_000, COLD, service_tier="batch", **given)
    assert batch == pytest.approx(0.015)


def test_a_cost_without_a_price_is_not_known() -> None:
    cost = expected_call_cost(card(price=None), 10_000, COLD, output_tokens=1, writes=False)
    assert cost != cost


def billed(tokens: int, estimated: int) -> Prefix:
    return prefix(billed_tokens=tokens, estimated_tokens=estimated)


def test_the_next_bill_is_the_last_one_and_what_was_added() -> None:
    # 3,000 tokens of framing that no estimate saw stay 3,000, whatever is said afterwards.
    assert input_tokens_of(billed(8_000, 5_000), 6_000, token_ratio=1.1) == 9_100


def test_a_shorter_call_is_billed_in_the_proportion_of_the_last() -> None:
    assert input_tokens_of(billed(8_000, 5_000), 2_500, token_ratio=1.1) == 4_000


@pytest.mark.parametrize("held", [None, prefix(), billed(0, 500), billed(500, 0)])
def test_without_a_bill_the_learned_ratio_is_all_there_is(held: Prefix | None) -> None:
    assert input_tokens_of(held, 1_000, token_ratio=1.2) == 1_200
    assert input_tokens_of(held, 0) == 1
