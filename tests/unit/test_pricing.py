import pytest

from router_model.pricing import expected_cost, price_at, worst_case_cost
from router_model.types import PriceCard, PriceTier

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
