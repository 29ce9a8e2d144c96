"""Predictions for contexts that the predictor was not fitted on.

The operating point of a fold is chosen from predictions inside its training part only, by an
inner cross-validation over the same groups.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.rounds import Rounds, Texts
from router_training.curves import (
    GOALS,
    SWEEPS,
    Goal,
    Policy,
    SweepKind,
    apply,
    area,
    choose_operating_point,
    curve,
    sweep,
)
from router_training.matrix import Floats, Ints, OutcomeMatrix
from router_training.params import TrainingParams
from router_training.splits import grouped_folds


class MatrixPrediction(Protocol):
    """What a predictor says about contexts (rows) and models (columns)."""

    @property
    def p_adequate(self) -> Floats:
        """Calibrated probabilities."""
        ...

    @property
    def expected_cost(self) -> Floats:
        """US dollars; NaN where no price is known."""
        ...


class Predictor(Protocol):
    """What evaluation needs of a fitted predictor."""

    def predict(
        self,
        features: NDArray[np.float32],
        embedding: NDArray[np.float32],
        models: Sequence[str],
        *,
        tenant: Sequence[str] | Texts | None = None,
    ) -> MatrixPrediction:
        """Predictions for every pair of a context and a model; `tenant` is each context's."""
        ...


class Fit(Protocol):
    """How a predictor is fitted, `router_training.fit.fit_predictor` outside of tests."""

    def __call__(
        self,
        rounds: Rounds,
        *,
        params: TrainingParams,
        seed: int = 0,
        calibration_rounds: Rounds | None = None,
    ) -> Predictor:
        """A predictor fitted on the rounds, calibrated on other ones when they are given."""
        ...


class OperatingPoint(Struct, frozen=True, kw_only=True):
    """Held-out choices by the policies that each fold's training part found best for a goal."""

    goal: Goal
    choice: Ints
    policies: tuple[Policy, ...]


class HeldOut(Struct, frozen=True, kw_only=True):
    """Held-out predictions with the operating points, one per goal.

    `p_all` covers all contexts and models of the rounds; `p` and `cost` the rows and columns of
    the matrix. `kind` is the sweep with the larger area in training.
    """

    p_all: Floats
    p: Floats
    cost: Floats
    points: tuple[OperatingPoint, ...]
    kind: SweepKind


OnStep = Callable[[str], None]


def n_steps(folds: Ints, params: TrainingParams) -> int:
    """How often `cross_validate` calls `on_step`."""
    return (int(folds.max()) + 1) * (params.n_inner_folds + 1)


def cross_validate(
    rounds: Rounds,
    matrix: OutcomeMatrix,
    *,
    folds: Ints,
    params: TrainingParams,
    fit: Fit,
    on_step: OnStep,
) -> HeldOut:
    """Held-out predictions of every fold; `folds` numbers the contexts of the rounds."""
    p_all = np.full((rounds.n_contexts, len(rounds.models)), np.nan)
    cost = np.full(matrix.cost.shape, np.nan)
    fold = folds[matrix.context]
    chosen: list[_Chosen] = []
    for k in range(int(folds.max()) + 1):
        is_train, rows = folds != k, fold == k
        inner = _inner_choice(rounds, matrix, is_train, params=params, fit=fit, on_step=on_step)
        predictor = fit(rounds.select(is_train), params=params, seed=params.seed)
        p_all[~is_train], cost[rows] = _predict(predictor, rounds, matrix, ~is_train)
        on_step(f"fold {k + 1}")
        chosen.append(inner)
    return _held_out(p_all, _part(p_all, rounds, matrix), cost, fold, chosen)


def with_predictor(
    predictor: Predictor, rounds: Rounds, matrix: OutcomeMatrix, *, folds: Ints
) -> HeldOut:
    """Predictions of a given predictor; the operating point is chosen on the other folds."""
    everything = np.ones(rounds.n_contexts, dtype=bool)
    p_all, cost = _predict(predictor, rounds, matrix, everything)
    p, fold = _part(p_all, rounds, matrix), folds[matrix.context]
    chosen = []
    for k in range(int(folds.max()) + 1):
        others = fold != k if (fold != k).any() else fold == k
        chosen.append(_chosen(matrix.rows(others), p[others], cost[others]))
    return _held_out(p_all, p, cost, fold, chosen)


class _Chosen(Struct, frozen=True):
    """What the training part of one fold says: a policy per goal, an area per sweep."""

    policies: tuple[Policy, ...]
    areas: Floats


def _held_out(
    p_all: Floats, p: Floats, cost: Floats, fold: Ints, chosen: Sequence[_Chosen]
) -> HeldOut:
    points = []
    for i, goal in enumerate(GOALS):
        choice = np.zeros(len(p), dtype=np.int64)
        for k, of_fold in enumerate(chosen):
            rows = fold == k
            choice[rows] = apply(of_fold.policies[i], p[rows], cost[rows])
        policies = tuple(of_fold.policies[i] for of_fold in chosen)
        points.append(OperatingPoint(goal=goal, choice=choice, policies=policies))
    areas = np.sum([of_fold.areas for of_fold in chosen], axis=0)
    kind = SWEEPS[int(np.argmax(areas))]
    return HeldOut(p_all=p_all, p=p, cost=cost, points=tuple(points), kind=kind)


def _inner_choice(
    rounds: Rounds,
    matrix: OutcomeMatrix,
    is_train: NDArray[np.bool_],
    *,
    params: TrainingParams,
    fit: Fit,
    on_step: OnStep,
) -> _Chosen:
    """The policies, and the areas of the sweeps, by cross-validation in the training part."""
    inner = np.full(rounds.n_contexts, -1, dtype=np.int64)
    inner[is_train] = grouped_folds(
        rounds.group[is_train].astype(str), n_folds=params.n_inner_folds, seed=params.seed + 1
    )
    p_all = np.full((rounds.n_contexts, len(rounds.models)), np.nan)
    cost = np.full(matrix.cost.shape, np.nan)
    for k in range(int(inner.max()) + 1):
        is_fit, is_held = is_train & (inner != k), inner == k
        predictor = fit(rounds.select(is_fit), params=params, seed=params.seed)
        rows = is_held[matrix.context]
        p_all[is_held], cost[rows] = _predict(predictor, rounds, matrix, is_held)
        on_step(f"inner fold {k + 1}")
    rows = is_train[matrix.context]
    part, p, dollars = matrix.rows(rows), _part(p_all, rounds, matrix)[rows], cost[rows]
    return _chosen(part, p, dollars)


def _chosen(matrix: OutcomeMatrix, p: Floats, cost: Floats) -> _Chosen:
    policies = tuple(choose_operating_point(matrix, p, cost, goal=goal) for goal in GOALS)
    return _Chosen(policies, _areas(matrix, p, cost))


def _areas(matrix: OutcomeMatrix, p: Floats, cost: Floats) -> Floats:
    if not matrix.has_cost:
        return np.zeros(len(SWEEPS))
    means = matrix.cost.mean(axis=0)
    low, high = float(means.min()), float(means.max())
    curves = [curve(matrix, sweep(p, cost, kind=kind)) for kind in SWEEPS]
    return np.array([area(points, low=low, high=high) for points in curves])


def _predict(
    predictor: Predictor, rounds: Rounds, matrix: OutcomeMatrix, wanted: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """P for the wanted contexts and all models, costs for the wanted rows of the matrix.

    A cost that the predictor does not know is the model's mean cost on the other contexts.
    """
    predicted = predictor.predict(
        rounds.features[wanted],
        rounds.embedding[wanted],
        list(rounds.models),
        tenant=rounds.tenant[wanted],
    )
    rows = wanted[matrix.context]
    if not matrix.has_cost or matrix.cost_unit != "usd":
        return predicted.p_adequate, np.nan_to_num(matrix.cost[rows])
    place = (np.cumsum(wanted) - 1)[matrix.context[rows]]
    cost = np.asarray(predicted.expected_cost, float)[place][:, _columns(rounds, matrix)]
    known = matrix.cost if rows.all() else matrix.cost[~rows]
    return predicted.p_adequate, np.where(np.isfinite(cost), cost, known.mean(axis=0))


def _part(p_all: Floats, rounds: Rounds, matrix: OutcomeMatrix) -> Floats:
    return np.asarray(p_all[matrix.context][:, _columns(rounds, matrix)])


def _columns(rounds: Rounds, matrix: OutcomeMatrix) -> list[int]:
    return [rounds.models.index(model) for model in matrix.models]
