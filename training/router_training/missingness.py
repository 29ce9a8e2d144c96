"""Weights that make observed outcomes speak for the ones that never came.

Outcomes go missing: a client reports only some of its sessions. When whether an outcome is
observed depends on no more than the context and the action (missing at random), weighting the
observed rows by the inverse of their probability of being observed restores the whole (inverse
probability weighting: Robins, Rotnitzky and Zhao 1994). What depends on the outcome itself, say
a client that reports only what went wrong, no weight can restore.

The probability is that of a ridge logistic regression on features and action, fitted on other
groups than the row's own.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from router_model.errors import DatasetError
from router_training.glm import Glm, cross_fit, fit_glm, scaled
from router_training.splits import grouped_folds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_P_OBSERVED = 0.05
"""Least probability of being observed that is divided by; less is rarer weights, more variance."""
_N_FOLDS = 5
_RIDGE = 20.0


class Observation(Struct, frozen=True, kw_only=True):
    """How likely each outcome was to be observed, and the weights that follow.

    `weight` is 1 / `p_observed` where the outcome was observed, 0 elsewhere. `n_clipped` counts
    the observed rows whose probability was raised to the least allowed: their weights are too
    small, and the estimate leans away from rows like them.
    """

    weight: Floats
    p_observed: Floats
    n_observed: int
    n_clipped: int

    @property
    def share(self) -> float:
        """Share of the rows whose outcome was observed."""
        return self.n_observed / len(self.weight)


def observation_weights(
    features: NDArray[np.floating],
    action: Ints,
    observed: Bools,
    groups: ArrayLike,
    seed: int = 0,
) -> Floats:
    """Weight of every row: 1 / P(observed | features, action), 0 where it was not observed.

    See `observation_model`.
    """
    return observation_model(features, action, observed, groups, seed=seed).weight


def observation_model(
    features: NDArray[np.floating],
    action: Ints,
    observed: Bools,
    groups: ArrayLike,
    *,
    seed: int = 0,
    min_p_observed: float = MIN_P_OBSERVED,
) -> Observation:
    """P(observed) of every row, cross-fitted by group, and the weights.

    Everything observed gives weights of exactly 1. Raises DatasetError when nothing was
    observed. With a single group there is nothing to cross-fit on, and the share observed is
    every row's probability.

    >>> seen = np.array([True, True, True, False])
    >>> observation_weights(np.zeros((4, 1)), np.zeros(4, int), seen, ["a"] * 4).round(3)
    array([1.333, 1.333, 1.333, 0.   ])
    """
    n, n_observed = len(observed), int(observed.sum())
    if n_observed == 0:
        raise DatasetError(f"outcomes: none of {n} was observed, expected at least 1")
    if n_observed == n:
        return Observation(weight=np.ones(n), p_observed=np.ones(n), n_observed=n, n_clipped=0)
    p = _p_observed(features, action, observed, np.asarray(groups), seed=seed)
    clipped = np.maximum(p, min_p_observed)
    return Observation(
        weight=np.where(observed, 1.0 / clipped, 0.0),
        p_observed=clipped,
        n_observed=n_observed,
        n_clipped=int((observed & (p < min_p_observed)).sum()),
    )


def _p_observed(
    features: NDArray[np.floating],
    action: Ints,
    observed: Bools,
    groups: NDArray[np.generic],
    *,
    seed: int,
) -> Floats:
    y = observed.astype(np.float64)
    if len(np.unique(groups)) < 2:
        return np.full(len(y), y.mean())
    n_actions = int(action.max()) + 1
    rows = np.column_stack([scaled(features), np.eye(n_actions)[action]])

    def fit(train: Bools) -> Glm:
        return fit_glm(rows[train], y[train], ridge=_RIDGE)

    return cross_fit(rows, fit, folds=grouped_folds(groups, n_folds=_N_FOLDS, seed=seed))
