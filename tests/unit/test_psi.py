"""The population stability index, by hand and against chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_training.psi import (
    Bins,
    FeatureShift,
    Floats,
    Ints,
    bins_of,
    design_effect,
    feature_shifts,
    population_stability_index,
)


def test_the_index_is_the_sum_over_bins_of_the_share_difference_times_the_log_ratio() -> None:
    # counts are raised by one half: shares 0.5, 0.5 against 0.75, 0.25
    by_hand = (0.75 - 0.5) * np.log(0.75 / 0.5) + (0.25 - 0.5) * np.log(0.25 / 0.5)
    found = population_stability_index([99.5, 99.5], [149.5, 49.5])
    assert found == pytest.approx(by_hand)
    assert found == pytest.approx(0.274653, abs=1e-6)


def test_an_empty_bin_gives_a_finite_index_and_one_empty_in_both_is_left_out() -> None:
    assert np.isfinite(population_stability_index([10, 0], [0, 10]))
    assert population_stability_index([7, 3, 0], [3, 7, 0]) == population_stability_index(
        [7, 3], [3, 7]
    )


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=12), st.randoms())
def test_the_index_is_never_negative_symmetric_and_zero_for_equal_samples(
    counts: list[int], random: object
) -> None:
    old = np.array(counts, dtype=float) + 1
    new = old[::-1].copy()
    forth = population_stability_index(old, new)
    assert forth >= 0
    assert forth == pytest.approx(population_stability_index(new, old))
    assert population_stability_index(old, old) == 0


def test_bins_are_the_reference_quantiles() -> None:
    bins = bins_of(np.arange(100.0), n_bins=4)
    counts = np.bincount(bins.index(np.arange(100.0)), minlength=bins.n)
    # the smallest value has no bin of its own, as nothing repeats; none is NaN
    assert counts.tolist() == [25, 25, 25, 25, 0]


def test_zero_in_a_mostly_zero_feature_has_its_own_bin() -> None:
    values = np.concatenate([np.zeros(700), np.linspace(1, 3, 300)])
    bins = bins_of(values, n_bins=10)
    index = bins.index(np.array([-0.5, 0.0, 1e-9, 3.0, 100.0]))
    assert index[0] < index[1] < index[2] < index[3]
    assert index[3] == index[4]


def test_a_flag_that_was_never_set_is_told_from_one_that_is() -> None:
    bins = bins_of(np.zeros(50))
    assert len(set(bins.index(np.array([0.0, 1.0])).tolist())) == 2


def test_nan_has_its_own_bin_also_when_all_is_nan() -> None:
    assert bins_of(np.array([1.0, 2.0, np.nan])).index(np.array([np.nan]))[0] >= 2
    bins = bins_of(np.array([np.nan]))
    assert (bins.n, bins.index(np.array([np.nan, 1.0])).tolist()) == (2, [1, 0])


@given(st.lists(st.floats(-100, 100) | st.just(0.0), min_size=1, max_size=60))
def test_every_value_has_exactly_one_bin(values: list[float]) -> None:
    bins: Bins = bins_of(np.array(values))
    index = bins.index(np.array([*values, np.inf, -np.inf, np.nan]))
    assert (index >= 0).all()
    assert (index < bins.n).all()


def test_requests_that_repeat_within_a_session_count_as_one() -> None:
    # 60 sessions of 5 equal requests each, half in each bin: every session counts once
    table = np.array([[5.0, 0.0], [0.0, 5.0]] * 30)
    assert design_effect(table) == pytest.approx(5 * 60 / 59)
    assert design_effect(np.array([[1.0, 0.0], [0.0, 1.0]] * 30)) == pytest.approx(60 / 59)


def test_the_mean_by_chance_is_bins_less_one_over_each_size() -> None:
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(2000, 1)), rng.normal(size=(500, 1))
    (shift,) = feature_shifts(
        old, new, names=["x"],
        reference_sessions=np.arange(2000), window_sessions=np.arange(500),
    )  # fmt: skip
    assert shift.n_bins == 10
    assert shift.expected == pytest.approx(9 * (1 / 2000 + 1 / 500), rel=0.05)
    assert shift.floor > shift.expected


@pytest.mark.parametrize(
    ("psi", "floor", "reading"),
    [
        (0.09, 0.01, "stable"),
        (0.10, 0.01, "moderate"),
        (0.25, 0.01, "large"),
        (0.30, 0.31, "stable"),
    ],
)
def test_a_reading_needs_both_the_usual_size_and_more_than_chance(
    psi: float, floor: float, reading: str
) -> None:
    shift = FeatureShift(name="x", psi=psi, expected=0.0, floor=floor, n_bins=10)
    assert shift.reading() == reading


def _sample(rng: np.random.Generator, n_sessions: int) -> tuple[Floats, Ints]:
    """Continuous, zero-inflated, rare and count columns that sessions share in part."""
    session = np.repeat(np.arange(n_sessions), rng.integers(1, 9, n_sessions))
    shared = rng.normal(size=(n_sessions, 20))[session]
    x = 0.8 * shared + 0.6 * rng.normal(size=shared.shape)
    x[:, 5:10] = np.maximum(x[:, 5:10], 0)
    x[:, 10:15] = x[:, 10:15] > 2
    x[:, 15:] = np.round(np.exp(x[:, 15:]))
    return x, session


@pytest.mark.statistical
@pytest.mark.parametrize(("n_old", "n_new"), [(120, 40), (400, 80), (1000, 300)])
def test_stationary_features_raise_no_alarm_and_a_shifted_one_does(n_old: int, n_new: int) -> None:
    rng = np.random.default_rng(7)
    names = [f"x{i}" for i in range(20)]
    false, found, ratio = 0, 0, []
    for _ in range(60):
        (old, old_session), (new, new_session) = _sample(rng, n_old), _sample(rng, n_new)
        for is_shifted in (False, True):
            new[:, 0] += 1.2 * is_shifted
            shifts = feature_shifts(
                old, new, names=names,
                reference_sessions=old_session, window_sessions=new_session,
            )  # fmt: skip
            large = {shift.name for shift in shifts if shift.reading() == "large"}
            if is_shifted:
                found += "x0" in large
            else:
                false += bool(large)
                ratio += [s.psi / s.expected for s in shifts if s.name in ("x1", "x2", "x3")]
    assert false <= 3
    assert found >= 54
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.1)
