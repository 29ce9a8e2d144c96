"""Policies that need no predictor, which every router has to be compared with.

The static-mixture hull is the strongest of them: the best fixed model, or the best mix of two,
at every mean cost. The oracle sees the outcomes and therefore also counts luck: where a score
is one draw per cell, no router can reach it.
"""

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from router_training.envelope import envelope_cost_at, envelope_score_at, upper_envelope
from router_training.matrix import Floats, OutcomeMatrix

Choice = NDArray[np.int64]


class Hull(Struct, frozen=True):
    """Mean costs and scores at the corners of the static-mixture hull, cheapest first."""

    costs: tuple[float, ...]
    scores: tuple[float, ...]
    models: tuple[str, ...]

    def score_at(self, cost: ArrayLike) -> Floats:
        """Best mean score of a mixture of fixed models at a mean cost."""
        return envelope_score_at(cost, corner_costs=self.costs, corner_scores=self.scores)

    def cost_at(self, score: float) -> float:
        """Least mean cost of a mixture that reaches `score`; NaN if none does."""
        return envelope_cost_at(score, corner_costs=self.costs, corner_scores=self.scores)


def static_hull(matrix: OutcomeMatrix) -> Hull:
    """The hull of the fixed models' (mean cost, mean score)."""
    mean_cost, mean_score = matrix.cost.mean(axis=0), matrix.score.mean(axis=0)
    costs, scores = upper_envelope(mean_cost, mean_score)
    corners = []
    for cost, score in zip(costs, scores, strict=True):
        at = np.flatnonzero((mean_cost == cost) & (mean_score == score))[0]
        corners.append(matrix.models[int(at)])
    return Hull(tuple(map(float, costs)), tuple(map(float, scores)), tuple(corners))


def hull_score_at(matrix: OutcomeMatrix, cost: ArrayLike) -> Floats:
    """Score of the static-mixture hull of a matrix at given mean costs."""
    return static_hull(matrix).score_at(cost)


def always(matrix: OutcomeMatrix, model: int) -> Choice:
    """The same model for every context."""
    return np.full(matrix.n, model, dtype=np.int64)


def best_model(matrix: OutcomeMatrix) -> int:
    """Column of the highest mean score; the cheaper one in a tie."""
    return _first(-matrix.score.mean(axis=0), _mean_cost(matrix))


def cheapest_model(matrix: OutcomeMatrix) -> int:
    """Column of the lowest mean cost; the better one in a tie."""
    return _first(_mean_cost(matrix), -matrix.score.mean(axis=0))


def best_model_within(matrix: OutcomeMatrix, cost: float) -> int | None:
    """Column of the best fixed model that costs at most `cost` on average, None if none does."""
    score = np.where(_mean_cost(matrix) <= cost, matrix.score.mean(axis=0), -np.inf)
    return int(np.argmax(score)) if np.isfinite(score).any() else None


def random_uniform(matrix: OutcomeMatrix) -> tuple[Floats, Floats]:
    """Expected score and cost per context of a model drawn uniformly."""
    return np.asarray(matrix.score.mean(axis=1)), np.asarray(matrix.cost.mean(axis=1))


def random_mix(
    matrix: OutcomeMatrix, *, first: int, second: int, share: float
) -> tuple[Floats, Floats]:
    """Expected score and cost per context of `second` with probability `share`, else `first`."""
    weight = np.array([1.0 - share, share])
    columns = [first, second]
    return matrix.score[:, columns] @ weight, matrix.cost[:, columns] @ weight


def oracle_cheapest_adequate(matrix: OutcomeMatrix) -> Choice:
    """The cheapest model that was adequate; the cheapest of all where none was. Counts luck."""
    cost = matrix.cost if matrix.has_cost else np.zeros_like(matrix.cost)
    is_adequate = matrix.adequate >= 0.5
    price = np.where(is_adequate | ~is_adequate.any(axis=1, keepdims=True), cost, np.inf)
    return np.asarray(np.argmin(price, axis=1))


def oracle_max_score(matrix: OutcomeMatrix) -> Choice:
    """The model with the highest score, the cheaper one in a tie. Counts luck."""
    best = matrix.score >= matrix.score.max(axis=1, keepdims=True)
    cost = matrix.cost if matrix.has_cost else np.zeros_like(matrix.cost)
    return np.asarray(np.argmin(np.where(best, cost, np.inf), axis=1))


def _mean_cost(matrix: OutcomeMatrix) -> Floats:
    if matrix.has_cost:
        return np.asarray(matrix.cost.mean(axis=0))
    return np.zeros(len(matrix.models))


def _first(primary: NDArray[Any], secondary: NDArray[Any]) -> int:
    return int(np.lexsort((secondary, primary))[0])
