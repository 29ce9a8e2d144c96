"""Ridge regressions of probabilities and of positive amounts, by Newton's method.

Two generalised linear models (McCullagh and Nelder 1989) with their canonical links: "logistic"
for targets in [0, 1], and "poisson" (log link) for amounts of at least 0, costs for example. With
a canonical link and a free intercept the fitted values add up to the observed ones, so that a
mean is never off on the data it was fitted on. Many rows and a few hundred columns take
fractions of a second.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import expit

from router_model.heads import ContextScaler

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Family = Literal["logistic", "poisson"]

_STEPS = 25
_LOGIT_LIMIT = 30.0


class Glm(Struct, frozen=True):
    """A fitted regression; `predict` stays within the range that was seen in the fit."""

    family: Family
    intercept: float
    coef: Floats
    low: float
    high: float

    def predict(self, rows: Floats, *, offset: Floats | None = None) -> Floats:
        """Expected target of every row."""
        eta = self.intercept + rows @ self.coef
        if self.family == "logistic":
            return np.asarray(expit(eta if offset is None else eta + offset))
        bounded = np.clip(eta, self.low, self.high)
        return np.asarray(np.exp(bounded if offset is None else bounded + offset))


def fit_glm(
    rows: Floats,
    y: Floats,
    *,
    family: Family = "logistic",
    weight: Floats | None = None,
    offset: Floats | None = None,
    ridge: float = 10.0,
) -> Glm:
    """The regression of `y` on `rows`, the intercept unpenalised.

    Minimises the weighted deviance / 2 + ridge / 2 |coef|^2 over columns that should be scaled
    alike. `offset` is added to the linear predictor with coefficient 1.

    >>> import numpy as np
    >>> glm = fit_glm(np.zeros((4, 1)), np.array([1.0, 1.0, 1.0, 0.0]))
    >>> glm.predict(np.zeros((1, 1))).round(6)
    array([0.75])
    """
    table = np.column_stack([np.ones(len(rows)), rows])
    weights = np.ones(len(y)) if weight is None else weight
    base = np.zeros(len(y)) if offset is None else offset
    penalty = np.full(table.shape[1], ridge)
    penalty[0] = 1e-9  # a free intercept, that still has an end when all targets are equal
    theta = np.zeros(table.shape[1])
    theta[0] = _start(y, weights, base, family)
    loss = _loss(table, y, weights, base, penalty, family)
    value = loss(theta)
    for _ in range(_STEPS):
        step = _newton_step(table, y, weights, base, penalty, family, theta)
        theta, better = _backtrack(loss, theta, step, value)
        if value - better <= 1e-9 * (1.0 + abs(value)):
            break
        value = better
    seen = table @ theta
    return Glm(family, float(theta[0]), theta[1:], float(seen.min()), float(seen.max()))


def cross_fit(rows: Floats, fit: Callable[[NDArray[np.bool_]], Glm], *, folds: Ints) -> Floats:
    """Predictions of every row by a regression fitted on the other folds.

    `fit` is given the mask of the rows it may see.
    """
    predicted = np.empty(len(rows))
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        predicted[held] = fit(~held).predict(rows[held])
    return predicted


def scaled(features: NDArray[np.floating]) -> Floats:
    """Columns centred, scaled and clipped at 5 standard deviations; unknown values become 0."""
    values = np.asarray(features, dtype=np.float64)
    finite = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(finite).any(axis=0)
    mean, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    if known.any():
        mean[known] = np.nanmean(finite[:, known], axis=0)
        scale[known] = np.nanstd(finite[:, known], axis=0)
    return ContextScaler(mean, np.where(scale > 1e-9, scale, 1.0)).transform(finite)


def _start(y: Floats, weights: Floats, base: Floats, family: Family) -> float:
    """The intercept that fits the mean."""
    mean = float(np.average(y, weights=weights))
    if family == "logistic":
        bounded = min(max(mean, 1e-6), 1 - 1e-6)
        return float(np.log(bounded / (1 - bounded)))
    expected = float(np.average(np.exp(base), weights=weights))
    return float(np.log(max(mean, 1e-12) / expected))


def _loss(
    table: Floats, y: Floats, weights: Floats, base: Floats, penalty: Floats, family: Family
) -> Callable[[Floats], float]:
    def loss(theta: Floats) -> float:
        eta = table @ theta + base
        if family == "logistic":
            terms = np.logaddexp(0.0, eta) - y * eta
        else:
            terms = np.exp(np.minimum(eta, 200.0)) - y * eta
        return float(weights @ terms + 0.5 * penalty @ np.square(theta))

    return loss


def _newton_step(
    table: Floats,
    y: Floats,
    weights: Floats,
    base: Floats,
    penalty: Floats,
    family: Family,
    theta: Floats,
) -> Floats:
    eta = table @ theta + base
    if family == "logistic":
        mean = expit(np.clip(eta, -_LOGIT_LIMIT, _LOGIT_LIMIT))
        curvature = mean * (1.0 - mean)
    else:
        mean = np.exp(np.minimum(eta, 200.0))
        curvature = mean
    gradient = table.T @ (weights * (y - mean)) - penalty * theta
    hessian = (table * (weights * curvature)[:, None]).T @ table
    hessian[np.diag_indices_from(hessian)] += penalty + 1e-9
    return np.asarray(np.linalg.solve(hessian, gradient))


def _backtrack(
    loss: Callable[[Floats], float], theta: Floats, step: Floats, value: float
) -> tuple[Floats, float]:
    """The longest of ever shorter steps that does not raise the loss."""
    share = 1.0
    while share > 1e-6:
        candidate = theta + share * step
        reached = loss(candidate)
        if reached <= value:
            return candidate, reached
        share /= 2
    return theta, value
