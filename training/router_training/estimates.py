"""Interval estimates of what a report shows: each is a function of per-context column sums."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from router_training.curves import Sweep, cost_at_score
from router_training.envelope import envelope_score_at, upper_envelope
from router_training.intervals import (
    Interval,
    Resampling,
    Statistic,
    grouped_interval,
    mean_interval,
    weighted_interval,
)
from router_training.matrix import Floats, Ints, OutcomeMatrix, pick
from router_training.metrics import (
    aiq_score,
    auc_score,
    bin_index,
    first_crossing,
    pgr,
    strong_choices,
)

NOTHING = Interval(float("nan"), float("nan"), float("nan"))
_UNREACHED = float("inf")


def minus_hull(matrix: OutcomeMatrix, choice: Ints, *, resampling: Resampling) -> Interval:
    """Mean score minus that of the static hull at the same mean cost.

    The hull is made anew in every resample, from the same contexts.
    """
    if not matrix.has_cost:
        return NOTHING
    m = len(matrix.models)
    columns = _columns(matrix, pick(matrix.score, choice), pick(matrix.cost, choice))

    def statistic(sums: Floats) -> Floats:
        means = sums[:, 1:] / sums[:, :1]
        return np.array([_over_hull(row[2 * m :], row[:m], row[m : 2 * m]) for row in means])

    return grouped_interval(columns, matrix.group, statistic, resampling=resampling)


def hull_at(matrix: OutcomeMatrix, choice: Ints, *, resampling: Resampling) -> Interval:
    """Score of the static hull at the mean cost of the choices."""
    if not matrix.has_cost:
        return NOTHING
    m = len(matrix.models)
    columns = _columns(matrix, np.zeros(matrix.n), pick(matrix.cost, choice))

    def statistic(sums: Floats) -> Floats:
        means = sums[:, 1:] / sums[:, :1]
        return np.array([-_over_hull(row[2 * m :], row[:m], row[m : 2 * m]) for row in means])

    return grouped_interval(columns, matrix.group, statistic, resampling=resampling)


def cost_share(
    matrix: OutcomeMatrix, choice: Ints, *, best: int, resampling: Resampling
) -> Interval:
    """Mean cost of the choices over the mean cost of one model."""
    if not matrix.has_cost:
        return NOTHING
    columns = np.stack([pick(matrix.cost, choice), matrix.cost[:, best]], axis=1)
    return grouped_interval(
        columns, matrix.group, lambda s: _ratio(s[:, 0], s[:, 1]), resampling=resampling
    )


def cost_share_at_best_score(
    matrix: OutcomeMatrix, swept: Sweep, *, resampling: Resampling
) -> Interval:
    """Least cost at which the curve has the score of the best fixed model, over its cost.

    The best fixed model is found anew in every resample. Never reached counts as infinite.
    """
    return _curve_interval(matrix, swept, _share_at_best, resampling=resampling)


def aiqs(
    matrix: OutcomeMatrix, swept: Sweep, *, resampling: Resampling
) -> tuple[Interval, Interval, Interval]:
    """AIQ of the curve, of the hull, and the difference, over the fixed models' cost range."""
    if not matrix.has_cost:
        return NOTHING, NOTHING, NOTHING
    m, n_points = len(matrix.models), swept.choices.shape[1]
    columns = _columns(matrix, pick(matrix.score, swept.choices), pick(matrix.cost, swept.choices))

    def both(sums: Floats) -> Floats:
        means = sums[:, 1:] / sums[:, :1]
        return np.array([_aiq_pair(row, m=m, n_points=n_points) for row in means])

    statistics: tuple[Statistic, ...] = (
        lambda s: both(s)[:, 0],
        lambda s: both(s)[:, 1],
        lambda s: both(s) @ np.array([1.0, -1.0]),
    )
    router, hull, difference = (
        grouped_interval(columns, matrix.group, statistic, resampling=resampling)
        for statistic in statistics
    )
    return router, hull, difference


def area_above_hull(matrix: OutcomeMatrix, swept: Sweep, *, resampling: Resampling) -> Interval:
    """Area between the curve as it is and the static hull, over the fixed models' cost range.

    Unlike the difference in AIQ it takes no envelope of the curve, which would pick the points
    that chance favours on the very data that is reported: a router that knows nothing has an
    area of at most zero. Outside of its own range of costs the curve counts as the hull.
    """
    return _curve_interval(matrix, swept, _area, resampling=resampling)


def _curve_interval(
    matrix: OutcomeMatrix,
    swept: Sweep,
    of_means: Callable[..., float],
    *,
    resampling: Resampling,
) -> Interval:
    """Interval of a figure that is read off each resample's mean scores and costs."""
    if not matrix.has_cost:
        return NOTHING
    m, n_points = len(matrix.models), swept.choices.shape[1]
    columns = _columns(matrix, pick(matrix.score, swept.choices), pick(matrix.cost, swept.choices))

    def statistic(sums: Floats) -> Floats:
        means = sums[:, 1:] / sums[:, :1]
        return np.array([of_means(row, m=m, n_points=n_points) for row in means])

    return grouped_interval(columns, matrix.group, statistic, resampling=resampling)


def pair_metrics(
    matrix: OutcomeMatrix, p: Floats, *, weak: int, strong: int, resampling: Resampling
) -> tuple[Interval, Interval, Interval]:
    """APGR, CPT(50%) and CPT(80%); the thresholds stay those of the whole sample."""
    chosen = strong_choices(p[:, strong] - p[:, weak])
    score = np.where(chosen, matrix.score[:, [strong]], matrix.score[:, [weak]])
    columns = np.concatenate(
        [np.ones((matrix.n, 1)), matrix.score[:, [weak, strong]], chosen, score], axis=1
    )
    k = chosen.shape[1]

    def curves(sums: Floats) -> tuple[Floats, Floats]:
        means = sums[:, 1:] / sums[:, :1]
        recovered = pgr(means[:, 2 + k :], means[:, :1], means[:, 1:2])
        return means[:, 2 : 2 + k], recovered

    def apgr(sums: Floats) -> Floats:
        share, recovered = curves(sums)
        return np.asarray(np.trapezoid(recovered, share, axis=1))

    def cpt(level: float) -> Statistic:
        def statistic(sums: Floats) -> Floats:
            pairs = zip(*curves(sums), strict=True)
            return np.array([first_crossing(x, y, level=level) for x, y in pairs])

        return statistic

    first, second, third = (
        grouped_interval(columns, matrix.group, statistic, resampling=resampling)
        for statistic in (apgr, cpt(0.5), cpt(0.8))
    )
    return first, second, third


def calibration_loss(
    y: Floats, p: Floats, groups: NDArray[np.str_], *, resampling: Resampling, n_bins: int = 15
) -> Interval:
    """Expected calibration error over equal-mass bins, which stay those of the whole sample.

    Resampling adds noise, which a sum of absolute gaps takes for error; the percentile interval
    is therefore shifted by the mean excess of the resamples, and cut at zero.
    """
    gaps = np.zeros((len(y), n_bins + 1))
    gaps[np.arange(len(y)), bin_index(p, n_bins=n_bins)] = y - p
    gaps[:, -1] = 1.0
    drawn: list[Floats] = []

    def statistic(sums: Floats) -> Floats:
        drawn.append(np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1])
        return drawn[-1]

    found = grouped_interval(gaps, groups, statistic, resampling=resampling)
    if len(drawn) < 2:
        return found
    excess = float(np.concatenate(drawn[1:]).mean()) - found.estimate
    low, high = max(found.low - excess, 0.0), max(found.high - excess, 0.0)
    return Interval(found.estimate, low, high)


def brier(y: Floats, p: Floats, groups: NDArray[np.str_], *, resampling: Resampling) -> Interval:
    """Brier loss."""
    return mean_interval((y - p) ** 2, groups, resampling=resampling)


def auc(y: Floats, p: Floats, groups: NDArray[np.str_], *, resampling: Resampling) -> Interval:
    """AUC over all cells; at most 300 resamples, each of which sorts nothing."""
    order = np.argsort(p, kind="stable")
    outcome, prob = y[order], p[order]
    options = Resampling(
        n_resamples=min(resampling.n_resamples, 300),
        level=resampling.level,
        seed=resampling.seed,
    )
    return weighted_interval(
        groups[order],
        lambda weight: auc_score(outcome, prob, sample_weight=weight),
        resampling=options,
    )


def _columns(matrix: OutcomeMatrix, *more: Floats) -> Floats:
    wide = [values.reshape(matrix.n, -1) for values in more]
    return np.concatenate([np.ones((matrix.n, 1)), matrix.score, matrix.cost, *wide], axis=1)


def _over_hull(point: Floats, scores: Floats, costs: Floats) -> float:
    xs, ys = upper_envelope(costs, scores)
    score, cost = point
    return float(score - envelope_score_at(cost, corner_costs=xs, corner_scores=ys))


def _share_at_best(row: Floats, *, m: int, n_points: int) -> float:
    scores, costs = row[:m], row[m : 2 * m]
    curve_scores, curve_costs = row[2 * m : 2 * m + n_points], row[2 * m + n_points :]
    best = int(np.lexsort((costs, -scores))[0])
    cost = cost_at_score(curve_costs, curve_scores, score=float(scores[best]))
    if np.isnan(cost):
        return _UNREACHED
    return cost / float(costs[best]) if costs[best] > 0 else float("nan")


def _aiq_pair(row: Floats, *, m: int, n_points: int) -> tuple[float, float]:
    scores, costs = row[:m], row[m : 2 * m]
    low, high = float(costs.min()), float(costs.max())
    curve_scores, curve_costs = row[2 * m : 2 * m + n_points], row[2 * m + n_points :]
    return (
        aiq_score(curve_costs, curve_scores, low=low, high=high),
        aiq_score(costs, scores, low=low, high=high),
    )


def _area(row: Floats, *, m: int, n_points: int) -> float:
    scores, costs = row[:m], row[m : 2 * m]
    width = float(costs.max() - costs.min())
    if width <= 0:
        return float("nan")
    curve_scores, curve_costs = row[2 * m : 2 * m + n_points], row[2 * m + n_points :]
    order = np.argsort(curve_costs, kind="stable")
    xs, ys = upper_envelope(costs, scores)
    at = curve_costs[order]
    gap = curve_scores[order] - envelope_score_at(at, corner_costs=xs, corner_scores=ys)
    return float(np.trapezoid(gap, at)) / width


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))
