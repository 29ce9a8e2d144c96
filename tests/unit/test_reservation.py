from msgspec import structs

from router_model.cards import ModelCard, PriceCard
from router_model.reservation import reserved_microusd
from router_model.scoring import Asking
from router_model.types import Candidate

CARD = ModelCard(
    id="m",
    provider="p",
    snapshot="m",
    family="f",
    context_window=200_000,
    max_output_tokens=8_000,
    price=PriceCard(input=2.0, output=10.0, cache_read=0.2, cache_write=2.5, cache_write_1h=4.0),
)
CANDIDATE = Candidate(
    model="m",
    p_adequate=0.9,
    expected_cost=0.01,
    input_tokens=100_000,
    cached_tokens=90_000,
    output_tokens=300.0,
    tool_call_latency_ms=900.0,
)


def reserved(max_output_tokens: int | None = None, ttl_s: int | None = None) -> int:
    asking = Asking(cache_ttl_s=ttl_s)
    return reserved_microusd(CARD, CANDIDATE, asking=asking, max_output_tokens=max_output_tokens)


def test_all_of_the_prompt_is_written_and_all_of_the_answer_used() -> None:
    # 105,000 tokens with headroom at 2.5 and 8,000 at 10.
    assert reserved() == 105_000 * 2.5 + 8_000 * 10


def test_an_asked_limit_bounds_the_answer_and_the_models_own_limit_bounds_what_is_asked() -> None:
    assert reserved(1_000) == 105_000 * 2.5 + 1_000 * 10
    assert reserved(10**9) == reserved()


def test_a_cache_for_an_hour_is_reserved_at_its_price() -> None:
    assert reserved(ttl_s=3600) == 105_000 * 4 + 8_000 * 10
    assert reserved(ttl_s=300) == reserved()


def test_a_fraction_of_a_micro_dollar_is_a_whole_one() -> None:
    card = structs.replace(CARD, price=PriceCard(input=0.0, output=0.1))
    assert reserved_microusd(card, CANDIDATE, asking=Asking(), max_output_tokens=1) == 1


def test_a_model_without_a_price_reserves_nothing() -> None:
    bare = structs.replace(CARD, price=None)
    assert reserved_microusd(bare, CANDIDATE, asking=Asking(), max_output_tokens=1) == 0


def test_each_of_several_answers_may_be_as_long_as_one() -> None:
    asking = Asking(n_answers=3)
    most = reserved_microusd(CARD, CANDIDATE, asking=asking, max_output_tokens=1_000)
    assert most == 105_000 * 2.5 + 3 * 1_000 * 10
