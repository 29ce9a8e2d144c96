"""Every metric against a number worked out by hand."""

import math

import numpy as np
import pytest

from router_training import metrics
from router_training.metrics import (
    METRICS,
    aiq_score,
    apgr_score,
    auc_score,
    bin_index,
    brier_loss,
    cpt_loss,
    expected_calibration_loss,
    first_crossing,
    log_loss,
    pgr,
    strong_call_curve,
)


def test_the_registry_names_every_public_metric() -> None:
    public = {
        name
        for name in vars(metrics)
        if name.endswith(("_score", "_loss")) and not name.startswith("_")
    }
    assert {metric.function.__name__ for metric in METRICS.values()} == public


def test_brier_is_the_mean_squared_gap() -> None:
    assert brier_loss([1, 0, 1], [0.9, 0.2, 0.6]) == pytest.approx((0.01 + 0.04 + 0.16) / 3)


def test_brier_weighs_its_rows() -> None:
    assert brier_loss([1, 0], [0.5, 0.0], sample_weight=[3, 1]) == pytest.approx(0.1875)


def test_log_loss_of_a_coin_is_log_two() -> None:
    assert log_loss([1, 0], [0.5, 0.5]) == pytest.approx(math.log(2))


def test_log_loss_of_a_sure_mistake_is_finite() -> None:
    assert log_loss([1], [0.0]) == pytest.approx(-math.log(1e-15))


def test_a_fractional_outcome_counts_as_that_share_of_both_answers() -> None:
    expected = -(0.25 * math.log(0.4) + 0.75 * math.log(0.6))
    assert log_loss([0.25], [0.4]) == pytest.approx(expected)


def test_calibration_error_weighs_bins_by_their_share() -> None:
    # bins {0.1 x 3} with mean outcome 1/3 and {0.8} with outcome 1
    loss = expected_calibration_loss([1, 0, 0, 1], [0.1, 0.1, 0.1, 0.8], n_bins=2, bins="width")
    assert loss == pytest.approx(0.75 * (1 / 3 - 0.1) + 0.25 * 0.2)


def test_equal_mass_bins_hold_equally_many_and_keep_ties_together() -> None:
    assert bin_index([0.1, 0.2, 0.3, 0.4], n_bins=2).tolist() == [0, 0, 1, 1]
    assert len(set(bin_index([0.5] * 7 + [0.9], n_bins=4)[:7].tolist())) == 1


def test_equal_width_bins_put_one_into_the_last() -> None:
    assert bin_index([0.0, 0.49, 0.5, 1.0], n_bins=2, bins="width").tolist() == [0, 0, 1, 1]


def test_auc_counts_ties_half() -> None:
    assert auc_score([0, 1], [0.5, 0.5]) == 0.5
    assert auc_score([0, 1, 1], [0.2, 0.2, 0.9]) == pytest.approx(0.75)


def test_auc_of_one_class_does_not_exist() -> None:
    assert math.isnan(auc_score([1, 1], [0.2, 0.9]))


def test_auc_agrees_with_counting_all_pairs() -> None:
    rng = np.random.default_rng(3)
    y, p = rng.integers(0, 2, 60), rng.integers(0, 8, 60) / 8
    pairs = [(a > b) + (a == b) / 2 for a in p[y == 1] for b in p[y == 0]]
    assert auc_score(y, p) == pytest.approx(float(np.mean(pairs)))


def test_metrics_refuse_lengths_that_differ() -> None:
    with pytest.raises(ValueError, match="equally long"):
        brier_loss([1, 0], [0.5])
    with pytest.raises(ValueError, match="not empty"):
        auc_score([], [])


def test_the_strong_call_curve_runs_from_weak_to_strong() -> None:
    share, quality = strong_call_curve([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], [1, 1, 1, 1], n_bins=4)
    assert share.tolist() == [0.0, 0.5, 0.75, 0.75, 1.0] or share[0] == 0.0
    assert (share[-1], quality[0], quality[-1]) == (1.0, 0.5, 1.0)


def test_apgr_by_hand_on_four_requests() -> None:
    # gains 4, 3, 2, 1 with quartile thresholds 4, 3.25, 2.5, 1.75, 1
    # calls 0 (exclusive), 1, 2, 3, 4; the first and the last request gain one each
    weak, strong = [0, 1, 1, 0], [1, 1, 1, 1]
    # PGR 0, .5, .5, .5, 1 at shares 0, .25, .5, .75, 1
    expected = 0.25 * (0.25 + 0.5 + 0.5 + 0.75)
    assert apgr_score([4, 3, 2, 1], weak=weak, strong=strong, n_bins=4) == pytest.approx(expected)


def test_a_perfect_ranking_beats_and_a_reversed_one_loses_to_random() -> None:
    weak = np.array([0] * 20 + [1] * 80, dtype=float)
    gain = np.linspace(1, 0, 100)
    assert apgr_score(gain, weak=weak, strong=np.ones(100)) > 0.85
    assert apgr_score(-gain, weak=weak, strong=np.ones(100)) < 0.15


def test_a_random_ranking_recovers_half_of_the_gap() -> None:
    rng = np.random.default_rng(0)
    weak = (rng.random(20_000) < 0.5).astype(float)
    assert apgr_score(rng.random(20_000), weak=weak, strong=np.ones(20_000)) == pytest.approx(
        0.5, abs=0.01
    )


def test_cpt_is_the_first_share_that_recovers_enough() -> None:
    weak, strong = [0, 1, 1, 0], [1, 1, 1, 1]
    # PGR 0, .5, .5, .5, 1 at shares 0, .25, .5, .75, 1
    assert cpt_loss([4, 3, 2, 1], weak=weak, strong=strong, recovered=0.5, n_bins=4) == 0.25
    assert cpt_loss(
        [4, 3, 2, 1], weak=weak, strong=strong, recovered=0.8, n_bins=4
    ) == pytest.approx(0.75 + 0.25 * 0.6)


def test_cpt_does_not_exist_without_a_gap() -> None:
    assert math.isnan(cpt_loss([1, 2], weak=[1, 1], strong=[1, 1]))
    assert math.isnan(cpt_loss([1, 2], weak=[1, 1], strong=[0, 1]))


def test_pgr_is_zero_at_weak_one_at_strong_and_nothing_without_a_gap() -> None:
    assert pgr([0.2, 0.6, 0.4], 0.2, 0.6).tolist() == pytest.approx([0.0, 1.0, 0.5])
    assert math.isnan(float(pgr(0.3, 0.3, 0.3)))


def test_first_crossing_takes_the_first_of_several() -> None:
    assert first_crossing([0, 1, 2, 3], [0, 2, 0, 2], level=1.0) == pytest.approx(0.5)
    assert first_crossing([0, 1], [1, 0], level=1.0) == 0.0
    assert math.isnan(first_crossing([0, 1], [0, 0.5], level=1.0))


def test_aiq_ignores_points_below_the_hull() -> None:
    assert aiq_score([1, 2, 3], [0.5, 0.1, 0.7]) == pytest.approx(0.6)


def test_aiq_stays_level_to_the_right_and_falls_to_nothing_on_the_left() -> None:
    # level: 2 of the 4 units are at 0.7 after the two of mean 0.6
    assert aiq_score([1, 3], [0.5, 0.7], high=5.0) == pytest.approx(0.65)
    # from cost 0 to 1 the null router's line has mean 0.25
    assert aiq_score([1, 3], [0.5, 0.7], low=0.0) == pytest.approx((0.25 + 1.2) / 3)


def test_aiq_of_a_range_without_width_is_the_height_there() -> None:
    assert aiq_score([2.0], [0.4]) == 0.4
