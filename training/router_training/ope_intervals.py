"""Intervals of off-policy estimates, with whole groups of rows as the independent units.

Every estimate is a mean of terms, or a ratio of two such means. Groups (sessions) are drawn, rows
within a group are not independent. With D_g the sum over a group of the terms minus the estimate,
G groups and n rows:

- *normal*: estimate +- 1.96 se, se^2 = G / (G - 1) sum_g D_g^2 / n^2, the cluster-robust sandwich
  (Liang and Zeger 1986); for a ratio the terms are linearised, (a_i - estimate b_i) / mean(b);
- *empirical Bernstein* (Maurer and Pontil 2009, theorem 11: independent terms in a range R, not
  necessarily alike): with probability 1 - delta the mean of G terms with sample variance V is off
  by at most sqrt(2 V ln(4 / delta) / G) + 7 R ln(4 / delta) / (3 (G - 1)). No normality is needed;
  the range is, and it makes the interval wide where weights can be large. With groups of unequal
  size the terms are D_g G / n, and the estimate stands for the truth inside of V;
- *studentised bootstrap* (bootstrap-t: Efron and Tibshirani 1993, ch. 12) for ratios, which have
  no such bound: groups are drawn with replacement, and the quantiles of (resampled estimate -
  estimate) / (resampled se) replace those of the normal.
"""

from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import ndtri

from router_training.intervals import Resampling, group_index, resample_counts

Floats = NDArray[np.float64]
LEVEL = 0.95


class Estimate(Struct, frozen=True, kw_only=True):
    """An estimated policy value with what one has to know to believe it.

    `low` and `high` are the ends of the 95% normal interval, `robust_low` and `robust_high` those
    of the empirical-Bernstein or bootstrap interval; they are NaN when a single group leaves
    nothing to compare. `unsupported` is the mean probability of the policy on actions the log
    could never have shown: no interval covers what they would yield. `parameter` is the clip,
    threshold or shrinkage that was used (NaN: none), and `bias_bound` how far it can shift the
    estimate.
    """

    value: float
    standard_error: float
    low: float
    high: float
    robust_low: float
    robust_high: float
    n: int
    effective_sample_size: float
    unsupported: float
    parameter: float = float("nan")
    bias_bound: float = 0.0

    @property
    def half_width(self) -> float:
        """Half the distance between the ends of the normal interval."""
        return (self.high - self.low) / 2


class Spread(NamedTuple):
    """A standard error, and the two ends of both intervals."""

    standard_error: float
    low: float
    high: float
    robust_low: float
    robust_high: float


def mean_spread(
    terms: Floats, groups: NDArray[np.generic] | None, *, bounds: tuple[float, float]
) -> Spread:
    """Spread of the mean of terms that lie within `bounds`.

    >>> terms = np.array([0.0, 1.0, 0.0, 1.0])
    >>> [round(x, 3) for x in mean_spread(terms, None, bounds=(0.0, 1.0))[:3]]
    [0.289, -0.066, 1.066]
    """
    value, n = float(terms.mean()), len(terms)
    index, n_groups = _groups(groups, n)
    if n_groups < 2:
        return Spread(*[float("nan")] * 5)
    deviation = _sums(terms - value, index, n_groups)
    error = _standard_error(deviation, n)
    normal = _z() * error
    sizes = np.bincount(index, minlength=n_groups)
    width = (bounds[1] - bounds[0]) * float(sizes.max()) * n_groups / n
    robust = bernstein_half_width(deviation * n_groups / n, width=width)
    return Spread(error, value - normal, value + normal, value - robust, value + robust)


def ratio_spread(
    numerator: Floats,
    denominator: Floats,
    groups: NDArray[np.generic] | None,
    *,
    resampling: Resampling,
) -> Spread:
    """Spread of sum(numerator) / sum(denominator), the latter above 0."""
    n, total = len(numerator), float(denominator.sum())
    value = float(numerator.sum()) / total
    index, n_groups = _groups(groups, n)
    if n_groups < 2:
        return Spread(*[float("nan")] * 5)
    a, b = _sums(numerator, index, n_groups), _sums(denominator, index, n_groups)
    error = _standard_error(a - value * b, total)
    low, high = _studentised(a, b, value, error, resampling)
    normal = _z() * error
    return Spread(error, value - normal, value + normal, low, high)


def clustered_standard_error(terms: Floats, groups: NDArray[np.generic] | None) -> float:
    """Standard error of the mean of terms; NaN for a single group."""
    index, n_groups = _groups(groups, len(terms))
    deviation = _sums(terms - terms.mean(), index, n_groups)
    return _standard_error(deviation, len(terms))


def bernstein_half_width(terms: Floats, *, width: float, level: float = LEVEL) -> float:
    """How far the mean of independent terms, each in a range of `width`, can be from the truth.

    >>> round(bernstein_half_width(np.array([0.0, 1.0] * 500), width=1.0), 4)
    0.0571
    """
    n = len(terms)
    if n < 2:
        return float("nan")
    log = np.log(4.0 / (1.0 - level))
    variance = float(terms.var(ddof=1))
    return float(np.sqrt(2.0 * variance * log / n) + 7.0 * width * log / (3.0 * (n - 1)))


def _groups(groups: NDArray[np.generic] | None, n: int) -> tuple[NDArray[np.int64], int]:
    return (np.arange(n), n) if groups is None else group_index(groups)


def _sums(values: Floats, index: NDArray[np.int64], n_groups: int) -> Floats:
    return np.bincount(index, weights=values, minlength=n_groups).astype(np.float64)


def _standard_error(deviation: Floats, total: float) -> float:
    n_groups = len(deviation)
    if n_groups < 2:
        return float("nan")
    correction = n_groups / (n_groups - 1)
    return float(np.sqrt(correction * np.square(deviation).sum()) / total)


def _z() -> float:
    return float(ndtri((1.0 + LEVEL) / 2))


def _studentised(
    a: Floats, b: Floats, value: float, error: float, resampling: Resampling
) -> tuple[float, float]:
    """Ends of the bootstrap-t interval of sum(a) / sum(b) over groups."""
    if error == 0.0 or resampling.n_resamples == 0:
        return value, value
    columns = np.stack([a, b, a * a, a * b, b * b], axis=1)
    sums = np.concatenate([counts @ columns for counts in resample_counts(len(a), resampling)])
    sums = sums[sums[:, 1] > 0]
    ratio = sums[:, 0] / sums[:, 1]
    square = sums[:, 2] - 2.0 * ratio * sums[:, 3] + ratio * ratio * sums[:, 4]
    errors = np.sqrt(np.maximum(square, 0.0)) / sums[:, 1]
    usable = errors > 1e-12 * abs(error)
    if not usable.any():
        return float("nan"), float("nan")
    t = (ratio[usable] - value) / errors[usable]
    below, above = np.quantile(t, [(1.0 - LEVEL) / 2, (1.0 + LEVEL) / 2])
    return float(value - above * error), float(value - below * error)
