from hypothesis import given
from hypothesis import strategies as st

from router_model.pricing import expected_cost, price_at, worst_case_cost
from router_model.types import PriceCard, PriceTier

dollars = st.floats(min_value=0.0, max_value=200.0, allow_nan=False)
tokens = st.integers(min_value=0, max_value=2_000_000)


@st.composite
def prices(draw: st.DrawFn) -> PriceCard:
    """Price cards as makers write them: cache reads at most, cache writes at least the input."""

    def rates() -> dict[str, float | None]:
        base = draw(dollars)
        return {
            "input": base,
            "output": draw(dollars),
            "cache_read": draw(st.none() | st.floats(0.0, 1.0).map(lambda share: base * share)),
            "cache_write": draw(st.none() | st.floats(1.0, 2.0).map(lambda share: base * share)),
        }

    thresholds = draw(st.lists(st.integers(1, 1_000_000), max_size=3, unique=True).map(sorted))
    tiers = tuple(PriceTier(above_input_tokens=n, **rates()) for n in thresholds)  # type: ignore[arg-type] # a dict of optional floats
    return PriceCard(**rates(), tiers=tiers)  # type: ignore[arg-type] # a dict of optional floats


@st.composite
def usages(draw: st.DrawFn) -> tuple[int, int, int, int]:
    total = draw(tokens)
    cached = draw(st.integers(0, total))
    written = draw(st.integers(0, total - cached))
    return total, cached, written, draw(st.integers(0, 100_000))


def cost(price: PriceCard, usage: tuple[int, int, int, int]) -> float:
    total, cached, written, output = usage
    return expected_cost(
        price,
        input_tokens=total,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
    )


@given(prices(), usages())
def test_a_cost_is_never_negative_and_at_most_the_worst_case(
    price: PriceCard, usage: tuple[int, int, int, int]
) -> None:
    worst = worst_case_cost(price, input_tokens=usage[0], max_output_tokens=usage[3])
    assert 0.0 <= cost(price, usage) <= worst * (1 + 1e-12) + 1e-15


@given(prices(), usages(), st.integers(0, 500_000), st.integers(0, 50_000))
def test_cost_does_not_fall_when_tokens_rise_within_a_price_tier(
    price: PriceCard, usage: tuple[int, int, int, int], more_input: int, more_output: int
) -> None:
    total, cached, written, output = usage
    if price_at(price, total) != price_at(price, total + more_input):
        return
    more = (total + more_input, cached, written, output + more_output)
    assert cost(price, more) >= cost(price, usage) * (1 - 1e-12)


@given(prices(), usages(), st.floats(0.0, 1.0))
def test_more_cached_tokens_never_cost_more_where_cache_reads_are_cheaper(
    price: PriceCard, usage: tuple[int, int, int, int], share: float
) -> None:
    total, cached, written, output = usage
    more_cached = cached + int((total - cached - written) * share)
    better = cost(price, (total, more_cached, written, output))
    assert better <= cost(price, usage) * (1 + 1e-12)


@given(prices(), usages(), st.floats(1.0, 3.0))
def test_cost_scales_with_all_prices(
    price: PriceCard, usage: tuple[int, int, int, int], factor: float
) -> None:
    def scaled(rates: PriceCard | PriceTier) -> dict[str, float | None]:
        names = ("input", "output", "cache_read", "cache_write")
        values = {name: getattr(rates, name) for name in names}
        return {name: None if v is None else v * factor for name, v in values.items()}

    tiers = tuple(
        PriceTier(above_input_tokens=tier.above_input_tokens, **scaled(tier))  # type: ignore[arg-type] # a dict of optional floats
        for tier in price.tiers
    )
    dearer = PriceCard(**scaled(price), tiers=tiers)  # type: ignore[arg-type] # a dict of optional floats
    difference = cost(dearer, usage) - cost(price, usage) * factor
    assert abs(difference) <= 1e-9 * max(1.0, cost(dearer, usage))
