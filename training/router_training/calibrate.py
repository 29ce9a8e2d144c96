"""Fit of the calibration map on predictions that the predictor was not trained on."""

from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.base import BaseEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from router_model.calibration import Calibration
from router_model.predictor import Blend

Method = Literal["isotonic", "sigmoid"]
Floats = NDArray[np.float64]
# Fewer rows than this a block would make the steps follow the noise.
_ROWS_PER_KNOT = 150
_MAX_KNOTS = 20


class LogitCalibrator(BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Rising map from raw to calibrated log-odds.

    "sigmoid" fits slope and intercept by maximum likelihood with a weak pull to the identity.
    "isotonic" averages equal-mass blocks of the sigmoid's residual, makes them rise, and joins
    their centres by lines; with few rows it is the sigmoid.
    """

    def __init__(self, method: Method = "isotonic") -> None:
        self.method = method

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on raw log-odds `X` (n,) or (n, 1) and targets `y` in [0, 1]."""
        raw = _one_column(X)
        target = column_or_1d(check_array(y, ensure_2d=False, dtype=np.float64))
        check_consistent_length(raw, target)
        weight = _check_sample_weight(
            sample_weight, raw, dtype=np.float64, ensure_non_negative=True
        )
        self.n_features_in_ = 1
        slope, intercept = _sigmoid(raw, target, weight)
        self.calibration_ = Calibration((-1.0, 1.0), (intercept - slope, intercept + slope))
        if self.method == "isotonic":
            self.calibration_ = _refined(self.calibration_, raw, target, weight)
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Calibrated probabilities of raw log-odds, shape (n,)."""
        check_is_fitted(self)
        raw = _one_column(X)
        return self.calibration_.probability(raw)


def _one_column(X: ArrayLike) -> Floats:
    values: Floats = check_array(X, ensure_2d=False, dtype=np.float64)
    if values.ndim == 2 and values.shape[1] != 1:
        raise ValueError(f"X: got {values.shape[1]} columns, expected one of log-odds")
    return values.reshape(-1)


def blend_weights(linear: Floats, trees: Floats, y: Floats, weight: Floats) -> Blend:
    """Non-negative weights of two held-out scores: logistic stacking (Wolpert, 1992).

    The intercept is left to the calibration that follows.
    """

    def loss(theta: Floats) -> tuple[float, Floats]:
        eta = theta[0] * linear + theta[1] * trees + theta[2]
        slope = weight * (expit(eta) - y)
        value = float(weight @ (np.logaddexp(0, eta) - y * eta)) / len(y)
        return value, np.array([slope @ linear, slope @ trees, slope.sum()]) / len(y)

    bounds = [(0.0, 2.0), (0.0, 2.0), (None, None)]
    found = minimize(loss, np.array([0.5, 0.5, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    first, second = (float(weight) for weight in found.x[:2])
    # Two scores that say nothing at all still need an order.
    return Blend(1.0, 0.0) if first + second < 1e-6 else Blend(first, second)


def _sigmoid(raw: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """Slope (at least 0.05, so that order is kept) and intercept."""

    def loss(theta: Floats) -> tuple[float, Floats]:
        eta = theta[0] * raw + theta[1]
        value = weight @ (np.logaddexp(0, eta) - target * eta)
        slope = weight * (expit(eta) - target)
        pull = theta - np.array([1.0, 0.0])
        return float(value + 0.5 * pull @ pull), np.array([slope @ raw, slope.sum()]) + pull

    found = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.05, None), (None, None)]
    )
    return float(found.x[0]), float(found.x[1])


def _refined(start: Calibration, raw: Floats, target: Floats, weight: Floats) -> Calibration:
    n_blocks = min(_MAX_KNOTS, len(raw) // _ROWS_PER_KNOT)
    if n_blocks < 3:
        return start
    order = np.argsort(raw, kind="stable")
    blocks = np.array_split(order, n_blocks)
    centre = np.array([np.average(raw[b], weights=weight[b] + 1e-12) for b in blocks])
    total = np.array([weight[b].sum() for b in blocks])
    # One pseudo-row at the sigmoid's value keeps blocks of only ones or zeros finite.
    prior = start.probability(centre)
    rate = np.array([weight[b] @ target[b] for b in blocks])
    rate = (rate + prior) / (total + 1.0)
    rising = IsotonicRegression().fit_transform(centre, rate, sample_weight=total + 1.0)
    knots = logit(np.clip(rising, 1e-4, 1 - 1e-4))
    # A tiny slope of the sigmoid inside flat blocks keeps the order of scores.
    knots = knots + 1e-3 * (start.logit(centre) - start.logit(centre[:1]))
    keep = np.concatenate([[True], (np.diff(centre) > 1e-9) & (np.diff(knots) > 1e-9)])
    if keep.sum() < 2:
        return start
    return Calibration(tuple(centre[keep].tolist()), tuple(knots[keep].tolist()))
