"""Laws of what a choice costs later, and its formula against sessions billed call by call."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from continued_sessions import (
    CHEAP,
    DEAR,
    TIERED,
    bill,
    drawn_gap,
    economics,
    fixed,
    horizon_of,
    option,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from router_model.continuation import Option
from router_model.economics import GAP_EDGES_S, PRIOR, Economics, Horizon
from router_model.switching import futures, later_costs
from router_model.types import PriceCard, PriceTier, StepType

dollars = st.sampled_from([0.1, 0.5, 1.0, 2.0, 3.0, 5.0])


@st.composite
def prices(draw: st.DrawFn) -> PriceCard:
    base = draw(dollars)
    tier = PriceTier(
        above_input_tokens=draw(st.sampled_from([8_000, 20_000, 31_500])),
        input=2 * base,
        output=8 * base,
        cache_read=0.2 * base,
        cache_write=2.5 * base,
    )
    return PriceCard(
        input=base,
        output=5 * base,
        cache_read=0.1 * base,
        cache_write=draw(st.sampled_from([None, 1.25 * base])),
        tiers=draw(st.sampled_from([(), (tier,)])),
    )


@st.composite
def option_lists(draw: st.DrawFn, *, most: int = 5) -> list[Option]:
    tokens = draw(st.sampled_from([300, 3_000, 20_000, 120_000]))
    return [
        option(
            f"m{place}",
            price=draw(prices()),
            caching=draw(st.sampled_from(["none", "automatic", "marked"])),
            least=draw(st.sampled_from([1024, 4096])),
            is_kept=draw(st.booleans()),
            p_adequate=draw(st.floats(0.0, 1.0)),
            input_tokens=tokens,
            output_tokens=float(draw(st.integers(0, 3_000))),
            warm_tokens=(warm if (warm := draw(st.integers(0, tokens))) >= 4096 else 0),
            p_warm=1.0,
            age_s=draw(st.sampled_from([0.0, 100.0, 400.0])),
        )
        for place in range(draw(st.integers(1, most)))
    ]


def brute_force(
    options: Sequence[Option], n_turns: int, known: Economics, *, failure: float
) -> list[float]:
    """The least bill of staying or going on with another, by the model that answers now."""
    everyone = range(len(options))
    return [
        min(bill(options, (now, *[b] * n_turns), known, failure=failure) for b in everyone)
        for now in everyone
    ]


@given(option_lists(), st.integers(0, 12), st.sampled_from([0.0, 0.25]))
def test_futures_are_the_least_of_all_plans_when_nothing_is_left_to_chance(
    options: list[Option], n_turns: int, failure: float
) -> None:
    known = economics()
    found = futures(options, horizon=fixed(n_turns), economics=known, failure_cost_usd=failure)
    expected = brute_force(options, n_turns, known, failure=failure)
    assert [f.cost_usd for f in found] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(option_lists(most=3), st.integers(1, 4))
def test_futures_are_no_less_than_the_best_of_all_sequences(
    options: list[Option], n_turns: int
) -> None:
    known = economics()
    found = futures(options, horizon=fixed(n_turns), economics=known)
    everyone = range(len(options))
    for now, future in enumerate(found):
        best = min(bill(options, (now, *rest), known) for rest in product(everyone, repeat=n_turns))
        assert future.cost_usd >= best - 1e-12


def by_chance(
    options: Sequence[Option], lengths: Sequence[int], known: Economics, plan: tuple[int, int]
) -> tuple[float, float]:
    """Mean bill of a plan (now, later) and its standard error, over gaps, hits and lengths."""
    rng = np.random.default_rng(plan)
    bills = np.array(
        [
            bill(
                options, (plan[0], *[plan[1]] * n), known, failure=0.01,
                gap=lambda: drawn_gap(known, rng), is_found=lambda p: bool(rng.random() < p),
            )
            for n in lengths
        ]
    )  # fmt: skip
    return float(bills.mean()), float(bills.std() / np.sqrt(len(bills)))


def test_futures_are_those_of_sessions_left_to_chance() -> None:
    slow = tuple(min(1.0, 0.055 * (place + 1)) for place in range(len(GAP_EDGES_S)))
    known = economics(p_hit=0.8, gaps=(*slow[:-2], 0.9, 1.0))
    options = [
        option("now", price=DEAR, warm_tokens=19_000, p_warm=0.9, age_s=30.0, p_adequate=0.9),
        option("past", price=CHEAP, warm_tokens=12_000, p_warm=0.7, age_s=200.0),
        option("new", price=TIERED, input_tokens=20_000),
        option("plain", price=CHEAP, caching="none", p_adequate=0.7),
    ]
    lengths = np.random.default_rng(5).geometric(0.2, 2_000) - 1
    lengths = np.minimum(lengths, 18)  # within the tier of 30,000 tokens
    found = futures(options, horizon=horizon_of(lengths), economics=known, failure_cost_usd=0.01)
    for now, future in enumerate(found):
        plans = [by_chance(options, lengths.tolist(), known, (now, b)) for b in range(4)]
        mean, error = min(plans)
        assert abs(future.cost_usd - mean) < 4 * error, options[now].card.id


@given(option_lists(), st.sampled_from([0.0, 0.25]), st.sampled_from([None, 0.5, 0.9, 2.0]))
def test_later_costs_are_differences_within_their_interval(
    options: list[Option], failure: float, threshold: float | None
) -> None:
    horizon = PRIOR.horizon(StepType.TOOL_RESULT, 5)
    later = later_costs(
        options,
        horizon=horizon,
        economics=PRIOR,
        failure_cost_usd=failure,
        min_adequacy=threshold,
        with_interval=True,
    )
    assert min(one.cost_usd for one in later) == 0.0
    for one in later:
        assert 0.0 <= one.low_usd <= one.cost_usd <= one.high_usd
        assert one.continues_with in {o.card.id for o in options}


@given(option_lists())
def test_nothing_costs_later_where_nothing_comes_later(options: list[Option]) -> None:
    horizon = PRIOR.horizon(StepType.TITLE, 0)
    later = later_costs(options, horizon=horizon, economics=PRIOR, failure_cost_usd=1.0)
    assert [one.cost_usd for one in later] == [0.0] * len(options)


@given(prices(), st.integers(2, 6), st.integers(0, 40), st.sampled_from([0, 5_000, 20_000]))
def test_models_of_one_price_and_warmth_cost_the_same_later(
    price: PriceCard, n: int, n_turns: int, warm: int
) -> None:
    options = [option(f"m{place}", price=price, warm_tokens=warm, p_warm=0.9) for place in range(n)]
    alike = later_costs(options, horizon=fixed(n_turns), economics=PRIOR)
    assert [one.cost_usd for one in alike] == pytest.approx([0.0] * n, abs=1e-12)


@given(option_lists(), st.integers(1, 30), st.data())
def test_order_does_not_matter(options: list[Option], n_turns: int, data: st.DataObject) -> None:
    mixed = data.draw(st.permutations(options))
    first, second = (
        {
            o.card.id: later.cost_usd
            for o, later in zip(
                order, later_costs(order, horizon=fixed(n_turns), economics=PRIOR), strict=True
            )
        }
        for order in (options, mixed)
    )
    assert first == pytest.approx(second, abs=1e-12)


@given(option_lists(), st.integers(1, 30), st.integers(0, 4), st.integers(5_000, 120_000))
def test_a_warmer_cache_makes_no_future_dearer(
    options: list[Option], n_turns: int, place: int, more: int
) -> None:
    place %= len(options)
    colder = structs.replace(options[place], warm_tokens=4_500, p_warm=0.9)
    warmer = structs.replace(colder, warm_tokens=more)
    before, after = (
        futures(
            [*options[:place], changed, *options[place + 1 :]],
            horizon=fixed(n_turns),
            economics=PRIOR,
        )
        for changed in (colder, warmer)
    )
    for cold, warm in zip(before, after, strict=True):
        assert warm.cost_usd <= cold.cost_usd + 1e-12


@given(
    option_lists(),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_the_future_of_a_mixture_lies_between(options: list[Option], short: int, long: int) -> None:
    """The least of plans is concave in the horizon: knowing T could only help."""
    untiered = [
        structs.replace(
            o, card=structs.replace(o.card, price=structs.replace(o.card.price, tiers=()))
        )
        for o in options
        if o.card.price is not None and o.input_tokens >= 4_096
    ]
    ends = [futures(untiered, horizon=fixed(n), economics=PRIOR) for n in (short, long)]
    mixed: Horizon = horizon_of(np.array([short, long]))
    for one, a, b in zip(futures(untiered, horizon=mixed, economics=PRIOR), *ends, strict=True):
        assert one.cost_usd >= 0.5 * (a.cost_usd + b.cost_usd) - 1e-12
