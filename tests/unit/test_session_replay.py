"""Bills of replayed sessions, computed by hand to the millionth of a dollar."""

import pytest
from recorded_samples import call, model, prepared, session

from router_model.cards import Capabilities, PriceCard, PriceTier
from router_model.economics import PRIOR
from router_model.features import extract
from router_model.types import Message, Part, Request
from router_training.session_ledger import Ledger
from router_training.session_policies import (
    RouterPolicy,
    fixed,
    greedy,
    greedy_with_caches,
    sticky,
    within_locks,
)
from router_training.session_replay import play, with_provider_state

READS = PriceCard(input=2.0, output=10.0, cache_read=0.2)
WRITES = PriceCard(input=4.0, output=20.0, cache_read=0.4, cache_write=5.0)


def test_the_prefix_is_read_while_it_lives() -> None:
    calls = [call(10_000), call(12_000), call(13_000, gap_s=301.0)]
    played = play(prepared([session(calls)], [model("a", READS)], [[[0.9]] * 3]), fixed(0))
    assert played.cost_microusd.tolist() == [
        10_000 * 2 + 100 * 10,
        2_000 * 2 + 10_000 * 2 // 10 + 100 * 10,
        13_000 * 2 + 100 * 10,
    ]
    assert played.cached_tokens.tolist() == [0, 10_000, 0]


def test_reading_renews_the_lifetime() -> None:
    calls = [call(10_000), call(10_000, gap_s=200.0), call(10_000, gap_s=200.0)]
    played = play(prepared([session(calls)], [model("a", READS)], [[[0.9]] * 3]), fixed(0))
    assert played.cached_tokens.tolist() == [0, 10_000, 10_000]


def test_what_is_new_is_written_at_the_price_of_writing() -> None:
    card = model("a", WRITES, capabilities=Capabilities(tools=True, caching="marked"))
    played = play(
        prepared([session([call(10_000), call(12_000)])], [card], [[[0.9]] * 2]), fixed(0)
    )
    assert played.cost_microusd.tolist() == [
        10_000 * 5 + 100 * 20,
        10_000 * 4 // 10 + 2_000 * 5 + 100 * 20,
    ]


def test_only_whole_blocks_are_kept() -> None:
    card = model("a", READS, cache_block_tokens=128)
    played = play(
        prepared([session([call(10_000), call(12_000)])], [card], [[[0.9]] * 2]), fixed(0)
    )
    assert played.cached_tokens.tolist() == [0, 9_984]


def test_a_short_prefix_is_not_kept() -> None:
    played = play(
        prepared([session([call(999), call(1_500)])], [model("a", READS)], [[[0.9]] * 2]),
        fixed(0),
    )
    assert played.cost_microusd.tolist() == [999 * 2 + 1_000, 1_500 * 2 + 1_000]


def test_a_tier_holds_for_the_whole_call() -> None:
    price = PriceCard(
        input=2.0,
        output=10.0,
        cache_read=0.2,
        tiers=(PriceTier(above_input_tokens=11_000, input=4.0, output=20.0, cache_read=0.4),),
    )

    card = model("a", price)
    played = play(
        prepared([session([call(10_000), call(12_000)])], [card], [[[0.9]] * 2]), fixed(0)
    )
    assert played.cost_microusd.tolist() == [
        21_000,
        2_000 * 4 + 10_000 * 4 // 10 + 100 * 20,
    ]


def test_a_model_that_comes_back_finds_its_own_prefix() -> None:
    cards = [model("a", READS), model("b", WRITES)]
    p = [[[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]]]
    replayed = prepared(
        [session([call(10_000), call(12_000), call(14_000)])], cards, p, min_adequacy=0.5
    )
    played = play(replayed, greedy)
    assert played.model.tolist() == [0, 1, 0]
    assert played.cached_tokens.tolist() == [0, 0, 10_000]
    assert played.cost_microusd.tolist() == [
        21_000,
        12_000 * 5 + 2_000,
        4_000 * 2 + 10_000 * 2 // 10 + 1_000,
    ]
    assert played.is_switch.tolist() == [False, True, True]
    assert not played.is_unsafe.any()


def test_a_rewritten_history_fits_no_prefix() -> None:
    calls = [call(10_000), call(5_000, is_rewritten=True), call(6_000)]
    played = play(prepared([session(calls)], [model("a", READS)], [[[0.9]] * 3]), fixed(0))
    assert played.cached_tokens.tolist() == [0, 0, 5_000]


def test_a_side_call_is_a_conversation_of_its_own() -> None:

    request = Request(
        messages=(Message(role="user", parts=(Part(kind="text", text="hello"),)),),
        system="You are a title generator. Respond with a short title.",
    )
    title = call(8_000, request=request, context=extract(request))
    assert title.step_type.is_side_call
    calls = [call(10_000), title, call(11_000)]
    cards = [model("a", READS), model("b", WRITES)]
    played = play(prepared([session(calls)], cards, [[[0.9, 0.9]] * 3]), fixed(0))
    assert played.cached_tokens.tolist() == [0, 0, 10_000]
    assert not played.is_switch.any()


def test_an_hour_is_written_at_its_own_price() -> None:
    price = PriceCard(input=4.0, output=20.0, cache_read=0.4, cache_write=5.0, cache_write_1h=8.0)
    card = model("a", price, long_cache_ttl_s=3_600)
    request = Request(
        messages=(Message(role="user", parts=(Part(kind="text", text="hello"),)),),
        cache_ttl_s=3_600,
    )
    ledger = Ledger()
    first = call(10_000, request=request, context=extract(request))
    second = call(12_000, gap_s=2_000.0, request=request, context=extract(request))
    ledger.arrive(first)
    assert ledger.take(card, first).cache_write_1h_tokens == 10_000
    ledger.arrive(second)
    assert ledger.take(card, second).cached_tokens == 10_000


def test_a_switch_away_from_kept_state_is_unsafe_and_the_router_does_not_make_it() -> None:
    cards = [model("a", READS), model("b", PriceCard(input=0.1, output=0.1))]
    calls = [call(10_000), call(10_500, is_result=True)]
    sessions = with_provider_state([session(calls)])
    replayed = prepared(sessions, cards, [[[0.9, 0.1], [0.9, 0.9]]], min_adequacy=0.5)
    assert play(replayed, greedy).is_unsafe.tolist() == [False, True]
    assert play(replayed, within_locks(greedy)).is_switch.tolist() == [False, False]
    assert play(replayed, RouterPolicy(PRIOR)).is_switch.tolist() == [False, False]


@pytest.mark.parametrize("policy", [sticky, greedy, greedy_with_caches, RouterPolicy(PRIOR)])
def test_policies_take_adequate_models_where_there_are_some(policy: object) -> None:
    cards = [model("a", READS), model("b", WRITES)]
    p = [[[0.4, 0.6], [0.6, 0.4], [0.2, 0.3]]]
    replayed = prepared([session([call(2_000)] * 3)], cards, p, min_adequacy=0.5)
    played = play(replayed, policy)  # type: ignore[arg-type]
    assert played.model.tolist() == [1, 0, 1]
    assert played.is_adequate.tolist() == [True, True, False]


def test_sticky_stays_and_greedy_switches_at_list_prices() -> None:
    cards = [
        model("a", PriceCard(input=1.0, output=10.0, cache_read=0.1)),
        model("b", PriceCard(input=1.1, output=1.0, cache_read=0.1)),
    ]
    calls = [
        call(20_000, output_tokens=100),
        call(21_000, output_tokens=500, is_result=True),
    ]
    replayed = prepared([session(calls)], cards, [[[0.9, 0.9]] * 2], min_adequacy=0.5)
    assert play(replayed, sticky).model.tolist() == [0, 0]
    assert play(replayed, greedy).model.tolist() == [0, 1]
    assert play(replayed, greedy_with_caches).model.tolist() == [0, 0]


def test_the_router_pays_now_for_what_is_cheaper_later() -> None:
    """Cold, b costs more for one call than a warm; over the calls to come it costs less."""
    cards = [
        model("a", PriceCard(input=4.0, output=10.0, cache_read=2.0)),
        model("b", PriceCard(input=4.0, output=10.0, cache_read=0.1)),
    ]
    calls = [call(20_000), *(call(20_500 + 500 * turn, is_result=True) for turn in range(12))]
    p = [[[0.9, 0.1], *([[0.9, 0.9]] * 12)]]
    replayed = prepared([session(calls)], cards, p, min_adequacy=0.5)
    ours, stays = play(replayed, RouterPolicy(PRIOR)), play(replayed, greedy_with_caches)
    assert stays.model.tolist() == [0] * 13
    assert ours.model.tolist() == [0] + [1] * 12
    assert ours.cost_microusd.sum() < stays.cost_microusd.sum()
