"""Confidence intervals by resampling whole groups of contexts.

Contexts of one group (task, session, repository) are not independent, so groups are drawn, not
contexts (Field and Welsh 2007). Statistics are functions of column sums, which makes a resample
one row of a matrix product.

Percentile intervals are the default. BCa intervals (Efron 1987) correct them for bias and
skewness, with the acceleration from a jackknife over at most 200 blocks of groups. They suit
smooth statistics only: for a difference from the hull, which is a maximum, their lower end lay
above the truth in 8% of simulations instead of 2.5% (percentile: 3%).
"""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]
Method = Literal["bca", "percentile"]
Statistic = Callable[[Floats], Floats]
WeightedStatistic = Callable[[Floats], float]

_CHUNK = 100
_MAX_BLOCKS = 200


class Interval(Struct, frozen=True):
    """An estimate with the two ends of its interval; ends are NaN when there is none."""

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True when both ends lie on the same side of zero."""
        return self.low > 0 or self.high < 0

    @property
    def half_width(self) -> float:
        """Half the distance between the ends."""
        return (self.high - self.low) / 2


class Resampling(Struct, frozen=True, kw_only=True):
    """How intervals are made."""

    n_resamples: int = 1000
    level: float = 0.95
    method: Method = "percentile"
    seed: int = 0


def group_index(groups: ArrayLike) -> tuple[NDArray[np.int64], int]:
    """Number of the group of every context, and how many groups there are."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    return index.astype(np.int64).reshape(-1), len(names)


def grouped_interval(
    columns: ArrayLike,
    groups: ArrayLike,
    statistic: Statistic,
    *,
    resampling: Resampling | None = None,
) -> Interval:
    """Interval of `statistic`, which maps column sums (resamples, columns) to (resamples,).

    `columns` has one row per context. Give a column of ones when a mean is needed: the number
    of contexts differs between resamples when groups differ in size.
    """
    options = resampling or Resampling()
    values = np.asarray(columns, dtype=np.float64)
    index, n_groups = group_index(groups)
    sums = np.zeros((n_groups, values.shape[1]))
    np.add.at(sums, index, values)
    estimate = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    if n_groups < 2:
        return Interval(estimate, float("nan"), float("nan"))
    draws = np.concatenate(
        [statistic(counts @ sums) for counts in resample_counts(n_groups, options)]
    )
    blocks = _block_sums(sums)
    jackknife = statistic(sums.sum(axis=0) - blocks) if options.method == "bca" else np.empty(0)
    return interval_from_draws(estimate, draws, jackknife=jackknife, level=options.level)


def weighted_interval(
    groups: ArrayLike, statistic: WeightedStatistic, *, resampling: Resampling | None = None
) -> Interval:
    """Percentile interval of a statistic of context weights, for what is no function of sums."""
    options = resampling or Resampling()
    index, n_groups = group_index(groups)
    estimate = statistic(np.ones(len(index)))
    if n_groups < 2:
        return Interval(estimate, float("nan"), float("nan"))
    draws = [
        statistic(row[index]) for counts in resample_counts(n_groups, options) for row in counts
    ]
    return interval_from_draws(estimate, np.asarray(draws), level=options.level)


def mean_interval(
    values: ArrayLike, groups: ArrayLike, *, resampling: Resampling | None = None
) -> Interval:
    """Interval of the mean over contexts; the same as a paired difference when given one."""
    column = np.asarray(values, dtype=np.float64)
    columns = np.stack([column, np.ones_like(column)], axis=1)
    return grouped_interval(columns, groups, lambda s: s[:, 0] / s[:, 1], resampling=resampling)


def resample_counts(n_groups: int, options: Resampling) -> Iterator[Floats]:
    """How often each group is drawn, in chunks of resamples; the same for the same seed."""
    rng = np.random.default_rng(options.seed)
    for start in range(0, options.n_resamples, _CHUNK):
        n_rows = min(_CHUNK, options.n_resamples - start)
        drawn = rng.integers(0, n_groups, size=(n_rows, n_groups))
        drawn += np.arange(n_rows)[:, None] * n_groups
        counts = np.bincount(drawn.ravel(), minlength=n_rows * n_groups)
        yield counts.reshape(n_rows, n_groups).astype(np.float64)


def interval_from_draws(
    estimate: float, draws: Floats, *, jackknife: Floats | None = None, level: float = 0.95
) -> Interval:
    """Percentile interval of the draws, BCa when a jackknife is given.

    Infinite draws stay in, at their end; NaN (a statistic that does not exist there) is left out.
    """
    finite = draws[~np.isnan(draws)]
    if not finite.size or not np.isfinite(estimate):
        return Interval(estimate, float("nan"), float("nan"))
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if jackknife is not None and jackknife.size:
        tails = _bca_tails(estimate, finite, jackknife[np.isfinite(jackknife)], tails)
    low, high = np.quantile(finite, tails, method="inverted_cdf")
    return Interval(estimate, float(low), float(high))


def _bca_tails(estimate: float, draws: Floats, jackknife: Floats, tails: Floats) -> Floats:
    """Tail probabilities corrected for bias (z0) and acceleration (a), Efron 1987, eq. 2.3."""
    below = ((draws < estimate).mean() + (draws <= estimate).mean()) / 2
    edge = 1 / (2 * len(draws))
    bias = ndtri(np.clip(below, edge, 1 - edge))
    centred = jackknife.mean() - jackknife if jackknife.size else np.zeros(1)
    spread = float((centred**2).sum())
    acceleration = float((centred**3).sum()) / (6 * spread**1.5) if spread > 1e-300 else 0.0
    shifted = bias + ndtri(tails)
    return np.asarray(ndtr(bias + shifted / (1 - acceleration * shifted)))


def _block_sums(sums: Floats) -> Floats:
    n_blocks = min(len(sums), _MAX_BLOCKS)
    blocks = np.zeros((n_blocks, sums.shape[1]))
    np.add.at(blocks, np.arange(len(sums)) % n_blocks, sums)
    return blocks
