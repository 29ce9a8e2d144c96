"""Ratios and their changes, by hand."""

import math

import numpy as np
import pytest

from router_training.changes import Ratio, change_between, logarithm, ratio_of


def test_a_ratio_has_the_linearised_error_of_its_sessions() -> None:
    top, bottom = np.array([1.0, 2.0, 6.0]), np.array([1.0, 2.0, 3.0])
    found = ratio_of(top, bottom, np.array([0, 0, 1]))
    # 9 / 6; residuals by session: (3 - 4.5), (6 - 4.5)
    assert found.value == 1.5
    assert found.standard_error == pytest.approx(math.sqrt(2 / 1 * (1.5**2 + 1.5**2) / 36))
    assert (found.n, found.n_sessions) == (3, 2)


def test_a_rate_of_none_in_twenty_is_not_surely_none() -> None:
    found = ratio_of(np.zeros(20), np.ones(20), np.arange(20), is_rate=True)
    p = 1 / 22
    assert found.standard_error == pytest.approx(math.sqrt(p * (1 - p) / 20))
    assert ratio_of(np.zeros(20), np.ones(20), np.arange(20)).standard_error == 0


def test_no_rows_have_no_ratio() -> None:
    assert math.isnan(ratio_of(np.empty(0), np.empty(0), np.empty(0, np.int64)).value)
    assert math.isnan(logarithm(Ratio(math.nan, math.nan, 0, 0)).value)
    assert math.isnan(logarithm(Ratio(0.0, 0.1, 5, 5)).value)


@pytest.mark.parametrize(
    ("window", "error", "n", "reading"),
    [
        (0.9, 0.001, 100, "ok"),
        (0.6, 0.001, 100, "alarm"),
        (0.6, 0.08, 100, "warning"),
        (0.6, 0.5, 100, "ok"),
        (0.6, 0.001, 29, "too few"),
        (math.nan, 0.001, 100, "too few"),
    ],
)
def test_an_alarm_needs_size_certainty_and_numbers(
    window: float, error: float, n: int, reading: str
) -> None:
    found = change_between(
        Ratio(0.8, 0.001, 1000, 500),
        Ratio(window, error, n, n),
        family="outcome_rate",
        name="m",
        threshold=0.15,
        level=0.001,
    )
    assert found.reading == reading


def test_the_interval_is_students() -> None:
    found = change_between(
        Ratio(0.5, 0.03, 99, 11), Ratio(0.6, 0.04, 99, 40),
        family="outcome_rate", name="m", threshold=0.2, level=0.05,
    )  # fmt: skip
    # the smaller side has 11 sessions: t(0.975, 10) = 2.2281, error 0.05
    assert found.high - found.change == pytest.approx(2.2281 * 0.05, abs=1e-4)
    assert found.change == pytest.approx(0.1)
