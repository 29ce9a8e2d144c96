"""Cost-quality curves: what a policy yields as its one parameter is swept.

The policy on a matrix is the served one without its per-request constraints: the cheapest model,
by predicted cost, among those with p >= tau or p >= max p - epsilon. `tau` is swept at epsilon 0
and `epsilon` at tau above 1, so at one end both choose the highest p, at the other the cheapest.
"""

from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_training.baselines import static_hull
from router_training.envelope import upper_envelope
from router_training.matrix import Floats, OutcomeMatrix, pick
from router_training.metrics import aiq_score

SweepKind = Literal["tau", "epsilon"]
SWEEPS: tuple[SweepKind, ...] = ("epsilon", "tau")
Goal = Literal["best_quality", "above_hull"]
GOALS: tuple[Goal, ...] = ("best_quality", "above_hull")
_ABOVE_ONE = 2.0


class Policy(Struct, frozen=True, kw_only=True):
    """One operating point: which parameter is swept, and where it stands."""

    kind: SweepKind
    threshold: float

    @property
    def tau(self) -> float:
        """The least p that counts as adequate."""
        return self.threshold if self.kind == "tau" else _ABOVE_ONE

    @property
    def epsilon(self) -> float:
        """How far below the highest p still counts as adequate."""
        return self.threshold if self.kind == "epsilon" else 0.0


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


def apply(policy: Policy, p: Floats, cost: Floats) -> NDArray[np.int64]:
    """Choices of a policy."""
    return choose(p, cost, tau=policy.tau, epsilon=policy.epsilon)


def thresholds_for(p: Floats, *, kind: SweepKind, n_points: int = 51) -> Floats:
    """Rising thresholds at quantiles of what the sweep compares, both ends included."""
    values = p if kind == "tau" else p.max(axis=1, keepdims=True) - p
    inner = np.quantile(values, np.linspace(0, 1, max(n_points - 2, 1)))
    ends = (0.0, _ABOVE_ONE) if kind == "tau" else (0.0, 1.0)
    return np.unique(np.concatenate((inner, ends)))


def sweep(p: Floats, cost: Floats, *, kind: SweepKind, n_points: int = 51) -> Sweep:
    """Choices at every threshold of a sweep."""
    thresholds = thresholds_for(p, kind=kind, n_points=n_points)
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
    """The policy that serves `goal` best, looking along both sweeps.

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
