"""What each provider publishes of its prices, with the shipped catalog, to the micro-dollar.

Every expected number is written out from the provider's page: prices per million tokens times
thousands of tokens are thousandths of a dollar.
"""

from datetime import date

import pytest

from router_data.price_sources import genai_model, genai_price
from router_data.prices import shipped_catalog
from router_model.pricing import call_cost_microusd
from router_model.types import PriceCard, Usage
from router_model.usage import usage_of

CARDS = shipped_catalog().models


def price_of(model: str) -> PriceCard:
    price = CARDS[model].price
    assert price is not None
    return price


def listed(provider: str, model: str) -> PriceCard:
    """A price that is not in the catalog, as genai-prices lists it for March 2026."""
    pytest.importorskip("genai_prices", reason="genai-prices is not installed (train extra)")
    dated = genai_price(genai_model(provider, model), on=date(2026, 3, 1))
    assert dated is not None
    return dated.price


def cost(model: str, usage: Usage, service_tier: str | None = None) -> int:
    return call_cost_microusd(price_of(model), usage, service_tier=service_tier)


def test_anthropic_writes_at_a_quarter_more_or_twice_and_reads_at_a_tenth() -> None:
    # Opus 4.6: 5 in, 6.25 and 10 written, 0.50 read, 25 out.
    written = {"input_tokens": 21, "cache_creation_input_tokens": 188_086, "output_tokens": 393}
    # 21 * 5 + 188,086 * 6.25 + 393 * 25
    assert cost("claude-opus-4-6", usage_of(written)) == 105 + 1_175_538 + 9_825
    hour = {**written, "cache_creation": {"ephemeral_1h_input_tokens": 188_086}}
    assert cost("claude-opus-4-6", usage_of(hour)) == 105 + 1_880_860 + 9_825
    read = {"input_tokens": 21, "cache_read_input_tokens": 188_086, "output_tokens": 393}
    assert cost("claude-opus-4-6", usage_of(read)) == 105 + 94_043 + 9_825


@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"])
def test_anthropics_multipliers_hold_for_the_models_that_state_them(model: str) -> None:
    price = price_of(model)
    assert price.cache_write == pytest.approx(1.25 * price.input, rel=1e-12)
    assert price.cache_write_1h == pytest.approx(2.0 * price.input, rel=1e-12)
    assert price.cache_read == pytest.approx(0.1 * price.input, rel=1e-12)


def test_anthropic_halves_a_batch() -> None:
    # Opus 5.5, the published example: 5,000 in and 800 out are $0.036, in a batch $0.018.
    usage = Usage(input_tokens=5_000, output_tokens=800)
    assert cost("claude-opus-5-5", usage) == 36_000
    assert cost("claude-opus-5-5", usage, "batch") == 18_000
    # Cache writes and reads are halved too: 1,000 * 2.5 + 9,000 * 0.1 + 1,000 * 4 (for an hour)
    usage = Usage(
        input_tokens=11_000,
        cached_tokens=9_000,
        cache_write_tokens=2_000,
        cache_write_1h_tokens=1_000,
    )
    assert cost("claude-opus-5-5", usage, "batch") == 2_500 + 900 + 4_000


def test_anthropic_charges_a_long_prompt_as_a_whole_and_counts_what_is_cached() -> None:
    # Haiku 5.5: 0.10/0.50 up to 100K, 0.50/2.50 above; in a batch 0.25/1.25 above.
    at = Usage(input_tokens=100_000, output_tokens=1_000)
    above = Usage(input_tokens=100_001, cached_tokens=100_000, output_tokens=1_000)
    assert cost("claude-haiku-5-5", at) == 10_000 + 500
    # 1 * 0.5 + 100,000 * 0.05 + 1,000 * 2.5 = 7,500.5
    assert cost("claude-haiku-5-5", above) == 7_501
    uncached = Usage(input_tokens=200_000, output_tokens=1_000)
    assert cost("claude-haiku-5-5", uncached, "batch") == 50_000 + 1_250


def test_anthropics_former_surcharge_above_200k() -> None:
    # Sonnet 4.5: 3/15 up to 200K; above 6/22.50, 7.50 and 12 written, 0.60 read.
    price = listed("anthropic", "claude-sonnet-4-5")
    usage = Usage(input_tokens=200_000, output_tokens=1_000)
    assert call_cost_microusd(price, usage) == 600_000 + 15_000
    usage = Usage(
        input_tokens=250_000,
        cached_tokens=200_000,
        cache_write_tokens=40_000,
        cache_write_1h_tokens=10_000,
        output_tokens=1_000,
    )
    # 10,000 * 6 + 200,000 * 0.6 + 30,000 * 7.5 + 10,000 * 12 + 1,000 * 22.5
    assert call_cost_microusd(price, usage) == 60_000 + 120_000 + 225_000 + 120_000 + 22_500


def test_anthropics_fast_mode() -> None:
    # Opus 4.6: 30/150; caching multiplies that: 37.50 and 60 written, 3 read.
    usage = Usage(
        input_tokens=4_000,
        cached_tokens=1_000,
        cache_write_tokens=2_000,
        cache_write_1h_tokens=1_000,
        output_tokens=100,
    )
    expected = 30_000 + 3_000 + 37_500 + 60_000 + 15_000
    assert cost("claude-opus-4-6", usage, "fast") == expected


def test_openais_cached_input_in_steps_of_128() -> None:
    # The guide's example: 2,006 tokens of which 1,920 = 15 * 128 cached. GPT-5.4: 2.50, 0.25, 15.
    said = {
        "prompt_tokens": 2_006,
        "completion_tokens": 300,
        "total_tokens": 2_306,
        "prompt_tokens_details": {"cached_tokens": 1_920},
    }
    assert 1_920 % CARDS["gpt-5.4"].cache_block_tokens == 0
    # 86 * 2.5 + 1,920 * 0.25 + 300 * 15
    assert cost("gpt-5.4", usage_of(said)) == 215 + 480 + 4_500


def test_openais_long_context_priority_batch_and_flex() -> None:
    # GPT-5.4 above 272K: twice the input, 1.5 times the output, for the whole call.
    at = Usage(input_tokens=272_000, output_tokens=1_000)
    above = Usage(input_tokens=272_001, cached_tokens=272_000, output_tokens=1_000)
    assert cost("gpt-5.4", at) == 680_000 + 15_000
    assert cost("gpt-5.4", above) == 5 + 136_000 + 22_500
    # Priority: 5, 0.50 cached, 30; long context is excluded and served as standard.
    short = Usage(input_tokens=10_000, cached_tokens=8_000, output_tokens=1_000)
    assert cost("gpt-5.4", short, "priority") == 10_000 + 4_000 + 30_000
    assert cost("gpt-5.4", above, "priority") == cost("gpt-5.4", above)
    # Batch and flex: half, with the cache discount on top; half of the long context's too.
    for tier in ("batch", "flex"):
        assert cost("gpt-5.4", short, tier) == 2_500 + 1_000 + 7_500
        assert cost("gpt-5.4", at, tier) == 340_000 + 7_500
        assert cost("gpt-5.4", above, tier) == 79_253  # 2.5 + 68,000 + 11,250 = 79,252.5


def test_openai_bills_cache_writes_since_gpt_5_6() -> None:
    # GPT-6.1 Terra: 1 in, 1.25 written, 0.05 read, 5 out.
    usage = Usage(
        input_tokens=25_000, cached_tokens=20_000, cache_write_tokens=4_000, output_tokens=400
    )
    assert cost("gpt-6.1-terra", usage) == 1_000 + 1_000 + 5_000 + 2_000


def test_gemini_reads_the_cache_at_a_tenth_and_bills_thoughts_as_output() -> None:
    # 3.8 Flash until the end of 2026: 0.75 in, 0.075 cached, 3.75 out and thinking.
    said = {
        "promptTokenCount": 60_000,
        "cachedContentTokenCount": 40_000,
        "candidatesTokenCount": 200,
        "thoughtsTokenCount": 1_800,
        "totalTokenCount": 62_000,
    }
    assert cost("gemini-3.8-flash", usage_of(said)) == 15_000 + 3_000 + 7_500
    # Batch and flex are half of it, except for what was already discounted by the cache.
    for tier in ("batch", "flex"):
        assert cost("gemini-3.8-flash", usage_of(said), tier) == 7_500 + 3_000 + 3_750


def test_geminis_surcharge_above_200k() -> None:
    # 3 Pro: 2/12 and 0.20 cached up to 200K; above 4/18 and 0.40.
    price = listed("google", "gemini-3-pro-preview")
    at = Usage(input_tokens=200_000, cached_tokens=150_000, output_tokens=500)
    above = Usage(input_tokens=200_001, cached_tokens=150_000, output_tokens=500)
    assert call_cost_microusd(price, at) == 100_000 + 30_000 + 6_000
    assert call_cost_microusd(price, above) == 200_004 + 60_000 + 9_000


def test_deepseek_tells_hits_from_misses() -> None:
    # V4 Pro in the dear hours: 1.32 missed, 0.044 hit, 3.96 out; hits in units of 64.
    said = {
        "prompt_tokens": 10_000,
        "prompt_cache_hit_tokens": 9_984,
        "prompt_cache_miss_tokens": 16,
        "completion_tokens": 1_000,
    }
    assert 9_984 % CARDS["deepseek-v4-pro"].cache_block_tokens == 0
    # 16 * 1.32 + 9,984 * 0.044 + 3,960 = 21.12 + 439.296 + 3,960
    assert cost("deepseek-v4-pro", usage_of(said)) == 4_420


def test_xai_bills_reasoning_beside_the_completion_and_a_long_context_twice() -> None:
    # Grok 4.7: 2, 0.50 cached, 6; long context 4, 1, 12.
    said = {
        "prompt_tokens": 125,
        "completion_tokens": 48,
        "total_tokens": 273,
        "prompt_tokens_details": {"cached_tokens": 98},
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    assert cost("grok-4.7", usage_of(said)) == 54 + 49 + 888
    usage = Usage(input_tokens=300_000, cached_tokens=200_000, output_tokens=1_000)
    assert cost("grok-4.7", usage) == 400_000 + 200_000 + 12_000


def test_mistral_reads_the_cache_at_a_tenth_and_halves_a_batch() -> None:
    # Large 4: 0.70, 0.07 cached, 2.10.
    usage = Usage(input_tokens=10_000, cached_tokens=9_000, output_tokens=1_000)
    assert cost("mistral-large-4", usage) == 700 + 630 + 2_100
    assert cost("mistral-large-4", usage, "batch") == 350 + 315 + 1_050


def test_kimis_batch_costs_three_fifths() -> None:
    usage = Usage(input_tokens=10_000, output_tokens=1_000)
    assert cost("kimi-k2.5", usage) == 6_000 + 3_000
    assert cost("kimi-k2.5", usage, "batch") == 3_600 + 1_800
