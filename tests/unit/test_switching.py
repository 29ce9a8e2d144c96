import numpy as np
import pytest
from continued_sessions import CHEAP, DEAR, TIERED, bill, economics, fixed, horizon_of, option
from msgspec import structs

from router_model.continuation import Option, turns_of
from router_model.economics import NO_HORIZON, PRIOR, CacheFacts, Horizon
from router_model.pricing import expected_cost
from router_model.switching import NOTHING_LATER, futures, later_costs
from router_model.types import PriceCard, ServiceTier, StepType

KNOWN = economics()


def now_and_later(options: list[Option], n_turns: int) -> list[float]:
    """Dollars of this call and of what it costs later, by option."""
    later = later_costs(options, horizon=fixed(n_turns), economics=KNOWN)
    costs = []
    for one, after in zip(options, later, strict=True):
        assert one.card.price is not None
        price = one.card.price
        warm = int(one.warm_tokens * one.p_warm)
        cost = expected_cost(
            price,
            input_tokens=one.input_tokens,
            cached_tokens=warm,
            cache_write_tokens=one.input_tokens - warm,
            output_tokens=one.output_tokens,
        )
        costs.append(cost + after.cost_usd)
    return costs


def warm_dear_and_cold_cheap(tokens: int) -> list[Option]:
    half = PriceCard(input=2.5, output=12.5, cache_read=0.25, cache_write=3.125)
    dear = option("dear", price=DEAR, input_tokens=tokens, warm_tokens=tokens, p_warm=1.0)
    return [dear, option("cheap", price=half, input_tokens=tokens)]


def test_a_cheaper_model_wins_over_a_warm_prefix_with_enough_turns_to_come() -> None:
    stay, switch = now_and_later(warm_dear_and_cold_cheap(100_000), 40)
    assert switch < stay


def test_it_does_not_with_one_turn_to_come() -> None:
    stay, switch = now_and_later(warm_dear_and_cold_cheap(100_000), 1)
    assert stay < switch


def test_the_turns_to_come_decide_once() -> None:
    wins = [
        switch < stay
        for switch, stay in (
            now_and_later(warm_dear_and_cold_cheap(100_000), n)[::-1] for n in range(60)
        )
    ]
    assert wins == sorted(wins)
    assert wins[0] is False


def test_a_return_within_the_lifetime_costs_what_was_added() -> None:
    was = option("was", price=DEAR, warm_tokens=20_000, p_warm=1.0, age_s=10.0)
    one_off = option("one-off", price=TIERED, caching="none", output_tokens=3_000.0)
    found = later_costs([was, one_off], horizon=fixed(8), economics=KNOWN)
    assert [one.continues_with for one in found] == ["was", "was"]
    assert found[1].cost_usd == pytest.approx(0.0, abs=1e-12)
    # Of a shorter prefix the rest has to be written again.
    shorter = structs.replace(was, warm_tokens=18_000)
    found = later_costs([shorter, one_off], horizon=fixed(8), economics=KNOWN)
    assert found[1].cost_usd == pytest.approx(2_000 * (6.25 - 0.5) / 1e6)


def test_a_return_may_come_too_late() -> None:
    gaps = (0.0,) * 8 + (0.5, 1.0, 1.0, 1.0)  # half of them within 300 s, all within 600 s
    known = structs.replace(economics(), gaps=gaps)
    was = option("was", price=DEAR, warm_tokens=20_000, p_warm=1.0, age_s=210.0)
    one_off = option("one-off", price=DEAR, caching="none", p_adequate=0.1)
    found = later_costs([was, one_off], horizon=fixed(1), economics=known, min_adequacy=0.5)
    # Staying, the prefix is warm within 300 s (one half); after a detour within 90 s (none).
    assert known.p_within(90.0) == 0.0
    assert found[1].cost_usd == pytest.approx(0.5 * 20_000 * (6.25 - 0.5) / 1e6)


def test_a_model_without_cache_pays_plain_input_every_turn() -> None:
    plain = option("plain", price=CHEAP, caching="none")
    found = futures([plain], horizon=fixed(3), economics=KNOWN)[0].cost_usd
    tokens = 3 * 20_000 + 500 * (1 + 2 + 3)
    assert found == pytest.approx((tokens * 0.5 + 3 * 300 * 2.0) / 1e6)
    unmarked = option("plain", price=CHEAP, caching="marked", is_kept=False)
    assert futures([unmarked], horizon=fixed(3), economics=KNOWN)[0].cost_usd == found


def test_a_surcharge_counts_from_the_turn_that_passes_its_threshold() -> None:
    passing = option("passing", price=TIERED, input_tokens=29_000)
    before, at, after = (
        futures([passing], horizon=fixed(n), economics=KNOWN)[0].cost_usd for n in (1, 2, 3)
    )
    assert at - before == pytest.approx((29_500 * 0.2 + 500 * 2.0 + 300 * 12.0) / 1e6)
    assert after - at == pytest.approx((30_000 * 0.4 + 500 * 4.0 + 300 * 18.0) / 1e6)


def test_a_prefix_becomes_long_enough_to_be_kept() -> None:
    short = option("short", price=DEAR, least=4_096, input_tokens=3_000)
    found = futures([short], horizon=fixed(6), economics=KNOWN)[0].cost_usd
    assert found == pytest.approx(bill([short], [0] * 7, KNOWN))


def test_misses_are_paid_for() -> None:
    one = [option("m", price=DEAR)]
    sure = futures(one, horizon=fixed(1), economics=KNOWN)[0].cost_usd
    known = structs.replace(KNOWN, caches={"m": CacheFacts(p_hit=0.6, n=9)})
    found = futures(one, horizon=fixed(1), economics=known)[0].cost_usd
    assert found - sure == pytest.approx(0.4 * 20_000 * (6.25 - 0.5) / 1e6)


def test_the_session_s_own_hit_rate_counts_more_than_the_model_s() -> None:
    known = structs.replace(KNOWN, caches={"m": CacheFacts(p_hit=0.6, n=9)})
    warm = [option("m", price=DEAR, warm_tokens=20_000, p_warm=1.0)]
    assert (
        futures(warm, horizon=fixed(5), economics=known)[0].cost_usd
        == futures(warm, horizon=fixed(5), economics=KNOWN)[0].cost_usd
    )


def test_an_hour_s_cache_is_written_at_its_price() -> None:
    price = structs.replace(DEAR, cache_write_1h=10.0)
    found = [
        futures([option("m", price=price, **kept)], horizon=fixed(1), economics=KNOWN)[0].cost_usd
        for kept in ({}, {"ttl_s": 3_600})
    ]
    assert found[1] - found[0] == pytest.approx(500 * (10.0 - 6.25) / 1e6)


def test_a_service_tier_is_priced() -> None:
    flex = ServiceTier(
        name="flex", input=0.25, output=1.0, cache_read=0.025, max_input_tokens=21_000
    )
    one = [option("m", price=structs.replace(CHEAP, service_tiers=(flex,)))]
    standard, cheaper = (
        [
            futures(one, horizon=fixed(n), economics=KNOWN, service_tier=name)[0].cost_usd
            for n in (2, 3)
        ]
        for name in (None, "flex")
    )
    assert cheaper[0] == pytest.approx(standard[0] / 2)
    # The third call is too long for it.
    assert cheaper[1] - cheaper[0] == pytest.approx(standard[1] - standard[0])


def test_tokens_grow_as_the_model_counts_them() -> None:
    known = structs.replace(KNOWN, token_ratios={"m": 1.5})
    found = futures([option("m", price=CHEAP)], horizon=fixed(4), economics=known)
    grown = structs.replace(KNOWN, growth_tokens=750.0)
    assert found == futures([option("m", price=CHEAP)], horizon=fixed(4), economics=grown)


def test_only_adequate_models_are_gone_on_with() -> None:
    options = [
        option("weak", price=CHEAP, p_adequate=0.3),
        option("able", price=DEAR, p_adequate=0.9),
        option("abler", price=DEAR, p_adequate=0.95, warm_tokens=20_000, p_warm=1.0),
    ]
    for threshold, expected in ((None, "weak"), (0.0, "weak"), (0.5, "abler"), (2.0, "abler")):
        found = later_costs(options, horizon=fixed(9), economics=KNOWN, min_adequacy=threshold)
        assert found[0].continues_with == expected
    # What is inadequate costs its detour: the prefix that the adequate one could have kept.
    found = later_costs(options[:2], horizon=fixed(9), economics=KNOWN, min_adequacy=0.5)
    assert found[0].cost_usd == pytest.approx(20_000 * (6.25 - 0.5) / 1e6)
    assert found[1].cost_usd == 0.0


def test_failures_decide_what_to_go_on_with_where_total_cost_decides() -> None:
    options = [
        option("weak", price=CHEAP, p_adequate=0.3),
        option("able", price=DEAR, p_adequate=0.95),
    ]
    for failure, expected in ((0.0, "weak"), (0.25, "able")):
        found = later_costs(options, horizon=fixed(9), economics=KNOWN, failure_cost_usd=failure)
        assert {one.continues_with for one in found} == {expected}


def test_nothing_to_come_costs_nothing() -> None:
    options = [option("a"), option("b", price=DEAR)]
    assert later_costs(options, horizon=NO_HORIZON, economics=PRIOR) == (NOTHING_LATER,) * 2
    assert later_costs([], horizon=fixed(3), economics=PRIOR) == ()


def test_a_model_without_a_price_is_not_gone_on_with() -> None:
    free = option("unknown")
    free = structs.replace(free, card=structs.replace(free.card, price=None))
    found = later_costs([free, option("m")], horizon=fixed(3), economics=KNOWN)
    assert found[0].continues_with == "m"
    assert found[0].cost_usd > 0.0
    assert later_costs([free], horizon=fixed(3), economics=KNOWN) == (NOTHING_LATER,)


def test_the_interval_is_that_of_the_horizon() -> None:
    horizon = PRIOR.horizon(StepType.MAIN, 0)
    options = [
        option("dear", price=DEAR, warm_tokens=20_000, p_warm=1.0, p_adequate=0.9),
        option("cheap", price=CHEAP, p_adequate=0.9),
    ]
    certain = structs.replace(horizon, low=horizon.turns, high=horizon.turns)
    for one in later_costs(options, horizon=certain, economics=PRIOR, with_interval=True):
        assert one.low_usd == pytest.approx(one.cost_usd)
        assert one.high_usd == pytest.approx(one.cost_usd)
    nothing = structs.replace(horizon, low=0.0)
    found = later_costs(options, horizon=nothing, economics=PRIOR, with_interval=True)
    assert all(one.low_usd == 0.0 for one in found)
    (_, plain) = later_costs(options, horizon=nothing, economics=PRIOR)
    assert plain.low_usd == plain.cost_usd == plain.high_usd
    assert found[0].cost_usd > 0.0


def test_a_horizon_below_one_turn() -> None:
    half = Horizon(turns=0.5, low=0.2, high=0.9, second=0.5, p_any=0.5)
    whole = fixed(1)
    options = [option("m", price=DEAR), option("n", price=CHEAP)]
    a, b = (futures(options, horizon=h, economics=KNOWN) for h in (half, whole))
    for one, other in zip(a, b, strict=True):
        assert one.cost_usd == pytest.approx(0.5 * other.cost_usd)


@pytest.mark.parametrize("mean", [1.5, 8.0, 40.0])
def test_the_values_of_a_horizon_have_its_moments(mean: float) -> None:
    lengths = np.random.default_rng(0).geometric(1.0 / (mean + 1.0), 5_000) - 1
    horizon = horizon_of(lengths)
    turns = turns_of(horizon, horizon.turns)
    assert (turns.sum, turns.weighted) == pytest.approx((horizon.turns, horizon.second))
    assert turns.p_any == pytest.approx(horizon.p_any)
    assert all(n >= 1.0 and weight >= 0.0 for weight, n in turns.points)
    assert turns.most == max(n for _, n in turns.points)


@pytest.mark.parametrize("tokens", [12_000, 16_000, 20_000, 24_000, 27_000, 29_400])
@pytest.mark.parametrize("mean", [8.0, 24.0])
def test_a_surcharge_that_some_lengths_reach(tokens: int, mean: float) -> None:
    lengths = np.random.default_rng(0).geometric(1.0 / (mean + 1.0), 5_000) - 1
    one = [option("m", price=TIERED, input_tokens=tokens)]
    found = futures(one, horizon=horizon_of(lengths), economics=KNOWN)[0].cost_usd
    by_length = [
        futures(one, horizon=fixed(n), economics=KNOWN)[0].cost_usd
        for n in range(int(lengths.max()) + 1)
    ]
    exact = float(np.array(by_length)[lengths].mean())
    assert found == pytest.approx(exact, rel=0.03)


def test_a_model_that_answered_can_not_be_come_to_from_elsewhere() -> None:
    """Where reading a cache is dearer than not to have one, staying costs what it costs."""
    odd = [option("odd", price=PriceCard(input=1.0, output=5.0, cache_read=2.0))]
    found = futures(odd, horizon=fixed(4), economics=KNOWN)[0].cost_usd
    assert found == pytest.approx(bill(odd, [0] * 5, KNOWN))


def test_failures_do_not_count_under_a_threshold() -> None:
    options = [option("a", price=CHEAP, p_adequate=0.7), option("b", price=DEAR, p_adequate=0.9)]
    with_and_without = [
        futures(
            options, horizon=fixed(9), economics=KNOWN, min_adequacy=0.5, failure_cost_usd=failure
        )
        for failure in (0.0, 1.0)
    ]
    assert with_and_without[0] == with_and_without[1]


def test_a_session_does_not_go_on_with_a_model_that_it_outgrows() -> None:
    cheap = option("cheap", price=CHEAP)
    full = structs.replace(cheap, card=structs.replace(cheap.card, context_window=20_400))
    wide = option("wide", price=DEAR)
    found = later_costs([full, wide], horizon=fixed(5), economics=KNOWN)
    assert [one.continues_with for one in found] == ["wide", "wide"]
    # What it answers now is then written by the other.
    assert found[0].cost_usd == pytest.approx(20_000 * (6.25 - 0.5) / 1e6)
    assert later_costs([full], horizon=fixed(5), economics=KNOWN)[0].continues_with == "cheap"
