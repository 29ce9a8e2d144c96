"""The training table: contexts, models, and the weighted outcomes of pairs."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.descriptors import card_for
from router_data.rounds import Rounds, Texts
from router_model.descriptors import describe
from router_model.errors import DatasetError
from router_model.heads import Floats
from router_model.predictor import Vectors
from router_training.bilinear import Cells, Ints, Nuisance
from router_training.params import TrainingParams
from router_training.splits import grouped_folds, linked_units
from router_training.weights import training_weights

_N_CROSS_FOLDS: Final = 3
# Data sets differ as they like: a wide prior of 3 log-odds. Those of tenants are wider than what
# tenants differ by, for a false log is farther off than any honest one.
DATASET_RIDGE: Final = 0.1
_TENANT_RIDGE: Final = 1.0
_PAIR_RIDGE: Final = 2.0


class Table(Struct, frozen=True):
    """What the joint predictor is fitted on: contexts, models, and the outcomes of pairs.

    `features` (n, f), `embedding` (n, e) and `group` (n,) have one row a context, `names` and
    `descriptors` (m, d) one a model, and `cells` one a pair. `row_cell` is the cell of each
    observed row of a log, empty where there was no log.
    """

    features: Vectors
    embedding: Vectors
    group: NDArray[np.str_] | Texts
    names: tuple[str, ...]
    descriptors: Vectors
    cells: Cells
    row_cell: Ints = np.empty(0, dtype=np.int64)

    @property
    def vectors(self) -> Vectors:
        """Features and embedding side by side."""
        return np.concatenate([self.features, self.embedding], axis=1)


def table_of(rounds: Rounds, params: TrainingParams) -> Table:
    """What the joint predictor is fitted on; what shares a session or a group stays whole."""
    contexts = Distinct.of(rounds)
    rows = observed_cells(rounds, params)
    rows.context = contexts.number[rows.context]
    cells, row_cell = merged(rows)
    return Table(
        rounds.features[contexts.first],
        rounds.embedding[contexts.first],
        contexts.unit,
        rounds.models,
        descriptor_table(rounds.models),
        cells,
        row_cell,
    )


class Distinct(Struct, frozen=True):
    """The distinct contexts of rounds: equal vectors of one tenant, session and group are one.

    `first` is where each was first, `unit` the name of what it shares a session or a group with,
    `number` (n_contexts,) which each context is.
    """

    first: Ints
    unit: NDArray[np.str_]
    number: Ints

    @classmethod
    def of(cls, rounds: Rounds) -> "Distinct":
        """Those of these rounds; a request that is logged again is not computed again."""
        unit = unit_names(rounds)
        vectors = np.concatenate([rounds.features, rounds.embedding], axis=1)
        numbers: dict[tuple[object, ...], int] = {}
        number = np.array(
            [
                numbers.setdefault((u, tenant, dataset, vector.tobytes()), len(numbers))
                for u, tenant, dataset, vector in zip(
                    unit.tolist(), rounds.tenant, rounds.dataset, vectors, strict=True
                )
            ],
            dtype=np.int64,
        )
        first = np.unique(number, return_index=True)[1].astype(np.int64)
        return cls(first, unit[first], number)


def unit_names(rounds: Rounds) -> NDArray[np.str_]:
    """Name of each context's unit: the first of the groups that its sessions link."""
    group = rounds.group.astype(str)
    unit = linked_units(rounds.session.astype(str), group)
    names: dict[int, str] = {}
    for number, name in zip(unit.tolist(), group.tolist(), strict=True):
        known = name or f"\0{number}"
        names[number] = min(names.get(number, known), known)
    return np.array([names[number] for number in unit.tolist()])


def merged(rows: Cells) -> tuple[Cells, Ints]:
    """One cell for each pair of context and model, and the cell of every row.

    The cell has the rows' total weight and mean target, which is the same to every loss, and
    the nuisance groups of the first.
    """
    n_models = int(rows.model.max(initial=0)) + 1
    pair = rows.context * n_models + rows.model
    _, first, cell = np.unique(pair, return_index=True, return_inverse=True)
    total = np.bincount(cell, rows.weight)
    # Rows without weight (those of a capped or certain log can come to 0) have a plain mean.
    weight = rows.weight + 1e-12
    cells = rows.select(first)
    cells.weight = np.asarray(total, dtype=np.float64)
    cells.y = np.bincount(cell, weight * rows.y) / np.bincount(cell, weight)
    return cells, cell.reshape(-1).astype(np.int64)


def observed_cells(rounds: Rounds, params: TrainingParams) -> Cells:
    """The rows whose adequacy was observed; data sets and tenants are nuisance groups.

    A tenant whose requests are harder, or who judges more harshly, alone or for one model, moves
    its own level and not what is said of everybody.
    """
    target = adequacy_targets(rounds)
    is_observed = np.isfinite(target)
    if not is_observed.any():
        raise DatasetError("adequate: no row has an observed outcome, expected at least one")
    dataset, tenant = (
        np.unique(names.astype(str), return_inverse=True)[1].reshape(-1)[rounds.context_index]
        for names in (rounds.dataset, rounds.tenant)
    )
    nuisance = Nuisance.none(rounds.n_rows).beside(dataset, ridge=DATASET_RIDGE)
    if tenant.max() > 0:
        pair = np.unique(tenant * len(rounds.models) + rounds.model_index, return_inverse=True)[1]
        nuisance = nuisance.beside(tenant, ridge=_TENANT_RIDGE).beside(pair, ridge=_PAIR_RIDGE)
    rows = Cells(
        rounds.context_index,
        rounds.model_index,
        target,
        weight=training_weights(rounds, is_observed, params),
        nuisance=nuisance,
    )
    return rows.select(is_observed)


def adequacy_targets(rounds: Rounds) -> Floats:
    """The target of each row in [0, 1]: the reward where there is one, else adequacy, else NaN.

    A fractional reward counts as that share of an adequate answer.
    """
    return np.where(np.isfinite(rounds.reward), rounds.reward, rounds.adequate)


def descriptor_table(models: Sequence[str]) -> Vectors:
    """Descriptors of models by logged name, shape (n_models, d)."""
    if not models:
        raise DatasetError("models: got none, expected at least one")
    return np.stack([describe(card_for(name), name=name) for name in models])


def cross_folds(contexts: Table, *, seed: int) -> Ints:
    """Fold of every context; groups stay whole where there are at least two."""
    groups = contexts.group.astype(str)
    if len(np.unique(groups)) < 2:
        return np.arange(len(groups)) % _N_CROSS_FOLDS
    return grouped_folds(groups, n_folds=_N_CROSS_FOLDS, seed=seed)
