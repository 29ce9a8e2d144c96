"""The upper concave envelope of cost-quality points: what mixing two fixed choices can reach."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def upper_envelope(cost: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """Corners (costs, scores) of the least concave, non-decreasing curve above all points.

    Both rise strictly, from the cheapest point (the best one of equal cost) to the cheapest
    point of the highest score. Points that are not finite are left out.

    >>> upper_envelope([1.0, 2.0, 3.0, 4.0], [0.2, 0.3, 0.8, 0.7])
    (array([1., 3.]), array([0.2, 0.8]))
    """
    xs, ys = np.asarray(cost, dtype=np.float64), np.asarray(score, dtype=np.float64)
    finite = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[finite], ys[finite]
    if not xs.size:
        raise ValueError("an envelope needs at least one finite point")
    hull: list[tuple[float, float]] = []
    for i in np.lexsort((-ys, xs)):
        x, y = float(xs[i]), float(ys[i])
        if hull and y <= hull[-1][1]:
            continue
        while len(hull) > 1 and _is_below(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    corners = np.asarray(hull)
    return corners[:, 0], corners[:, 1]


def envelope_score_at(
    cost: ArrayLike, *, corner_costs: ArrayLike, corner_scores: ArrayLike
) -> Floats:
    """Height of an envelope at given costs; level to the right of its last corner.

    To the left of the first corner it is level too: nobody is credited for being cheaper than
    the cheapest fixed choice, which errs on the side of the baseline.
    """
    xs, ys = np.asarray(corner_costs, float), np.asarray(corner_scores, float)
    return np.asarray(np.interp(np.asarray(cost, float), xs, ys))


def envelope_cost_at(score: float, *, corner_costs: ArrayLike, corner_scores: ArrayLike) -> float:
    """Least cost at which an envelope reaches `score`; NaN if it never does."""
    xs, ys = np.asarray(corner_costs, float), np.asarray(corner_scores, float)
    if score > ys[-1] + 1e-12:
        return float("nan")
    return float(np.interp(score, ys, xs))


def _is_below(
    left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]
) -> bool:
    rise = (middle[1] - left[1]) * (right[0] - left[0])
    return rise <= (right[1] - left[1]) * (middle[0] - left[0])
