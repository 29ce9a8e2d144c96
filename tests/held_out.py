"""Held-out predictions for real outcome data, made with a small predictor in seconds."""

from typing import NamedTuple

import numpy as np
from paths import DATA

from router_data.dataset import rounds_from_tables
from router_model.encoder import StaticEncoder
from router_training.evaluate import sampled
from router_training.fit import fit_predictor
from router_training.matrix import Floats, OutcomeMatrix, matrix_of, with_call_cost
from router_training.params import TrainingParams
from router_training.splits import grouped_folds

PARAMS = TrainingParams(
    n_folds=2, n_estimators=20, num_leaves=15, ridges=(5000.0,), embedding_dim=32, n_skills=4
)


class HeldOutMatrix(NamedTuple):
    """Outcomes of every model, with p and cost predicted by a router that did not see them."""

    matrix: OutcomeMatrix
    p: Floats
    cost: Floats


def held_out(name: str, *, max_contexts: int, group_by: str | None = None) -> HeldOutMatrix:
    """Two-fold cross-fitted predictions for a folder of `DATA`."""
    encoder = StaticEncoder.from_sentence_transformer("wordllama", dimension=32)
    rounds = sampled(
        rounds_from_tables(DATA / name, encoder=encoder, group_by=group_by, progress=False),
        max_contexts,
        seed=0,
    )
    matrix, coverage = matrix_of(rounds)
    matrix = matrix if coverage.has_cost else with_call_cost(matrix)
    folds = grouped_folds(rounds.group.astype(str), n_folds=PARAMS.n_folds, seed=0)
    p = np.full(matrix.score.shape, np.nan)
    cost = np.full(matrix.score.shape, np.nan)
    for k in range(PARAMS.n_folds):
        predictor = fit_predictor(rounds.select(folds != k), params=PARAMS)
        rows = folds[matrix.context] == k
        at = matrix.context[rows]
        predicted = predictor.predict(
            rounds.features[at], rounds.embedding[at], list(matrix.models)
        )
        p[rows] = predicted.p_adequate
        known = np.asarray(predicted.expected_cost, dtype=np.float64)
        cost[rows] = np.where(np.isfinite(known), known, matrix.cost[~rows].mean(axis=0))
    if matrix.cost_unit != "usd":
        cost = matrix.cost
    return HeldOutMatrix(matrix, p, cost)
