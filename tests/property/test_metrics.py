"""Laws that hold for every metric of the registry."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from router_training.metrics import METRICS, Metric

Floats = NDArray[np.float64]
PROBABILITY = {name: m for name, m in METRICS.items() if m.kind == "probability"}
PAIR = {name: m for name, m in METRICS.items() if m.kind == "pair"}
CURVE = {name: m for name, m in METRICS.items() if m.kind == "curve"}

unit = st.floats(0, 1, allow_subnormal=False).map(lambda x: round(x, 6))
rows = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), unit), min_size=2, max_size=40)
pairs = st.lists(
    st.tuples(unit, st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])),
    min_size=2,
    max_size=40,
)
points = st.lists(st.tuples(unit.map(lambda x: x + 0.1), unit), min_size=1, max_size=20)


def columns(table: list[tuple[float, ...]]) -> list[Floats]:
    return [np.array(column) for column in zip(*table, strict=True)]


def call(metric: Metric, table: list[tuple[float, ...]]) -> float:
    first, second, *third = columns(table)
    if metric.kind == "pair":
        return metric.function(first, weak=second, strong=third[0], **metric.arguments)
    return metric.function(first, second, **metric.arguments)


def same(first: float, second: float) -> bool:
    return (math.isnan(first) and math.isnan(second)) or first == pytest.approx(
        second, rel=1e-9, abs=1e-9
    )


def check_range(metric: Metric, table: list[tuple[float, ...]]) -> None:
    value = call(metric, table)
    assert math.isnan(value) or metric.low - 1e-9 <= value <= metric.high + 1e-9


def check_order(metric: Metric, table: list[tuple[float, ...]]) -> None:
    assert same(call(metric, table), call(metric, table[::-1]))


@pytest.mark.parametrize("name", PROBABILITY)
@given(table=rows)
def test_probability_metrics_stay_in_range_and_ignore_order(
    name: str, table: list[tuple[float, ...]]
) -> None:
    check_range(METRICS[name], table)
    check_order(METRICS[name], table)


@pytest.mark.parametrize("name", PAIR)
@given(table=pairs)
def test_pair_metrics_stay_in_range_and_ignore_order(
    name: str, table: list[tuple[float, ...]]
) -> None:
    check_range(METRICS[name], table)
    check_order(METRICS[name], table)


@pytest.mark.parametrize("name", CURVE)
@given(table=points)
def test_curve_metrics_stay_in_range_and_ignore_order(
    name: str, table: list[tuple[float, ...]]
) -> None:
    check_range(METRICS[name], table)
    check_order(METRICS[name], table)


def test_every_metric_has_a_kind_that_is_tested_here() -> None:
    assert {**PROBABILITY, **PAIR, **CURVE}.keys() == METRICS.keys()


# The equal-mass bins of the calibration loss count rows, not weights.
@pytest.mark.parametrize("name", sorted(PROBABILITY.keys() - {"expected_calibration_loss"}))
@given(table=rows)
def test_a_whole_weight_is_the_same_as_repeating_the_row(
    name: str, table: list[tuple[float, ...]]
) -> None:
    y, p = columns(table)
    weight = np.arange(len(y)) % 3 + 1
    function = METRICS[name].function
    weighted = function(y, p, sample_weight=weight)
    assert same(weighted, function(np.repeat(y, weight), np.repeat(p, weight)))


@pytest.mark.parametrize("name", PROBABILITY)
@given(
    outcomes=st.lists(st.booleans(), min_size=2, max_size=30).filter(lambda y: 0 < sum(y) < len(y))
)
def test_nothing_beats_knowing_the_outcome(name: str, outcomes: list[bool]) -> None:
    metric = METRICS[name]
    y = np.array(outcomes, dtype=np.float64)
    perfect, coin = metric.function(y, y), metric.function(y, np.full(len(y), 0.5))
    assert perfect == pytest.approx(1.0 if metric.is_score else 0.0, abs=1e-9)
    assert perfect >= coin if metric.is_score else perfect <= coin


@given(table=pairs)
def test_apgr_depends_on_the_order_of_gains_only(table: list[tuple[float, ...]]) -> None:
    stretched: list[tuple[float, ...]] = [(2.0 * gain + 3.0, *rest) for gain, *rest in table]
    metric = METRICS["apgr_score"]
    assert same(call(metric, table), call(metric, stretched))


@given(table=points, where=unit, score=unit)
def test_one_more_point_inside_the_range_never_lowers_the_aiq(
    table: list[tuple[float, ...]], where: float, score: float
) -> None:
    function = METRICS["aiq_score"].function
    xs, ys = columns(table)
    low, high = float(xs.min()), float(xs.max())
    more_x = np.append(xs, low + where * (high - low))
    before = function(xs, ys, low=low, high=high)
    assert function(more_x, np.append(ys, score), low=low, high=high) >= before - 1e-9
