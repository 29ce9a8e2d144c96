"""What outcomes say about the inadequacy of downgraded requests, summed over groups."""

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from router_model.errors import DatasetError
from router_training.downgrades import Downgrades, downgrades
from router_training.intervals import group_index
from router_training.matrix import Floats, Ints
from router_training.risk_tests import bet_logs, betting_p, binomial_bound, binomial_p
from router_training.threshold_plan import ThresholdPlan

_EXACT = 1e-9


class Evidence(Struct, frozen=True, kw_only=True):
    """Sums over each group (rows) at each threshold: `loss` of D v or its estimate, `weight` of D.

    `further` is the sum of D over the requests of a group beyond the plan's `largest_group`: they
    count as inadequate, because only then is what holds for the others true of all. `largest`
    bounds the loss of a group. `is_exact` when of each group one request with a known outcome is
    looked at, so that the binomial test holds.
    """

    loss: Floats
    weight: Floats
    further: Floats
    largest: float
    is_exact: bool
    n: int

    def p_values(self, *, alpha: float, counts: Floats | None = None) -> Floats:
        """p-values of "more than alpha" (resamples, thresholds).

        `counts` says how often each group is drawn in each resample; once each when not given.
        """
        drawn = np.ones((1, len(self.loss))) if counts is None else counts
        if self.is_exact:
            loss, weight = self.loss + self.further, self.weight + self.further
            return binomial_p(np.rint(drawn @ loss), drawn @ weight, alpha=alpha)
        logs = self._logs(alpha=alpha)
        total = drawn @ logs.reshape(len(logs), -1)
        return betting_p(total.reshape(len(drawn), *logs.shape[1:]))

    def bound(self, at: int, *, level: float) -> float:
        """Upper bound of the share of inadequate at a threshold, exceeded with P <= level."""
        if self.is_exact:
            n_further = self.further[:, at].sum()
            n_inadequate = round(self.loss[:, at].sum() + n_further)
            n = round(self.weight[:, at].sum() + n_further)
            return binomial_bound(n_inadequate, n, level=level)
        low, high = 0.0, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            logs = self._logs(alpha=middle, at=slice(at, at + 1))
            is_rejected = bool(betting_p(logs.sum(axis=0))[0] <= level)
            low, high = (low, middle) if is_rejected else (middle, high)
        return high

    def _logs(self, *, alpha: float, at: slice = slice(None)) -> Floats:
        """Logs of every bet (groups, thresholds, bets); each further request is one for certain."""
        loss, weight, further = self.loss[:, at], self.weight[:, at], self.further[:, at]
        one = bet_logs(np.ones(1), np.ones(1), alpha=alpha, largest=self.largest)
        return bet_logs(loss, weight, alpha=alpha, largest=self.largest) + further[..., None] * one


def evidence_of(
    p: ArrayLike,
    cost: ArrayLike,
    adequate: ArrayLike,
    *,
    plan: ThresholdPlan,
    groups: ArrayLike | None = None,
    propensity: ArrayLike | None = None,
    action: ArrayLike | None = None,
) -> Evidence:
    """Losses of requests (rows) and models (columns) at the thresholds of a plan.

    `p` is NaN where a model is not admissible, `adequate` 1 or 0 and NaN where it was not
    observed. `propensity` (n, m) is the probability with which the log could show each model, 1
    for all when not given; `action` (n,) the drawn model, needed where its outcome is missing.
    """
    ps, known = np.asarray(p, dtype=np.float64), np.asarray(adequate, dtype=np.float64)
    q = np.ones_like(ps) if propensity is None else np.asarray(propensity, dtype=np.float64)
    if not ps.shape == known.shape == q.shape == np.shape(cost):
        raise DatasetError(
            f"p, cost, adequate, propensity: got shapes {ps.shape}, {np.shape(cost)}, "
            f"{known.shape}, {q.shape}, expected one shape"
        )
    found = downgrades(ps, cost)
    drawn = np.isfinite(known) | (q >= 1.0 - _EXACT)
    if action is not None:
        drawn[np.arange(len(ps)), np.asarray(action, dtype=np.int64)] = True
    loss = cell_losses(ps, known, q, drawn=drawn, floor=plan.floor)
    index, n_groups = _groups(groups, len(ps))
    kept = _rank_in_group(index) < plan.largest_group
    is_downgraded = found.is_downgraded(plan.thresholds)
    weight = (is_downgraded & kept[:, None]).astype(np.float64)
    further = (is_downgraded & ~kept[:, None]).astype(np.float64)
    at = _chosen(loss, found, plan) * weight
    is_exact = plan.largest_group == 1 and plan.floor >= 1.0 and bool(np.isin(at, (0, 1)).all())
    return Evidence(
        loss=_sums(at, index, n_groups),
        weight=_sums(weight, index, n_groups),
        further=_sums(further, index, n_groups),
        largest=plan.largest_group / plan.floor,
        is_exact=is_exact,
        n=int(kept.sum()),
    )


def cell_losses(
    p: Floats, adequate: Floats, propensity: Floats, *, drawn: NDArray[np.bool_], floor: float
) -> Floats:
    """Doubly robust inadequacy of every cell: r + 1[drawn] / q (v - r), v where q is 1.

    >>> p, q = np.array([[0.9, 0.9, 0.9]]), np.array([[0.5, 0.5, 0.0]])
    >>> seen = np.array([[1.0, np.nan, np.nan]])
    >>> cell_losses(p, seen, q, drawn=np.isfinite(seen), floor=0.5).round(2)
    array([[-0.1,  0.1,  1. ]])
    """
    v = np.where(np.isfinite(adequate), 1.0 - adequate, 1.0)
    r = 1.0 - np.nan_to_num(p)
    is_supported = propensity >= floor * (1.0 - _EXACT)
    q = np.where(is_supported, propensity, 1.0)
    robust = np.where(q >= 1.0 - _EXACT, v, r + drawn / q * (v - r))
    return np.asarray(np.where(is_supported, robust, 1.0))


def _chosen(loss: Floats, found: Downgrades, plan: ThresholdPlan) -> Floats:
    return np.asarray(np.take_along_axis(loss, found.choice(plan.thresholds), axis=1))


def _groups(groups: ArrayLike | None, n: int) -> tuple[Ints, int]:
    if groups is None:
        return np.arange(n), n
    index, n_groups = group_index(groups)
    if len(index) != n:
        raise DatasetError(f"groups: got {len(index)} entries, expected {n}")
    return index, n_groups


def _rank_in_group(index: Ints) -> Ints:
    order = np.argsort(index, kind="stable")
    first = np.searchsorted(index[order], index[order], side="left")
    rank = np.empty(len(index), dtype=np.int64)
    rank[order] = np.arange(len(index)) - first
    return rank


def _sums(values: Floats, index: Ints, n_groups: int) -> Floats:
    if n_groups == len(index):
        sums = np.empty_like(values)
        sums[index] = values
        return sums
    sums = np.zeros((n_groups, values.shape[1]))
    np.add.at(sums, index, values)
    return sums
