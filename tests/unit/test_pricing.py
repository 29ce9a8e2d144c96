from decimal import Decimal
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from router_model.pricing import (
    call_cost,
    call_cost_microusd,
    cost_parts,
    expected_cost,
    price_at,
    worst_case_cost,
)
from router_model.types import PriceCard, PriceTier, ServiceTier, Usage

LONG = PriceTier(above_input_tokens=200_000, input=6.0, output=22.5, cache_read=0.6)
PRICE = PriceCard(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75, tiers=(LONG,))


def test_a_call_costs_uncached_cached_written_and_output_tokens() -> None:
    cost = expected_cost(
        PRICE,
        input_tokens=100_000,
        cached_tokens=60_000,
        cache_write_tokens=30_000,
        output_tokens=1,
    )
    # (10,000 at 3 + 60,000 at 0.3 + 30,000 at 3.75 + 1 at 15) / 10^6
    assert cost == pytest.approx(0.03 + 0.018 + 0.1125 + 0.000015, rel=1e-12)


def test_a_missing_cache_price_is_the_input_price() -> None:
    plain = PriceCard(input=2.0, output=8.0)
    cost = expected_cost(
        plain, input_tokens=1_000, cached_tokens=500, cache_write_tokens=500, output_tokens=0
    )
    assert cost == pytest.approx(0.002)


def test_the_whole_call_is_priced_at_the_tier_once_its_input_exceeds_the_threshold() -> None:
    at = expected_cost(PRICE, input_tokens=200_000, output_tokens=1_000)
    above = expected_cost(PRICE, input_tokens=200_001, output_tokens=1_000)
    assert at == pytest.approx(0.615)
    assert above == pytest.approx(200_001 * 6e-6 + 0.0225)


def test_cached_tokens_count_towards_the_threshold() -> None:
    cost = expected_cost(PRICE, input_tokens=250_000, cached_tokens=240_000, output_tokens=0)
    assert cost == pytest.approx(10_000 * 6e-6 + 240_000 * 0.6e-6)


def test_the_highest_tier_exceeded_holds() -> None:
    longer = PriceTier(above_input_tokens=500_000, input=9.0, output=30.0)
    price = PriceCard(input=3.0, output=15.0, tiers=(LONG, longer))
    assert [price_at(price, n).input for n in (1, 200_001, 500_000, 500_001)] == [
        3.0,
        6.0,
        6.0,
        9.0,
    ]


def test_usage_that_claims_more_cached_than_input_is_not_negative() -> None:
    cost = expected_cost(PRICE, input_tokens=10, cached_tokens=100, output_tokens=0)
    assert cost == pytest.approx(100 * 0.3e-6)


def test_the_worst_case_writes_all_input_to_the_cache_and_uses_all_output() -> None:
    cost = worst_case_cost(PRICE, input_tokens=100_000, max_output_tokens=10_000)
    assert cost == pytest.approx(0.375 + 0.15)


def test_a_free_model_costs_nothing() -> None:
    free = PriceCard(input=0.0, output=0.0)
    assert expected_cost(free, input_tokens=1_000_000, output_tokens=1_000.0) == 0.0
    assert worst_case_cost(free, input_tokens=1_000_000, max_output_tokens=1_000) == 0.0


def test_a_write_for_an_hour_has_its_own_price_or_that_of_any_write() -> None:
    price = PriceCard(input=3.0, output=15.0, cache_write=3.75, cache_write_1h=6.0)
    written = partial(expected_cost, input_tokens=1_000, cache_write_tokens=900, output_tokens=0.0)
    # 100 at 3, 500 at 3.75, 400 at 6
    cost = written(price, cache_write_1h_tokens=400)
    assert cost == pytest.approx((300 + 1_875 + 2_400) / 1e6, rel=1e-12)
    assert written(PRICE, cache_write_1h_tokens=900) == pytest.approx(written(PRICE), rel=1e-12)


def test_a_service_tier_changes_all_prices_and_an_unknown_one_none() -> None:
    flex = ServiceTier(name="flex", input=1.5, output=7.5, cache_read=0.15, cache_write=1.875)
    price = replace(PRICE, service_tiers=(flex,))
    usage = Usage(
        input_tokens=10_000, cached_tokens=4_000, cache_write_tokens=1_000, output_tokens=300
    )
    assert call_cost(price, usage, service_tier="flex") == pytest.approx(
        call_cost(price, usage) / 2, rel=1e-12
    )
    for name in (None, "auto", "default", "priority"):
        assert call_cost(price, usage, service_tier=name) == call_cost(PRICE, usage)


def test_a_service_tier_changes_the_prices_of_a_long_context_in_the_same_ratio() -> None:
    batch = ServiceTier(name="batch", input=1.5, output=7.5)
    rates = price_at(replace(PRICE, service_tiers=(batch,)), 300_000, service_tier="batch")
    # the tier's cache read is its input price, 1.5 for 0.3; so a long one's is 3 for 0.6
    assert (rates.input, rates.output, rates.cache_read) == (3.0, 11.25, 3.0)


def test_a_service_tier_that_serves_no_long_calls_leaves_them_at_the_standard_price() -> None:
    tier = ServiceTier(name="priority", input=6.0, output=30.0, max_input_tokens=200_000)
    price = replace(PRICE, service_tiers=(tier,))
    assert price_at(price, 200_000, service_tier="priority").input == 6.0
    assert price_at(price, 200_001, service_tier="priority") == LONG


def test_free_rates_stay_free_in_a_service_tier() -> None:
    tier = PriceTier(above_input_tokens=10, input=0.0, output=2.0)
    flex = ServiceTier(name="flex", input=0.0, output=0.5)
    price = PriceCard(input=0.0, output=1.0, tiers=(tier,), service_tiers=(flex,))
    rates = price_at(price, 11, service_tier="flex")
    assert (rates.input, rates.output) == (0.0, 1.0)


@pytest.mark.parametrize("input_tokens", [0, 150_000, 200_001])
@pytest.mark.parametrize("service_tier", [None, "batch"])
def test_the_parts_of_a_cost_add_up(input_tokens: int, service_tier: str | None) -> None:
    batch = ServiceTier(name="batch", input=1.5, output=7.5, cache_read=0.15, cache_write=1.875)
    price = replace(PRICE, service_tiers=(batch,))
    usage = Usage(
        input_tokens=input_tokens,
        cached_tokens=input_tokens // 2,
        cache_write_tokens=input_tokens // 4,
        output_tokens=700,
    )
    parts = cost_parts(price, usage, service_tier=service_tier)
    total = parts.uncached + parts.cache_read + parts.cache_write + parts.output + parts.surcharge
    assert total == pytest.approx(call_cost(price, usage, service_tier=service_tier), rel=1e-12)
    assert (parts.surcharge > 0.0) == (input_tokens > 200_000)
    assert parts.output == pytest.approx((7.5 if service_tier else 15.0) * 700 / 1e6)


def test_the_surcharge_is_what_the_long_context_adds_over_the_base_rates() -> None:
    parts = cost_parts(PRICE, Usage(input_tokens=300_000, output_tokens=1_000))
    assert (parts.uncached, parts.output) == pytest.approx((0.9, 0.015))
    assert parts.surcharge == pytest.approx(0.9 + 0.0075)


@given(
    rates=st.lists(st.decimals("0.001", "200", places=6), min_size=5, max_size=5),
    tokens=st.lists(st.integers(0, 2_000_000), min_size=5, max_size=5),
)
def test_micro_dollars_are_exact(rates: list[Decimal], tokens: list[int]) -> None:
    input_, output_, read, write, write_1h = rates
    price = PriceCard(
        input=float(input_),
        output=float(output_),
        cache_read=float(read),
        cache_write=float(write),
        cache_write_1h=float(write_1h),
    )
    uncached, cached, written, written_1h, output = tokens
    usage = Usage(
        input_tokens=uncached + cached + written + written_1h,
        cached_tokens=cached,
        cache_write_tokens=written + written_1h,
        cache_write_1h_tokens=written_1h,
        output_tokens=output,
    )
    exact = uncached * input_ + cached * read + written * write
    exact += written_1h * write_1h + output * output_
    billed = call_cost_microusd(price, usage)
    assert exact - Decimal("0.5") < billed <= exact + Decimal("0.5")
    assert call_cost(price, usage) * 1e6 == pytest.approx(float(exact), rel=1e-12)


def test_half_a_micro_dollar_is_rounded_up() -> None:
    price = PriceCard(input=0.5, output=1.0)
    assert [call_cost_microusd(price, Usage(input_tokens=n)) for n in (1, 2, 3, 5)] == [1, 1, 2, 3]


def test_reasoning_is_part_of_the_output_and_not_billed_again() -> None:
    plain = Usage(input_tokens=10, output_tokens=900)
    thought = Usage(input_tokens=10, output_tokens=900, reasoning_tokens=850)
    assert call_cost(PRICE, plain) == call_cost(PRICE, thought)


def test_the_worst_case_takes_the_dearest_write_and_the_dearer_service_tier() -> None:
    flex = ServiceTier(name="flex", input=1.0, output=1.0)
    fast = ServiceTier(name="fast", input=9.0, output=90.0)
    price = PriceCard(
        input=3.0, output=15.0, cache_write=3.75, cache_write_1h=6.0, service_tiers=(fast, flex)
    )
    worst = partial(worst_case_cost, price, input_tokens=1_000, max_output_tokens=100)
    assert worst() == pytest.approx(0.00375 + 0.0015)
    hour = worst(cache_write_1h_tokens=5_000)
    assert hour == pytest.approx(0.006 + 0.0015)
    assert worst(service_tier="fast") == pytest.approx(0.009 + 0.009)
    # flex may be full, and the call then be served at the standard price
    assert worst(service_tier="flex") == pytest.approx(0.00375 + 0.0015)
