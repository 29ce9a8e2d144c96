"""Grouped bootstrap intervals."""

import math

import numpy as np
import pytest

from router_training.intervals import (
    Interval,
    Resampling,
    group_index,
    grouped_interval,
    interval_from_draws,
    mean_interval,
    resample_counts,
    weighted_interval,
)


def test_the_estimate_is_the_plain_mean() -> None:
    found = mean_interval([1.0, 2.0, 6.0], ["a", "b", "c"])
    assert found.estimate == pytest.approx(3.0)
    assert found.low <= found.estimate <= found.high


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).normal(size=50)
    first, again = (mean_interval(values, np.arange(50)) for _ in range(2))
    other = mean_interval(values, np.arange(50), resampling=Resampling(seed=1))
    assert first == again
    assert first != other


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(2).normal(size=400)
    for method in ("bca", "percentile"):
        found = mean_interval(values, np.arange(400), resampling=Resampling(method=method))
        assert found.half_width == pytest.approx(1.96 * values.std() / 20, rel=0.1)


def test_copies_inside_a_group_do_not_make_an_interval_narrower() -> None:
    values = np.random.default_rng(3).normal(size=40)
    single = mean_interval(values, np.arange(40))
    copied = mean_interval(np.repeat(values, 10), np.repeat(np.arange(40), 10))
    assert copied.low == pytest.approx(single.low)
    assert copied.high == pytest.approx(single.high)


def test_one_group_has_no_interval() -> None:
    found = mean_interval([1.0, 2.0], ["a", "a"])
    assert found.estimate == 1.5
    assert math.isnan(found.low)
    assert math.isnan(weighted_interval(["a", "a"], lambda w: float(w.sum())).high)


def test_a_constant_has_an_interval_without_width() -> None:
    found = mean_interval(np.full(20, 0.25), np.arange(20))
    assert (found.low, found.high) == (0.25, 0.25)


def test_a_bca_interval_leans_to_the_long_tail() -> None:
    values = np.random.default_rng(4).exponential(size=60)
    plain = mean_interval(values, np.arange(60), resampling=Resampling(method="percentile"))
    corrected = mean_interval(values, np.arange(60), resampling=Resampling(method="bca"))
    assert corrected.high > plain.high
    assert corrected.low > plain.low


def test_every_resample_draws_as_many_groups_as_there_are() -> None:
    chunks = list(resample_counts(7, Resampling(n_resamples=230)))
    counts = np.concatenate(chunks)
    assert counts.shape == (230, 7)
    assert (counts.sum(axis=1) == 7).all()


def test_a_ratio_of_sums_is_resampled_as_a_ratio() -> None:
    values = np.random.default_rng(5).uniform(1, 2, size=(80, 1))
    columns = np.concatenate([2 * values, values], axis=1)
    found = grouped_interval(columns, np.arange(80), lambda s: s[:, 0] / s[:, 1])
    assert (found.low, found.estimate, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_weights_reach_the_statistic_of_a_weighted_interval() -> None:
    values = np.arange(30, dtype=np.float64)
    by_weight = weighted_interval(
        np.arange(30), lambda weight: float(np.average(values, weights=weight))
    )
    by_sums = mean_interval(values, np.arange(30), resampling=Resampling(method="percentile"))
    assert by_weight.low == pytest.approx(by_sums.low)
    assert by_weight.high == pytest.approx(by_sums.high)


def test_infinite_draws_stay_at_their_end_and_missing_ones_go() -> None:
    draws = np.array([1.0] * 90 + [np.inf] * 10 + [np.nan] * 5)
    found = interval_from_draws(1.0, draws)
    assert (found.low, found.high) == (1.0, math.inf)
    assert math.isnan(interval_from_draws(math.nan, draws).low)
    assert math.isnan(interval_from_draws(1.0, np.array([np.nan])).low)


def test_an_interval_says_whether_it_excludes_zero() -> None:
    assert Interval(0.2, 0.1, 0.3).excludes_zero
    assert Interval(-0.2, -0.3, -0.1).excludes_zero
    assert not Interval(0.0, -0.1, 0.1).excludes_zero
    assert not Interval(0.2, math.nan, math.nan).excludes_zero


def test_groups_are_numbered_by_name() -> None:
    index, n_groups = group_index(["b", "a", "b"])
    assert (index.tolist(), n_groups) == ([1, 0, 1], 2)
