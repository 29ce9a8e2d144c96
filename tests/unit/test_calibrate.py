from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from router_model.calibration import sigmoid
from router_training.calibrate import LogitCalibrator, Method, blend_weights

Floats = NDArray[np.float64]


class FirstColumn(LogitCalibrator):
    """The calibrator on the first of many columns: scikit-learn's checks never bring just one."""

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        table = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        width = self.n_features_in_
        super().fit(table[:, :1], y, sample_weight)
        self.n_features_in_ = width
        return self

    def predict(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        return super().predict(validate_data(self, X, dtype=np.float64, reset=False)[:, :1])


# Only check_array_api_input skips itself: nothing here runs on other array libraries.
@parametrize_with_checks(  # type: ignore[untyped-decorator] # scikit-learn ships no types
    [FirstColumn("isotonic"), FirstColumn("sigmoid")]
)
def test_the_calibrator_is_a_scikit_learn_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


def drawn(
    n: int, *, slope: float = 1.0, shift: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Raw scores, outcomes and the true probabilities sigmoid(slope raw + shift)."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0.0, 1.5, n)
    p = sigmoid(slope * raw + shift)
    return raw, (rng.random(n) < p).astype(np.float64), p


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
def test_scores_that_are_too_sure_are_brought_back(method: Method) -> None:
    raw, y, p = drawn(20_000, slope=0.4, shift=-0.5)
    found = LogitCalibrator(method).fit(raw, y).predict(raw)
    assert np.abs(found - p).mean() < 0.02
    assert found.mean() == pytest.approx(y.mean(), abs=0.005)


def test_isotonic_fits_what_no_sigmoid_can() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(-3, 3, 20_000)
    p = np.where(raw < 0, 0.2, 0.9)
    y = (rng.random(len(raw)) < p).astype(float)
    errors = {
        method: float(np.abs(LogitCalibrator(method).fit(raw, y).predict(raw) - p).mean())
        for method in ("isotonic", "sigmoid")
    }
    assert errors["isotonic"] < 0.5 * errors["sigmoid"]


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
@pytest.mark.parametrize("n", [1, 2, 10, 449, 450, 3_000])
def test_the_map_rises_strictly_whatever_the_number_of_rows(method: Method, n: int) -> None:
    raw, y, _ = drawn(n, slope=-0.5)  # the worse the score, the better the outcome
    calibration = LogitCalibrator(method).fit(raw, y).calibration_
    calibration.check()


def test_with_few_rows_isotonic_is_the_sigmoid() -> None:
    raw, y, _ = drawn(449)
    one, other = (LogitCalibrator(m).fit(raw, y).calibration_ for m in ("isotonic", "sigmoid"))
    assert one == other
    raw, y, _ = drawn(450)
    assert len(LogitCalibrator("isotonic").fit(raw, y).calibration_.raw) > 2


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_outcomes_that_are_all_alike_keep_probabilities_inside_zero_and_one(
    method: Method, value: float
) -> None:
    raw, _, _ = drawn(1_000)
    calibrator = LogitCalibrator(method).fit(raw, np.full(1_000, value))
    calibrator.calibration_.check()
    found = calibrator.predict(raw)
    assert ((found > 0) & (found < 1)).all()
    assert abs(found.mean() - value) < 0.05


def test_equal_scores_have_one_probability_near_their_mean() -> None:
    y = np.array([0.0, 1.0, 1.0, 1.0] * 200)
    calibrator = LogitCalibrator("isotonic").fit(np.zeros(800), y)
    calibrator.calibration_.check()
    assert calibrator.predict(np.zeros(3)).tolist() == pytest.approx([0.75] * 3, abs=0.01)


def test_fractional_targets_count_as_shares() -> None:
    raw = np.zeros(500)
    assert LogitCalibrator("sigmoid").fit(raw, np.full(500, 0.3)).predict(raw)[0] == pytest.approx(
        0.3, abs=0.01
    )


def test_a_weight_of_two_is_a_row_twice() -> None:
    raw, y, _ = drawn(200)
    weight = np.where(np.arange(200) < 50, 2.0, 1.0)
    twice = np.concatenate([raw, raw[:50]]), np.concatenate([y, y[:50]])
    weighted = LogitCalibrator("sigmoid").fit(raw, y, weight).predict(raw)
    assert weighted == pytest.approx(LogitCalibrator("sigmoid").fit(*twice).predict(raw), abs=1e-4)


def test_unusable_input_is_refused() -> None:
    with pytest.raises(ValueError, match="got 2 columns, expected one"):
        LogitCalibrator().fit(np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(ValueError, match="inconsistent numbers"):
        LogitCalibrator().fit(np.zeros(4), np.zeros(3))
    with pytest.raises(ValueError, match="NaN"):
        LogitCalibrator().fit(np.array([np.nan, 0.0]), np.zeros(2))
    with pytest.raises(ValueError, match="at least one non-zero"):
        LogitCalibrator().fit(np.zeros(4), np.zeros(4), np.zeros(4))


def test_the_blend_finds_the_weights_that_made_the_outcomes() -> None:
    rng = np.random.default_rng(0)
    linear, trees = rng.normal(size=20_000), rng.normal(size=20_000)
    y = (rng.random(20_000) < sigmoid(0.8 * linear + 0.3 * trees + 0.5)).astype(float)
    found = blend_weights(linear, trees, y, np.ones(20_000))
    assert (found.linear, found.trees) == pytest.approx((0.8, 0.3), abs=0.05)


def test_a_score_that_misleads_gets_no_weight() -> None:
    rng = np.random.default_rng(0)
    good = rng.normal(size=5_000)
    y = (rng.random(5_000) < sigmoid(good)).astype(float)
    found = blend_weights(good, rng.normal(size=5_000) - 2 * y, y, np.ones(5_000))
    assert found.trees == 0.0
    assert found.linear > 0.5


def test_two_scores_that_say_nothing_leave_the_linear_one() -> None:
    y = np.array([0.0, 1.0] * 50)
    found = blend_weights(np.zeros(100), np.zeros(100), y, np.ones(100))
    assert found.linear > 0
    worse = blend_weights(1 - 2 * y, 1 - 2 * y, y, np.ones(100))
    assert (worse.linear, worse.trees) == (1.0, 0.0)


def test_rows_without_weight_do_not_blend() -> None:
    rng = np.random.default_rng(0)
    linear, trees = rng.normal(size=2_000), rng.normal(size=2_000)
    y = (rng.random(2_000) < sigmoid(linear)).astype(float)
    weight = np.repeat([1.0, 0.0], 1_000)
    whole = blend_weights(linear[:1_000], trees[:1_000], y[:1_000], weight[:1_000])
    part = blend_weights(linear, trees, np.where(weight > 0, y, 1 - y), weight)
    assert (part.linear, part.trees) == pytest.approx((whole.linear, whole.trees), abs=1e-2)
