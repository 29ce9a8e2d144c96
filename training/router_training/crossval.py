"""Predictions for contexts that the predictor was not fitted on.

The operating point of a fold is chosen from predictions inside its training part only, by an
inner cross-validation over the same groups.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.rounds import Rounds
from router_training.baselines import best_model
from router_training.curves import (
    SWEEPS,
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
    ) -> MatrixPrediction:
        """Predictions for every pair of a context and a model."""
        ...


class Fit(Protocol):
    """How a predictor is fitted, `router_training.fit.fit_predictor` outside of tests."""

    def __call__(self, rounds: Rounds, *, params: TrainingParams, seed: int = 0) -> Predictor:
        """A predictor fitted on the rounds."""
        ...


class HeldOut(Struct, frozen=True, kw_only=True):
    """Held-out predictions, and the operating point that each fold's training part chose.

    `p_all` covers all contexts and models of the rounds; `p`, `cost`, `choice` and `fold` the
    rows and columns of the matrix. `kind` is the sweep with the larger area in training.
    """

    p_all: Floats
    p: Floats
    cost: Floats
    choice: Ints
    fold: Ints
    policies: tuple[Policy, ...]
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
    choice = np.zeros(matrix.n, dtype=np.int64)
    fold = folds[matrix.context]
    policies: list[Policy] = []
    areas = np.zeros(len(SWEEPS))
    for k in range(int(folds.max()) + 1):
        is_train, rows = folds != k, fold == k
        policy, fold_areas = _inner_choice(
            rounds, matrix, is_train, params=params, fit=fit, on_step=on_step
        )
        predictor = fit(rounds.select(is_train), params=params, seed=params.seed)
        p_all[~is_train], cost[rows] = _predict(predictor, rounds, matrix, is_train)
        on_step(f"fold {k + 1}")
        policies.append(policy)
        areas += fold_areas
        choice[rows] = apply(policy, _part(p_all, rounds, matrix)[rows], cost[rows])
    return HeldOut(
        p_all=p_all,
        p=_part(p_all, rounds, matrix),
        cost=cost,
        choice=choice,
        fold=fold,
        policies=tuple(policies),
        kind=SWEEPS[int(np.argmax(areas))],
    )


def with_predictor(
    predictor: Predictor, rounds: Rounds, matrix: OutcomeMatrix, *, folds: Ints
) -> HeldOut:
    """Predictions of a given predictor; the operating point is chosen on the other folds."""
    nothing = np.zeros(rounds.n_contexts, dtype=bool)
    p_all, cost = _predict(predictor, rounds, matrix, nothing)
    p, fold = _part(p_all, rounds, matrix), folds[matrix.context]
    choice = np.zeros(matrix.n, dtype=np.int64)
    policies: list[Policy] = []
    areas = np.zeros(len(SWEEPS))
    for k in np.unique(fold):
        others = matrix.rows(fold != k)
        policy = _operating_point(others, p[fold != k], cost[fold != k])
        areas += _areas(others, p[fold != k], cost[fold != k])
        choice[fold == k] = apply(policy, p[fold == k], cost[fold == k])
        policies.append(policy)
    return HeldOut(
        p_all=p_all,
        p=p,
        cost=cost,
        choice=choice,
        fold=fold,
        policies=tuple(policies),
        kind=SWEEPS[int(np.argmax(areas))],
    )


def _inner_choice(
    rounds: Rounds,
    matrix: OutcomeMatrix,
    is_train: NDArray[np.bool_],
    *,
    params: TrainingParams,
    fit: Fit,
    on_step: OnStep,
) -> tuple[Policy, Floats]:
    """The policy, and the area of each sweep, by cross-validation inside the training part."""
    inner = np.full(rounds.n_contexts, -1, dtype=np.int64)
    inner[is_train] = grouped_folds(
        rounds.group[is_train].astype(str), n_folds=params.n_inner_folds, seed=params.seed + 1
    )
    p_all = np.full((rounds.n_contexts, len(rounds.models)), np.nan)
    cost = np.full(matrix.cost.shape, np.nan)
    for k in range(int(inner.max()) + 1):
        is_fit, is_held = is_train & (inner != k), inner == k
        predictor = fit(rounds.select(is_fit), params=params, seed=params.seed)
        predicted, predicted_cost = _predict(predictor, rounds, matrix, is_fit)
        rows = is_held[matrix.context]
        p_all[is_held] = predicted[is_held[~is_fit]]
        cost[rows] = predicted_cost[rows[~is_fit[matrix.context]]]
        on_step(f"inner fold {k + 1}")
    rows = is_train[matrix.context]
    part, p, dollars = matrix.rows(rows), _part(p_all, rounds, matrix)[rows], cost[rows]
    return _operating_point(part, p, dollars), _areas(part, p, dollars)


def _operating_point(matrix: OutcomeMatrix, p: Floats, cost: Floats) -> Policy:
    target = float(matrix.score[:, best_model(matrix)].mean())
    return choose_operating_point(matrix, p, cost, target_score=target)


def _areas(matrix: OutcomeMatrix, p: Floats, cost: Floats) -> Floats:
    if not matrix.has_cost:
        return np.zeros(len(SWEEPS))
    means = matrix.cost.mean(axis=0)
    low, high = float(means.min()), float(means.max())
    curves = [curve(matrix, sweep(p, cost, kind=kind)) for kind in SWEEPS]
    return np.array([area(points, low=low, high=high) for points in curves])


def _predict(
    predictor: Predictor,
    rounds: Rounds,
    matrix: OutcomeMatrix,
    is_seen: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """P for all unseen contexts and models, costs for the unseen rows of the matrix.

    A cost that the predictor does not know is the model's mean cost on the seen contexts.
    """
    unseen = ~is_seen
    predicted = predictor.predict(
        rounds.features[unseen], rounds.embedding[unseen], list(rounds.models)
    )
    rows = unseen[matrix.context]
    if not matrix.has_cost or matrix.cost_unit != "usd":
        return predicted.p_adequate, np.nan_to_num(matrix.cost[rows])
    place = np.cumsum(unseen) - 1
    columns = [rounds.models.index(model) for model in matrix.models]
    cost = np.asarray(predicted.expected_cost)[np.ix_(place[matrix.context[rows]], columns)].astype(
        np.float64
    )
    seen = matrix.cost[~rows] if (~rows).any() else matrix.cost
    return predicted.p_adequate, np.where(np.isfinite(cost), cost, seen.mean(axis=0))


def _part(p_all: Floats, rounds: Rounds, matrix: OutcomeMatrix) -> Floats:
    columns = [rounds.models.index(model) for model in matrix.models]
    return p_all[np.ix_(matrix.context, columns)]
