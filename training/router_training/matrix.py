"""The outcome matrix: every model's score and cost on every context."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import ArrayLike, NDArray

from router_data.rounds import Rounds
from router_model.errors import DatasetError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class OutcomeMatrix(Struct, frozen=True, kw_only=True):
    """What each model (column) did on each context (row).

    `score` and `adequate` are 0 to 1, `cost` is US dollars (or the share of strong calls, see
    `cost_unit`); NaN marks what was not observed. `context` is the row in the data set.
    """

    models: tuple[str, ...]
    score: Floats
    adequate: Floats
    cost: Floats
    group: NDArray[np.str_]
    task: NDArray[np.str_]
    context: Ints
    cost_unit: str = "usd"

    @property
    def n(self) -> int:
        """Number of contexts."""
        return len(self.context)

    @property
    def has_cost(self) -> bool:
        """True when every cell has a cost."""
        return bool(self.cost.size) and bool(np.isfinite(self.cost).all())

    def rows(self, index: ArrayLike) -> "OutcomeMatrix":
        """The matrix of some contexts only; `index` is a mask or row numbers."""
        where = np.asarray(index)
        return replace(
            self,
            score=self.score[where],
            adequate=self.adequate[where],
            cost=self.cost[where],
            group=self.group[where],
            task=self.task[where],
            context=self.context[where],
        )

    def columns(self, models: Sequence[str]) -> "OutcomeMatrix":
        """The matrix of some models only, in the order given."""
        where = [self.models.index(model) for model in models]
        return replace(
            self,
            models=tuple(models),
            score=self.score[:, where],
            adequate=self.adequate[:, where],
            cost=self.cost[:, where],
        )


def complete_part(observed: Bools) -> tuple[Bools, Bools]:
    """Masks (rows, columns) of a large part of a matrix without a gap.

    Columns are added from the most to the least complete; the number that leaves most cells is
    kept, but at least two when two share a row.

    >>> complete_part(np.array([[True, True, False], [True, True, False], [True, True, True]]))
    (array([ True,  True,  True]), array([ True,  True, False]))
    """
    order = np.argsort(-observed.sum(axis=0), kind="stable")
    complete = np.logical_and.accumulate(observed[:, order], axis=1).sum(axis=0)
    cells = complete * np.arange(1, len(order) + 1)
    first = 1 if len(order) > 1 and complete[1] else 0
    n_columns = first + int(np.argmax(cells[first:])) + 1
    columns = np.zeros(observed.shape[1], dtype=bool)
    columns[order[:n_columns]] = True
    return np.asarray(observed[:, columns].all(axis=1)), columns


def with_call_cost(matrix: OutcomeMatrix) -> OutcomeMatrix:
    """A two-model matrix with the share of strong calls as its cost: weak 0, strong 1.

    The strong model is the one with the higher mean score; a tie goes to the second.
    """
    if len(matrix.models) != 2:
        raise DatasetError(f"call costs need exactly 2 models, got {len(matrix.models)}")
    means = matrix.score.mean(axis=0)
    unit = np.array([0.0, 1.0]) if means[1] >= means[0] else np.array([1.0, 0.0])
    return replace(
        matrix, cost=np.broadcast_to(unit, matrix.score.shape).copy(), cost_unit="strong_calls"
    )


def pick(values: Floats, choice: NDArray[Any]) -> Floats:
    """Value of the chosen model per context; `choice` is (n,) or (n, sweeps).

    >>> pick(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 0]))
    array([2., 3.])
    """
    if choice.ndim == 1:
        return np.asarray(values[np.arange(len(values)), choice])
    return np.asarray(np.take_along_axis(values, choice.astype(np.int64), axis=1))


class Coverage(Struct, frozen=True, kw_only=True):
    """What part of a data set the matrix covers, and why the rest is left out."""

    n_contexts: int
    n_models: int
    models_left_out: tuple[str, ...]
    n_contexts_left_out: int
    has_cost: bool


def matrix_of(rounds: Rounds) -> tuple[OutcomeMatrix, Coverage]:
    """The largest part of the rounds in which every model has a score on every context.

    Where costs are known, every cell has to have one too. Raises DatasetError when fewer than two
    models share a context.
    """
    if len(rounds.models) < 2:
        raise DatasetError(
            f"model: got only {list(rounds.models)}, expected outcomes of at least 2 models"
        )
    score = rounds.matrix("reward")
    cost = rounds.matrix("cost_usd")
    is_scored = np.isfinite(score)
    is_priced = is_scored & np.isfinite(cost)
    has_cost = bool(np.nansum(cost[is_priced]) > 0) and _is_usable(is_priced)
    rows, columns = complete_part(is_priced if has_cost else is_scored)
    if columns.sum() < 2 or not rows.any():
        raise DatasetError(
            "outcomes: no two models were scored on the same request, expected at least some "
            "requests with outcomes of two or more models"
        )
    part = np.ix_(rows, columns)
    matrix = OutcomeMatrix(
        models=tuple(np.array(rounds.models)[columns].tolist()),
        score=score[part],
        adequate=rounds.matrix("adequate")[part],
        cost=cost[part] if has_cost else np.full(score[part].shape, np.nan),
        group=rounds.group[rows].astype(str),
        task=rounds.task[rows].astype(str),
        context=np.flatnonzero(rows),
    )
    coverage = Coverage(
        n_contexts=rounds.n_contexts,
        n_models=len(rounds.models),
        models_left_out=tuple(np.array(rounds.models)[~columns].tolist()),
        n_contexts_left_out=int((~rows).sum()),
        has_cost=has_cost,
    )
    return matrix, coverage


def _is_usable(observed: Bools) -> bool:
    rows, columns = complete_part(observed)
    return bool(columns.sum() >= 2 and rows.any())
