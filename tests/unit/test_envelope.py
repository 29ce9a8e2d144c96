"""The upper concave envelope, which the hull and AIQ are made of."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_training.envelope import envelope_cost_at, envelope_score_at, upper_envelope

unit = st.floats(0, 1, allow_subnormal=False).map(lambda x: round(x, 6))


def test_a_point_under_the_line_of_its_neighbours_is_left_out() -> None:
    costs, scores = upper_envelope([1, 2, 3], [0.0, 0.4, 1.0])
    assert (costs.tolist(), scores.tolist()) == ([1, 3], [0, 1])


def test_a_point_above_that_line_stays() -> None:
    assert upper_envelope([1, 2, 3], [0.0, 0.6, 1.0])[0].tolist() == [1, 2, 3]


def test_a_dearer_and_worse_point_is_left_out() -> None:
    assert upper_envelope([1, 2], [0.8, 0.5])[0].tolist() == [1]


def test_the_best_of_equal_costs_counts() -> None:
    costs, scores = upper_envelope([1, 1, 2], [0.1, 0.5, 0.6])
    assert (costs.tolist(), scores.tolist()) == ([1, 2], [0.5, 0.6])


def test_points_that_are_not_finite_are_left_out() -> None:
    assert upper_envelope([1, math.nan, 2], [0.1, 9.0, math.nan])[0].tolist() == [1]
    with pytest.raises(ValueError, match="at least one finite point"):
        upper_envelope([math.nan], [0.5])


def test_the_height_between_corners_is_that_of_a_mix_of_the_two() -> None:
    heights = envelope_score_at([0.5, 1.5, 9.0], corner_costs=[1, 2], corner_scores=[0.2, 0.6])
    assert heights.tolist() == pytest.approx([0.2, 0.4, 0.6])


def test_the_cost_of_a_score_is_the_inverse_and_unknown_above_the_top() -> None:
    corners = {"corner_costs": [1.0, 2.0], "corner_scores": [0.2, 0.6]}
    assert envelope_cost_at(0.4, **corners) == pytest.approx(1.5)
    assert envelope_cost_at(0.1, **corners) == 1.0
    assert math.isnan(envelope_cost_at(0.61, **corners))


@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=30))
def test_the_envelope_is_above_all_points_concave_and_rising(
    points: list[tuple[float, float]],
) -> None:
    xs, ys = np.array(points).T
    costs, scores = upper_envelope(xs, ys)
    heights = envelope_score_at(xs, corner_costs=costs, corner_scores=scores)
    assert (heights >= ys - 1e-9).all()
    assert (np.diff(costs) > 0).all()
    assert (np.diff(scores) > 0).all()
    slopes = np.diff(scores) / np.diff(costs)
    assert (np.diff(slopes) <= 1e-6 * (1 + np.abs(slopes[1:]))).all()


@given(st.lists(st.tuples(unit, unit), min_size=2, max_size=12), unit)
def test_the_envelope_is_the_best_mix_of_any_two_points(
    points: list[tuple[float, float]], where: float
) -> None:
    xs, ys = np.array(points).T
    cost = float(xs.min() + where * (xs.max() - xs.min()))
    corners = upper_envelope(xs, ys)
    best = max(
        b if x2 == x1 else a + (b - a) * (min(cost, x2) - x1) / (x2 - x1)
        for (x1, a) in points
        for (x2, b) in points
        if x1 <= cost and (x1 <= x2)
        for a, b in [(a, b if x2 > x1 else max(a, b))]
    )
    height = envelope_score_at(cost, corner_costs=corners[0], corner_scores=corners[1])
    assert float(height) == pytest.approx(best, abs=1e-6)
