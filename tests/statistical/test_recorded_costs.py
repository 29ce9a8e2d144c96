"""Recorded bills of real sessions, reproduced to the micro-dollar from their tokens.

Where the record holds the cached tokens, the bill has to follow from the tokens alone. Where it
does not, the bill says how many there must have been; what is checked is that the number is a
whole one, no more than the input, and in the provider's steps: had the price been another, most
would not be.
"""

from datetime import date
from decimal import Decimal
from typing import Final

import pandas as pd
import pytest
from msgspec.structs import replace
from paths import DATA, requires_data

from router_data.price_sources import genai_model, genai_price
from router_model.pricing import call_cost_microusd
from router_model.types import PriceCard, Usage

pytest.importorskip("genai_prices", reason="genai-prices is not installed (train extra)")

GEMINI_STEPS: Final = DATA / "swebench_verified_mini" / "steps_gemini3pro.parquet"
TAU2_STEPS: Final = DATA / "tau2_bench" / "steps.parquet"
COLUMNS: Final = ["model", "input_tokens", "output_tokens", "cached_input_tokens", "cost_usd"]

# DeepSeek's list of V3.2; genai-prices still has that of V3.
DEEPSEEK_V3_2: Final = PriceCard(input=0.28, output=0.42, cache_read=0.028)


def listed(provider: str, model: str) -> PriceCard:
    """The list price in spring 2026, when the sessions were recorded."""
    dated = genai_price(genai_model(provider, model), on=date(2026, 4, 1))
    assert dated is not None
    return dated.price


def tau2(system: str) -> pd.DataFrame:
    """The billed steps of the systems whose name begins so."""
    steps = pd.read_parquet(TAU2_STEPS, columns=COLUMNS).dropna(subset=["cost_usd"])
    return steps.loc[steps.model.str.startswith(system)]


def is_billed(price: PriceCard, row: tuple[int, int, int], cost_usd: float) -> bool:
    """True where the price of (input, cached, output) is the bill, to half a micro-dollar."""
    usage = Usage(input_tokens=row[0], cached_tokens=row[1], output_tokens=row[2])
    billed = Decimal(repr(cost_usd)) * 1_000_000
    return abs(call_cost_microusd(price, usage) - billed) <= Decimal("0.5001")


def n_billed(steps: pd.DataFrame, price: PriceCard) -> int:
    rows = zip(
        steps.input_tokens.astype(int),
        steps.cached_input_tokens.fillna(0).astype(int),
        steps.output_tokens.astype(int),
        steps.cost_usd,
        strict=True,
    )
    return sum(is_billed(price, (n_in, cached, out), cost) for n_in, cached, out, cost in rows)


def n_explained(steps: pd.DataFrame, price: PriceCard, *, block: int) -> int:
    """Calls whose bill is the price with some whole number of blocks read from the cache."""
    assert price.cache_read is not None
    full = steps.input_tokens * price.input + steps.output_tokens * price.output
    cached = (full - steps.cost_usd * 1e6) / (price.input - price.cache_read)
    whole = cached.round()
    in_steps = (cached - whole).abs() < 1e-3
    in_steps &= (whole >= 0) & (whole <= steps.input_tokens) & (whole % block == 0)
    found = steps.loc[in_steps].assign(cached_input_tokens=whole.loc[in_steps])
    return n_billed(found, price)


@requires_data
def test_every_bill_of_the_gemini_3_pro_sessions_follows_from_its_tokens() -> None:
    columns = [*COLUMNS, "reasoning_tokens"]
    steps = pd.read_parquet(GEMINI_STEPS, columns=columns).dropna(subset=["cost_usd"])
    price = listed("google", "gemini-3-pro-preview")
    assert (price.input, price.cache_read, price.output) == (2.0, 0.2, 12.0)
    assert n_billed(steps, price) == len(steps) == 9_395
    # Thinking is billed as output, and the cache read most of the input of most calls.
    assert (steps.reasoning_tokens <= steps.output_tokens).all()
    assert (steps.cached_input_tokens > 0).mean() > 0.85


@requires_data
@pytest.mark.parametrize(
    ("system", "model", "n"),
    [
        ("claude-opus-4-6 [experimental_agent]", "claude-opus-4-6", 424),
        ("claude-opus-4-6 [llm_agent(json-reply variant)]", "claude-opus-4-6", 381),
        ("claude-sonnet-4-5", "claude-sonnet-4-5", 467),
        ("claude-sonnet-4-6 [ironforge]", "claude-sonnet-4-6", 91),
    ],
)
def test_bills_of_systems_that_did_not_cache_are_the_list_price(
    system: str, model: str, n: int
) -> None:
    steps = tau2(system)
    assert n_billed(steps, listed("anthropic", model)) == len(steps) == n


@requires_data
@pytest.mark.parametrize(
    ("system", "provider", "model", "block", "n"),
    [
        ("gpt-4.1", "openai", "gpt-4.1", 128, 682),
        ("gpt-5.4 [ironforge]", "openai", "gpt-5.4", 128, 98),
        ("gpt-5.4 [llm_agent(json-reply variant)]", "openai", "gpt-5.4", 128, 475),
        ("o3 [ironforge]", "openai", "o3", 128, 137),
        ("grok-3 [ironforge]", "x-ai", "grok-3", 1, 107),
    ],
)
def test_bills_without_recorded_cache_reads_show_them_in_the_providers_steps(
    system: str, provider: str, model: str, block: int, n: int
) -> None:
    steps = tau2(system)
    price = listed(provider, model)
    assert n_explained(steps, price, block=block) == len(steps) == n
    # The same bills under a price a little higher: chance alone explains few.
    other = replace(price, input=price.input * 1.01)
    assert n_explained(steps, other, block=block) < 0.1 * n


@requires_data
@pytest.mark.parametrize(
    ("systems", "price", "block", "n"),
    [
        # Both V3.2's list, in DeepSeek's units of 64.
        ("deepseek-chat", DEEPSEEK_V3_2, 64, 75),
        # The cache read of its first year; genai-prices knows only the later 0.03.
        ("gemini-2.5-flash", PriceCard(input=0.3, output=2.5, cache_read=0.075), 1, 700),
        # A tenth more for a data zone, but not for what was read from the cache.
        ("gpt-4o", PriceCard(input=2.75, output=11.0, cache_read=1.25), 128, 446),
    ],
)
def test_bills_at_another_price_than_the_list_of_genai_prices(
    systems: str, price: PriceCard, block: int, n: int
) -> None:
    steps = tau2(systems)
    assert n_explained(steps, price, block=block) == len(steps) == n


@requires_data
def test_a_cascade_named_after_its_strong_model_mostly_paid_the_weak_ones_price() -> None:
    steps = tau2("claude-opus-4-6 [adaptive_agent_cascata]")
    n_strong = n_billed(steps, listed("anthropic", "claude-opus-4-6"))
    assert (n_strong, n_billed(steps, DEEPSEEK_V3_2), len(steps)) == (20, 461, 481)
