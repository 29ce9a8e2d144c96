"""Population stability index: how far a feature's distribution has moved between two samples.

    PSI = sum over bins of (w - r) ln(w / r),

r and w being a bin's shares of the reference and of the window (Siddiqi 2006, Credit Risk
Scorecards). By the usual reading, below 0.1 is stable, from 0.1 a shift to look at, from 0.25 a
large one. Small samples have a large index by chance alone: without any change PSI is about
(1/n_r + 1/n_w) times a chi-square of B - 1 degrees of freedom (Yurdakul and Naranjo 2020,
Journal of Risk Model Validation 14(4)). Requests of one session resemble each other, so whole
sessions are taken as drawn: with M the covariance of the shares' difference, scaled by the
pooled shares, the chance index has the mean tr M (`expected`, (B - 1)(1/n_r + 1/n_w) without
sessions) and about the quantiles of g chi-square(h), g = |M|^2 / tr M, h = (tr M)^2 / |M|^2 (Rao
and Scott 1984, second order). Only an index above such a quantile (`floor`) is called a shift.
Bins that would hold fewer than five independent requests of the smaller sample count as one.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PsiReading = Literal["stable", "moderate", "large"]

MODERATE, LARGE = 0.1, 0.25
SMOOTHING = 0.5
"""Added to each bin's count, so that an empty bin has a share above zero (Jeffreys' prior)."""
_LEAST_EXPECTED = 5.0


class FeatureShift(Struct, frozen=True, kw_only=True):
    """The index of one feature; `floor` is what chance alone exceeds with the level's probability.

    `expected` is the index that two samples of these sizes have on average without any change.
    """

    name: str
    psi: float
    expected: float
    floor: float
    n_bins: int

    def reading(self, *, moderate: float = MODERATE, large: float = LARGE) -> PsiReading:
        """What the index says, chance taken into account.

        >>> FeatureShift(name="x", psi=0.3, expected=0.1, floor=0.4, n_bins=10).reading()
        'stable'
        """
        if self.psi <= self.floor or self.psi < moderate:
            return "stable"
        return "large" if self.psi >= large else "moderate"


class Bins(Struct, frozen=True):
    """Right-closed bins between `edges`, and one more for NaN."""

    edges: Floats

    @property
    def n(self) -> int:
        """How many bins there are, the one for NaN included."""
        return len(self.edges) + 2

    def index(self, values: Floats) -> Ints:
        """The bin of every value; NaN has the last one."""
        place = np.searchsorted(self.edges, values, side="left")
        return np.where(np.isnan(values), len(self.edges) + 1, place).astype(np.int64)


def bins_of(reference: Floats, *, n_bins: int = 10) -> Bins:
    """Quantile bins of a reference, in which every frequent value has a bin of its own.

    A value that holds at least two of the quantiles (zero, in a feature that is mostly zero)
    is cut off on both sides; the others share the bins between.

    >>> bins = bins_of(np.array([0.0, 0.0, 0.0, 1.0, 2.0, 3.0]), n_bins=3)
    >>> bins.index(np.array([-1.0, 0.0, 0.5, 9.0, float("nan")])).tolist()
    [0, 1, 2, 3, 4]
    """
    known = reference[~np.isnan(reference)]
    if not known.size:
        return Bins(np.empty(0))
    shares = np.linspace(0, 1, n_bins + 1)[1:-1]
    cuts, counts = np.unique(np.quantile(known, shares, method="inverted_cdf"), return_counts=True)
    frequent = cuts[(counts > 1) | (cuts == known.min())]
    return Bins(np.unique(np.concatenate([cuts, np.nextafter(frequent, -np.inf)])))


def population_stability_index(reference: ArrayLike, window: ArrayLike) -> float:
    """PSI of two rows of bin counts, each count raised by SMOOTHING; bins empty in both are left.

    >>> round(population_stability_index([49.5, 49.5], [74.5, 24.5]), 4)  # 0.25 ln 1.5 + 0.25 ln 2
    0.2747
    """
    old = np.asarray(reference, dtype=np.float64)
    new = np.asarray(window, dtype=np.float64)
    used = (old + new) > 0
    old_share, new_share = _shares(old[used]), _shares(new[used])
    return float(((new_share - old_share) * np.log(new_share / old_share)).sum())


def feature_shifts(
    reference: Floats,
    window: Floats,
    *,
    names: Sequence[str],
    reference_sessions: Ints,
    window_sessions: Ints,
    level: float = 0.01,
    n_bins: int = 10,
) -> tuple[FeatureShift, ...]:
    """The index of every column, largest first; `level` is shared by all columns (Bonferroni).

    Rows are requests; sessions number them from zero, in each sample for itself.
    """
    quantile = level / max(1, len(names))
    shifts = []
    for column, name in enumerate(names):
        bins = bins_of(reference[:, column], n_bins=n_bins)
        old = _table(bins.index(reference[:, column]), bins.n, reference_sessions)
        new = _table(bins.index(window[:, column]), bins.n, window_sessions)
        shifts.append(_shift(name, old, new, level=quantile))
    return tuple(sorted(shifts, key=lambda shift: (-shift.psi, shift.name)))


def design_effect(table: Floats) -> float:
    """How many requests count as one, from counts by (session, bin); at least 1.

    The mean over bins of (1 - p) V n / (p (1 - p)), V being the variance of the bin's share p
    with whole sessions drawn.

    >>> design_effect(np.array([[2.0, 0.0], [0.0, 2.0]] * 50)) > 1.9  # pairs of equal requests
    True
    """
    share = table.sum(axis=0) / table.sum()
    used = share > 0
    if used.sum() < 2 or len(table) < 2:
        return 1.0
    spread = np.diag(_share_covariance(table[:, used])) / share[used]
    return max(1.0, float(spread.sum() * table.sum() / (used.sum() - 1)))


def _shift(name: str, old: Floats, new: Floats, *, level: float) -> FeatureShift:
    old, new = _merge_rare(old, new)
    expected, floor = _chance(old, new, level=level)
    return FeatureShift(
        name=name,
        psi=population_stability_index(old.sum(axis=0), new.sum(axis=0)),
        expected=expected,
        floor=floor,
        n_bins=old.shape[1],
    )


def _chance(old: Floats, new: Floats, *, level: float) -> tuple[float, float]:
    """The mean of the index without any change, and what it exceeds with probability `level`."""
    freedom = old.shape[1] - 1
    if not freedom:
        return 0.0, 0.0
    simple = freedom * (1 / old.sum() + 1 / new.sum())
    root = np.sqrt((old.sum(axis=0) + new.sum(axis=0)) / (old.sum() + new.sum()))
    moved = (_share_covariance(old) + _share_covariance(new)) / np.outer(root, root)
    trace, square = float(np.trace(moved)), float(np.square(moved).sum())
    if trace <= 0:
        return simple, simple / freedom * float(chi2.isf(level, freedom))
    quantile = square / trace * float(chi2.isf(level, trace**2 / square))
    scale = max(1.0, simple / trace)
    return float(trace * scale), float(quantile * scale)


def _share_covariance(table: Floats) -> Floats:
    """Covariance of the bins' shares, sessions drawn with replacement."""
    n_sessions, n = len(table), table.sum()
    residual = table - table.sum(axis=1, keepdims=True) * (table.sum(axis=0) / n)
    covariance: Floats = residual.T @ residual * (n_sessions / max(1, n_sessions - 1) / n**2)
    return covariance


def _n_independent(table: Floats) -> float:
    return float(table.sum()) / design_effect(table)


def _merge_rare(old: Floats, new: Floats) -> tuple[Floats, Floats]:
    """Both tables with the rare bins as one, the last; what is rare even then joins another."""
    counts = old.sum(axis=0) + new.sum(axis=0)
    expected = counts / counts.sum() * min(_n_independent(old), _n_independent(new))
    order = np.argsort(expected, kind="stable")
    is_rare = expected[order] < _LEAST_EXPECTED
    n_merged = int(is_rare.sum())
    if n_merged and expected[order][is_rare].sum() < _LEAST_EXPECTED:
        n_merged = min(n_merged + 1, len(order))
    rest, kept = order[:n_merged], np.sort(order[n_merged:])
    merged = [
        np.column_stack([table[:, kept], table[:, rest].sum(axis=1)]) if n_merged else table
        for table in (old, new)
    ]
    return merged[0], merged[1]


def _table(index: Ints, n_bins: int, sessions: Ints) -> Floats:
    """Counts by (session, bin)."""
    n_sessions = int(sessions.max()) + 1
    counts = np.bincount(sessions * n_bins + index, minlength=n_sessions * n_bins)
    table: Floats = counts.reshape(n_sessions, n_bins).astype(np.float64)
    return table


def _shares(counts: Floats) -> Floats:
    raised = counts + SMOOTHING
    shares: Floats = raised / raised.sum()
    return shares
