"""Cost-quality curves: what a policy yields as its one parameter is swept.

Three sweeps, all by predicted cost. "failure_cost" is the served policy without its per-request
constraints: the least expected cost + (1 - p) x what a failure costs, swept over that. "epsilon"
takes the cheapest model with p >= max p - epsilon, "tau" the cheapest with p >= tau, and the
highest p where there is none. At one end each chooses the highest p, at the other the cheapest.
"""

from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_training.baselines import static_hull
from router_training.envelope import upper_envelope
from router_training.matrix import Floats, OutcomeMatrix, pick
from router_training.metrics import aiq_score

SweepKind = Literal["failure_cost", "epsilon", "tau"]
SWEEPS: tuple[SweepKind, ...] = ("failure_cost", "epsilon", "tau")
Goal = Literal["best_quality", "above_hull"]
GOALS: tuple[Goal, ...] = ("best_quality", "above_hull")
_ABOVE_ONE = 2.0


class Policy(Struct, frozen=True, kw_only=True):
    """One operating point: which parameter is swept, and where it stands."""

    kind: SweepKind
    threshold: float


class Sweep(Struct, frozen=True, kw_only=True):
    """Choices (contexts, thresholds) of a policy along its parameter."""

    kind: SweepKind
    thresholds: Floats
    choices: NDArray[np.int16]


class Curve(Struct, frozen=True, kw_only=True):
    """Mean cost and mean score along a sweep."""

    kind: SweepKind
    thresholds: tuple[float, ...]
    costs: tuple[float, ...]
    scores: tuple[float, ...]


def choose(p: Floats, cost: Floats, *, tau: float, epsilon: float) -> NDArray[np.int64]:
    """Column chosen for each row: least predicted cost among the adequate, then highest p.

    >>> p, cost = np.array([[0.7, 0.9]]), np.array([[1.0, 5.0]])
    >>> choose(p, cost, tau=0.6, epsilon=0.0), choose(p, cost, tau=2.0, epsilon=0.0)
    (array([0]), array([1]))
    """
    best = p.max(axis=1, keepdims=True)
    price = np.where((p >= tau) | (p >= best - epsilon), cost, np.inf)
    cheapest = price <= price.min(axis=1, keepdims=True)
    return np.asarray(np.argmax(np.where(cheapest, p, -np.inf), axis=1))


def least_total_cost(p: Floats, cost: Floats, *, failure_cost: float) -> NDArray[np.int64]:
    """Column with the least cost + (1 - p) x failure_cost; the highest p in a tie.

    >>> p, cost = np.array([[0.7, 0.9]]), np.array([[1.0, 5.0]])
    >>> least_total_cost(p, cost, failure_cost=10), least_total_cost(p, cost, failure_cost=30)
    (array([0]), array([1]))
    """
    total = cost + (1 - p) * failure_cost
    least = total <= total.min(axis=1, keepdims=True)
    return np.asarray(np.argmax(np.where(least, p, -np.inf), axis=1))


def apply(policy: Policy, p: Floats, cost: Floats) -> NDArray[np.int64]:
    """Choices of a policy."""
    if policy.kind == "failure_cost":
        return least_total_cost(p, cost, failure_cost=policy.threshold)
    if policy.kind == "tau":
        return choose(p, cost, tau=policy.threshold, epsilon=0.0)
    return choose(p, cost, tau=_ABOVE_ONE, epsilon=policy.threshold)


def thresholds_for(p: Floats, cost: Floats, *, kind: SweepKind, n_points: int = 51) -> Floats:
    """Rising thresholds, both ends included.

    Quantiles of what the sweep compares; for failure costs powers between a hundredth of and
    100,000 times the mean cost, and one at which only p counts.
    """
    if kind == "failure_cost":
        scale = float(cost.mean()) or 1.0
        powers = np.logspace(-2, 5, max(n_points - 2, 1))
        return scale * np.concatenate(([0.0], powers, [1e12]))
    values = p if kind == "tau" else p.max(axis=1, keepdims=True) - p
    inner = np.quantile(values, np.linspace(0, 1, max(n_points - 2, 1)))
    ends = (0.0, _ABOVE_ONE) if kind == "tau" else (0.0, 1.0)
    return np.unique(np.concatenate((inner, ends)))


def sweep(p: Floats, cost: Floats, *, kind: SweepKind, n_points: int = 51) -> Sweep:
    """Choices at every threshold of a sweep."""
    thresholds = thresholds_for(p, cost, kind=kind, n_points=n_points)
    choices = np.empty((len(p), len(thresholds)), dtype=np.int16)
    for i, threshold in enumerate(thresholds):
        choices[:, i] = apply(Policy(kind=kind, threshold=float(threshold)), p, cost)
    return Sweep(kind=kind, thresholds=thresholds, choices=choices)


def curve(matrix: OutcomeMatrix, swept: Sweep) -> Curve:
    """Mean actual cost and score of a sweep; costs are NaN where none are known."""
    return Curve(
        kind=swept.kind,
        thresholds=tuple(map(float, swept.thresholds)),
        costs=tuple(map(float, pick(matrix.cost, swept.choices).mean(axis=0))),
        scores=tuple(map(float, pick(matrix.score, swept.choices).mean(axis=0))),
    )


def area(points: Curve, *, low: float, high: float) -> float:
    """Mean height of the curve's non-decreasing hull between two costs (AIQ)."""
    return aiq_score(points.costs, points.scores, low=low, high=high)


def cost_at_score(costs: NDArray[Any], scores: NDArray[Any], *, score: float) -> float:
    """Least mean cost at which a curve, or a mix of two of its points, reaches a score.

    NaN when the curve never reaches it.
    """
    xs, ys = upper_envelope(costs, scores)
    if score > ys[-1] + 1e-12:
        return float("nan")
    return float(np.interp(score, ys, xs))


def choose_operating_point(
    matrix: OutcomeMatrix, p: Floats, cost: Floats, *, goal: Goal, n_points: int = 51
) -> Policy:
    """The policy that serves `goal` best, looking along every sweep.

    "best_quality": least actual cost whose mean score reaches that of the best fixed model; when
    none does, the highest score. "above_hull": largest mean score above the static hull at the
    same cost. Use this on data that is not reported on.
    """
    found: list[tuple[tuple[float, ...], Policy]] = []
    target = float(matrix.score.mean(axis=0).max())
    is_priced = matrix.has_cost
    hull = static_hull(matrix) if is_priced else None
    for kind in SWEEPS:
        points = curve(matrix, sweep(p, cost, kind=kind, n_points=n_points))
        for threshold, spent, score in zip(
            points.thresholds, points.costs, points.scores, strict=True
        ):
            if hull is None:
                rank: tuple[float, ...] = (-score,)
            elif goal == "above_hull":
                rank = (float(hull.score_at(spent)) - score, spent)
            elif score < target - 1e-12:
                rank = (1.0, -score, spent)
            else:
                rank = (0.0, spent, -score)
            found.append((rank, Policy(kind=kind, threshold=threshold)))
    return min(found, key=lambda entry: entry[0])[1]
