"""LightGBM trees over (context, model) rows, cross-fitted."""

import lightgbm
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.heads import Floats
from router_model.trees import Trees
from router_training.bilinear import Cells, Ints
from router_training.params import TrainingParams

_PATIENCE = 30
_MAX_BIN = 63
# The final trees see more rows than those of a fold, and can be more by about that share.
_GROWTH = 1.15


class TreeTable(Struct, frozen=True):
    """Inputs of the trees: one row a context, one row a model."""

    contexts: Floats
    models: Floats

    def rows(self, cells: Cells) -> Floats:
        """The row of every cell."""
        return np.column_stack([self.contexts[cells.context], self.models[cells.model]])


class _Data(Struct, frozen=True):
    """Rows with their targets; `start` are log-odds to add to, None begins at their mean."""

    rows: Floats
    cells: Cells
    start: Floats | None

    def part(
        self, mask: NDArray[np.bool_], *, reference: lightgbm.Dataset | None = None
    ) -> lightgbm.Dataset:
        """Some of the rows as LightGBM takes them."""
        return lightgbm.Dataset(
            self.rows[mask],
            self.cells.y[mask],
            weight=self.cells.weight[mask],
            init_score=None if self.start is None else self.start[mask],
            reference=reference,
            params={"max_bin": _MAX_BIN, "verbose": -1},
        )


def fit_trees(
    table: TreeTable,
    cells: Cells,
    folds: Ints,
    *,
    params: TrainingParams,
    seed: int,
    levels: Floats | None = None,
) -> tuple[Trees, Floats]:
    """Trees fitted on all cells, and the held-out log-odds of every cell.

    `levels` are log-odds by which each cell departs for reasons that are not the trees' to learn,
    its tenant's; what the trees say is then relative to the mean.

    `folds` numbers the contexts. Each fold is scored by trees grown on the others and says when
    to stop; the mean of their numbers is what the final trees get.
    """
    rows = table.rows(cells)
    data = _Data(rows, cells, _start(levels, cells))
    fold_of = folds[cells.context]
    held_out = np.empty(len(cells.y))
    numbers = []
    for fold in range(int(folds.max()) + 1):
        held = fold_of == fold
        if not held.any() or held.all():
            held_out[held] = 0.0
            continue
        booster = _boost(data, ~held, params=params, seed=seed, stop_on=held)
        numbers.append(booster.best_iteration)
        scores = booster.predict(rows[held], raw_score=True, num_iteration=booster.best_iteration)
        # Dense rows give a dense answer.
        held_out[held] = np.asarray(scores)
    n_trees = max(1, round(float(np.mean(numbers)) * _GROWTH)) if numbers else 1
    everything = np.ones(len(cells.y), dtype=bool)
    final = _boost(data, everything, params=params, seed=seed, n_trees=n_trees)
    return Trees(final.model_to_string()), held_out


def _boost(
    data: _Data,
    train: NDArray[np.bool_],
    *,
    params: TrainingParams,
    seed: int,
    n_trees: int | None = None,
    stop_on: NDArray[np.bool_] | None = None,
) -> lightgbm.Booster:
    options = {
        "objective": "cross_entropy",
        "learning_rate": params.learning_rate,
        "num_leaves": params.num_leaves,
        "min_data_in_leaf": params.min_data_in_leaf,
        "feature_fraction": 0.4,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "max_bin": _MAX_BIN,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    fitted = data.part(train)
    if stop_on is None:
        return lightgbm.train(options, fitted, num_boost_round=n_trees or params.n_estimators)
    return lightgbm.train(
        options,
        fitted,
        num_boost_round=params.n_estimators,
        valid_sets=[data.part(stop_on, reference=fitted)],
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )


def _start(levels: Floats | None, cells: Cells) -> Floats | None:
    if levels is None or not levels.any():
        return None
    mean = np.clip(np.average(cells.y, weights=cells.weight), 0.01, 0.99)
    return np.asarray(levels + np.log(mean / (1 - mean)))
