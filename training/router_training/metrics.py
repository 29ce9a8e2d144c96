"""Metrics of probabilities and of routers, each with its formula.

A name ends in `_score` when more is better and in `_loss` when less is better; `METRICS` lists
them all. Targets `y` may be fractions: 0.7 counts as 0.7 of an adequate answer and 0.3 of an
inadequate one.

Sources: APGR and CPT from RouteLLM (Ong et al. 2024, arXiv:2406.18665, section 3 and the
authors' evaluation code), AIQ from RouterBench (Hu et al. 2024, arXiv:2403.12031, section 3),
calibration error from Guo et al. 2017 (arXiv:1706.04599), with equal-mass bins as in Nixon et
al. 2019 (arXiv:1904.01685).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from router_training.envelope import upper_envelope

Floats = NDArray[np.float64]
Bins = Literal["mass", "width"]
Kind = Literal["probability", "pair", "curve"]

_CLIP = 1e-15


def brier_loss(y: ArrayLike, p: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Mean squared difference between outcome and probability: sum w (p - y)^2 / sum w.

    >>> round(brier_loss([1, 0], [0.8, 0.4]), 3)
    0.1
    """
    outcome, prob, weight = _checked(y, p, sample_weight)
    return float(np.average((prob - outcome) ** 2, weights=weight))


def log_loss(y: ArrayLike, p: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Mean negative log likelihood in nats; probabilities are kept 1e-15 away from 0 and 1.

    >>> round(log_loss([1, 0], [0.8, 0.4]), 4)
    0.367
    """
    outcome, prob, weight = _checked(y, p, sample_weight)
    prob = np.clip(prob, _CLIP, 1 - _CLIP)
    losses = -(outcome * np.log(prob) + (1 - outcome) * np.log1p(-prob))
    return float(np.average(losses, weights=weight))


def expected_calibration_loss(
    y: ArrayLike,
    p: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_bins: int = 15,
    bins: Bins = "mass",
) -> float:
    """Expected calibration error: sum over bins of (weight share) x |mean outcome - mean p|.

    `bins` is "mass" (equally many predictions in each, ties kept together) or "width" (equally
    wide). The estimate is biased upwards by about sqrt(n_bins / n).

    >>> round(expected_calibration_loss([1, 0, 1, 1], [0.4, 0.4, 0.9, 0.9], n_bins=2), 3)
    0.1
    """
    outcome, prob, weight = _checked(y, p, sample_weight)
    index = bin_index(prob, n_bins=n_bins, bins=bins)
    gap = np.bincount(index, weights=weight * (outcome - prob), minlength=n_bins)
    return float(np.abs(gap).sum() / weight.sum())


def bin_index(p: ArrayLike, *, n_bins: int = 15, bins: Bins = "mass") -> NDArray[np.int64]:
    """Calibration bin of every probability, 0 to n_bins - 1; equal probabilities share one."""
    prob = np.asarray(p, dtype=np.float64)
    if bins == "width":
        return np.minimum((prob * n_bins).astype(np.int64), n_bins - 1)
    edges = np.quantile(prob, np.linspace(0, 1, n_bins + 1)[1:-1], method="inverted_cdf")
    return np.searchsorted(edges, prob, side="left").astype(np.int64)


def auc_score(y: ArrayLike, p: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Probability that an adequate case is ranked above an inadequate one; ties count half.

    NaN when all outcomes are the same.

    >>> auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    outcome, prob, weight = _checked(y, p, sample_weight)
    order = np.argsort(prob, kind="stable")
    starts = np.flatnonzero(np.diff(prob[order], prepend=-np.inf))
    positive = np.add.reduceat((weight * outcome)[order], starts)
    negative = np.add.reduceat((weight * (1 - outcome))[order], starts)
    below = np.cumsum(negative) - negative
    total = positive.sum() * negative.sum()
    if total <= 0:
        return float("nan")
    return float((positive * (below + negative / 2)).sum() / total)


def strong_call_curve(
    gain: ArrayLike, weak: ArrayLike, strong: ArrayLike, *, n_bins: int = 10
) -> tuple[Floats, Floats]:
    """Shares of strong calls, rising from 0 to 1, and the mean score at each.

    As RouteLLM does it: thresholds are the quantiles of the predicted `gain` that cut it into
    `n_bins` equal parts; a request goes to the strong model when its gain reaches the threshold.
    """
    is_strong = strong_choices(gain, n_bins=n_bins)
    score = np.where(
        is_strong, np.asarray(strong, float)[:, None], np.asarray(weak, float)[:, None]
    )
    return is_strong.mean(axis=0), score.mean(axis=0)


def strong_choices(gain: ArrayLike, *, n_bins: int = 10) -> NDArray[np.bool_]:
    """Whether each request (row) goes to the strong model at each threshold (column)."""
    values = np.asarray(gain, dtype=np.float64)
    thresholds = np.quantile(values, np.linspace(1, 0, n_bins + 1))
    chosen = values[:, None] >= thresholds[None, :]
    chosen[:, 0] = False  # the highest threshold is exclusive, so that the curve starts at no call
    return chosen


def pgr(quality: ArrayLike, weak: ArrayLike, strong: ArrayLike) -> Floats:
    """Performance gap recovered: (quality - weak) / (strong - weak); NaN without a gap."""
    low = np.asarray(weak, dtype=np.float64)
    gap = np.asarray(strong, dtype=np.float64) - low
    with np.errstate(divide="ignore", invalid="ignore"):
        recovered = (np.asarray(quality, dtype=np.float64) - low) / gap
    return np.asarray(np.where(gap == 0, np.nan, recovered))


def apgr_score(gain: ArrayLike, *, weak: ArrayLike, strong: ArrayLike, n_bins: int = 10) -> float:
    """Average performance gap recovered: area under PGR over the share of strong calls.

    Trapezoids over `n_bins` + 1 points, as in RouteLLM's code. 0.5 is a random router, above 1
    is possible when the mix beats the strong model. NaN when both models score the same.

    >>> apgr_score([0.9, 0.1], weak=[0, 1], strong=[1, 1], n_bins=2)
    0.75
    """
    share, quality = strong_call_curve(gain, weak, strong, n_bins=n_bins)
    recovered = pgr(quality, np.mean(np.asarray(weak)), np.mean(np.asarray(strong)))
    return float(np.trapezoid(recovered, share))


def cpt_loss(
    gain: ArrayLike,
    *,
    weak: ArrayLike,
    strong: ArrayLike,
    recovered: float = 0.5,
    n_bins: int = 10,
) -> float:
    """Call-performance threshold: smallest share of strong calls with PGR >= `recovered`.

    Read off the piecewise linear curve at its first crossing (RouteLLM's code interpolates and
    assumes a rising curve; on a rising curve both agree). NaN when the strong model is not
    better.

    >>> cpt_loss([0.9, 0.1], weak=[0, 1], strong=[1, 1], recovered=0.5, n_bins=2)
    0.25
    """
    share, quality = strong_call_curve(gain, weak, strong, n_bins=n_bins)
    low, high = float(np.mean(np.asarray(weak))), float(np.mean(np.asarray(strong)))
    if high <= low:
        return float("nan")
    return first_crossing(share, pgr(quality, low, high), level=recovered)


def first_crossing(x: ArrayLike, y: ArrayLike, *, level: float) -> float:
    """Smallest x at which the line through the points reaches `level`; NaN if it never does.

    >>> first_crossing([0.0, 1.0], [0.0, 2.0], level=1.0)
    0.5
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    reached = np.flatnonzero(ys >= level - 1e-12)
    if not reached.size:
        return float("nan")
    i = int(reached[0])
    if i == 0 or ys[i] == ys[i - 1]:
        return float(xs[i])
    part = (level - ys[i - 1]) / (ys[i] - ys[i - 1])
    return float(xs[i - 1] + min(part, 1.0) * (xs[i] - xs[i - 1]))


def aiq_score(
    cost: ArrayLike, score: ArrayLike, *, low: float | None = None, high: float | None = None
) -> float:
    """Average improvement in quality: mean height of the curve's non-decreasing convex hull.

    AIQ = 1 / (high - low) x integral from low to high of the hull. To the right of its last
    point the hull stays level; to the left of its first it falls in a line to (0, 0): answering
    nothing costs and scores nothing. `low` and `high` default to the curve's own range; give the
    same two to every router that is compared.

    >>> aiq_score([1.0, 3.0], [0.5, 0.7])
    0.6
    """
    xs = np.asarray(cost, dtype=np.float64)
    start = float(xs.min()) if low is None else low
    end = float(xs.max()) if high is None else high
    hull_x, hull_y = upper_envelope(xs, np.asarray(score, dtype=np.float64))
    if start < hull_x[0]:
        hull_x, hull_y = np.append(0.0, hull_x), np.append(0.0, hull_y)
    if end <= start:
        return float(np.interp(start, hull_x, hull_y))
    inside = hull_x[(hull_x > start) & (hull_x < end)]
    grid = np.concatenate(([start], inside, [end]))
    return float(np.trapezoid(np.interp(grid, hull_x, hull_y), grid) / (end - start))


def _checked(
    y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    outcome = np.asarray(y, dtype=np.float64)
    prob = np.asarray(p, dtype=np.float64)
    if outcome.ndim != 1 or outcome.shape != prob.shape or not outcome.size:
        message = f"y and p must be equally long and not empty, got {outcome.shape}, {prob.shape}"
        raise ValueError(message)
    weight = (
        np.ones_like(outcome)
        if sample_weight is None
        else np.asarray(sample_weight, dtype=np.float64)
    )
    return outcome, prob, weight


class Metric(Struct, frozen=True):
    """A metric with what must hold for it: its input kind, direction and range."""

    function: Callable[..., float]
    kind: Kind
    low: float
    high: float
    arguments: Mapping[str, Any] = {}

    @property
    def is_score(self) -> bool:
        """True when more is better."""
        return self.function.__name__.endswith("_score")


METRICS: Mapping[str, Metric] = {
    "brier_loss": Metric(brier_loss, "probability", 0.0, 1.0),
    "log_loss": Metric(log_loss, "probability", 0.0, -float(np.log(_CLIP)) + 1.0),
    "expected_calibration_loss": Metric(expected_calibration_loss, "probability", 0.0, 1.0),
    "auc_score": Metric(auc_score, "probability", 0.0, 1.0),
    "apgr_score": Metric(apgr_score, "pair", -np.inf, np.inf),
    "cpt50_loss": Metric(cpt_loss, "pair", 0.0, 1.0, {"recovered": 0.5}),
    "cpt80_loss": Metric(cpt_loss, "pair", 0.0, 1.0, {"recovered": 0.8}),
    "aiq_score": Metric(aiq_score, "curve", 0.0, 1.0),
}
