"""Training of the joint predictor from logged rounds."""

from collections.abc import Callable, Sequence

import lightgbm
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.descriptors import card_for
from router_data.rounds import Rounds
from router_model.calibration import Calibration
from router_model.descriptors import describe
from router_model.errors import DatasetError
from router_model.heads import ContextScaler, Floats, LinearHead, ModelSpace
from router_model.predictor import (
    COST,
    LATENCY,
    OUTPUT_TOKENS,
    BoundPredictor,
    JointPredictor,
    LogHead,
    Prediction,
    Vectors,
)
from router_model.trees import Trees
from router_training.bilinear import Cells, Ints, fit_head
from router_training.calibrate import LogitCalibrator
from router_training.params import TrainingParams
from router_training.space import fit_space
from router_training.splits import grouped_folds

_N_CROSS_FOLDS = 3


class FittedPredictor(Struct, frozen=True):
    """A predictor, and the names it was fitted on."""

    models: tuple[str, ...]
    joint: JointPredictor

    def predict(
        self, features: Vectors, embedding: Vectors, models: Sequence[str]
    ) -> Prediction:
        """Predictions (n_contexts, n_models) for models by their logged names."""
        return self.joint.predict(
            features, embedding, names=models, descriptors=descriptor_table(models)
        )


class _Data(Struct, frozen=True):
    """Arrays that every step of the fit shares."""

    z: Floats
    features: Vectors
    cells: Cells
    space: ModelSpace
    descriptors: Vectors
    loadings: Floats


def descriptor_table(models: Sequence[str]) -> Vectors:
    """Descriptors of models by logged name, shape (n_models, d)."""
    if not models:
        raise DatasetError("models: got none, expected at least one")
    return np.stack([describe(card_for(name), name=name) for name in models])


def adequacy_targets(rounds: Rounds) -> Floats:
    """The target of each row in [0, 1]: the reward where there is one, else adequacy, else NaN.

    A fractional reward counts as that share of an adequate answer.
    """
    return np.where(np.isfinite(rounds.reward), rounds.reward, rounds.adequate)


def fit_predictor(
    rounds: Rounds,
    *,
    params: TrainingParams,
    seed: int = 0,
    calibration_rounds: Rounds | None = None,
) -> FittedPredictor:
    """Predictor fitted on all rounds whose adequacy was observed.

    Ridge, number of trees and (without `calibration_rounds`) the calibration are chosen by
    cross-fitting over groups inside `rounds`. Raises DatasetError when there is nothing to
    learn from.
    """
    target = adequacy_targets(rounds)
    is_observed = np.isfinite(target)
    if not is_observed.any():
        raise DatasetError("adequate: no row has an observed outcome, expected at least one")
    vectors = np.concatenate([rounds.features, rounds.embedding], axis=1)
    scaler = _fit_scaler(vectors)
    z = scaler.transform(vectors)
    _, dataset = np.unique(rounds.dataset.astype(str), return_inverse=True)
    rows = Cells(
        rounds.context_index,
        rounds.model_index,
        target,
        nuisance=dataset.reshape(-1)[rounds.context_index].astype(np.int64),
    )
    cells = rows.select(is_observed)
    descriptors = descriptor_table(rounds.models)
    space = fit_space(
        z,
        cells,
        names=rounds.models,
        descriptors=descriptors,
        n_skills=params.n_skills,
        n_components=params.n_model_components,
    )
    loadings = space.loadings(rounds.models, descriptors)
    data = _Data(z, rounds.features, cells, space, descriptors, loadings)
    folds = _cross_folds(rounds, seed)
    ridge, held_out = _choose_ridge(data, folds, params)
    head = _fit_adequacy(data, cells, ridge, params)
    assemble = _assembler(rounds, scaler, data, head)
    trees, corrected = _fit_trees(data, head, held_out, folds, params, seed)
    predictor = assemble(trees, Calibration.identity())
    if calibration_rounds is not None:
        calibration = _calibrate_on(predictor, calibration_rounds, params)
    else:
        calibration = LogitCalibrator(params.calibration).fit(corrected, cells.y).calibration_
    return FittedPredictor(rounds.models, assemble(trees, calibration))


def _assembler(
    rounds: Rounds, scaler: ContextScaler, data: _Data, head: LinearHead
) -> Callable[[Trees | None, Calibration], JointPredictor]:
    log_heads = _fit_log_heads(rounds, data)

    def assemble(trees: Trees | None, calibration: Calibration) -> JointPredictor:
        return JointPredictor(
            n_features=rounds.features.shape[1],
            scaler=scaler,
            space=data.space,
            adequacy=head,
            log_heads=log_heads,
            trees=trees,
            calibration=calibration,
        )

    return assemble


def _fit_scaler(vectors: Vectors) -> ContextScaler:
    mean = vectors.mean(axis=0, dtype=np.float64)
    scale = vectors.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = np.inf  # a constant column says nothing, here or later
    return ContextScaler(mean, scale)


def _cross_folds(rounds: Rounds, seed: int) -> Ints:
    groups = rounds.group.astype(str)
    if len(np.unique(groups)) < 2:
        return np.arange(rounds.n_contexts) % _N_CROSS_FOLDS
    return grouped_folds(groups, n_folds=_N_CROSS_FOLDS, seed=seed)


def _fit_adequacy(data: _Data, cells: Cells, ridge: float, params: TrainingParams) -> LinearHead:
    return fit_head(
        data.z,
        data.loadings,
        cells,
        link="logit",
        ridge=ridge,
        ridge_own=ridge * params.own_ridge_factor,
    )


def _linear(data: _Data, head: LinearHead, cells: Cells) -> Floats:
    """Linear log-odds of each cell."""
    coef, intercept = head.coefficients(data.loadings, np.arange(len(data.loadings)))
    table = data.z @ coef + intercept
    return table[cells.context, cells.model]


def _choose_ridge(
    data: _Data, folds: Ints, params: TrainingParams
) -> tuple[float, list[LinearHead]]:
    """Ridge with the least held-out log loss, and the heads of its folds."""
    best: tuple[float, float, list[LinearHead]] | None = None
    for ridge in params.ridges:
        heads, loss = [], 0.0
        for fold in range(int(folds.max()) + 1):
            is_held = folds[data.cells.context] == fold
            head = _fit_adequacy(data, data.cells.select(~is_held), ridge, params)
            held = data.cells.select(is_held)
            eta = _linear(data, head, held)
            loss += float(held.weight @ (np.logaddexp(0, eta) - held.y * eta))
            heads.append(head)
        if best is None or loss < best[0]:
            best = (loss, ridge, heads)
    assert best is not None, "params.ridges is never empty"
    return best[1], best[2]


def _fit_trees(
    data: _Data,
    head: LinearHead,
    held_out: list[LinearHead],
    folds: Ints,
    params: TrainingParams,
    seed: int,
) -> tuple[Trees | None, Floats]:
    """Trees boosted from held-out linear scores, and the held-out log-odds of every cell.

    Each fold is scored by trees trained on the others; the fold stops the training, and the
    mean number of trees is what the final trees get. None when trees don't help.
    """
    cells = data.cells
    fold_of = folds[cells.context]
    linear = np.empty(len(cells.y))
    rows = np.empty((len(cells.y), 0))
    for fold, fold_head in enumerate(held_out):
        mask = fold_of == fold
        part = cells.select(mask)
        linear[mask] = _linear(data, fold_head, part)
        block = _tree_rows(data, fold_head, part, linear[mask])
        rows = np.empty((len(cells.y), block.shape[1])) if not rows.shape[1] else rows
        rows[mask] = block
    corrected, rounds_used = linear.copy(), []
    for fold in range(len(held_out)):
        mask = fold_of == fold
        booster = _boost(rows, linear, cells, ~mask, mask, params, seed)
        rounds_used.append(booster.best_iteration)
        corrected[mask] += booster.predict(
            rows[mask], raw_score=True, num_iteration=booster.best_iteration
        )
    n_trees = round(float(np.mean(rounds_used)))
    if n_trees < 1 or _loss(corrected, cells) >= _loss(linear, cells):
        return None, linear
    everything = np.ones(len(cells.y), dtype=bool)
    booster = _boost(rows, linear, cells, everything, None, params, seed, n_trees=n_trees)
    return Trees(booster.model_to_string()), corrected


def _loss(eta: Floats, cells: Cells) -> float:
    return float(cells.weight @ (np.logaddexp(0, eta) - cells.y * eta))


def _tree_rows(data: _Data, head: LinearHead, cells: Cells, linear: Floats) -> Floats:
    """The columns of `BoundPredictor.tree_rows` for single cells."""
    return np.column_stack(
        [
            data.features[cells.context],
            (data.z @ head.shared)[cells.context],
            linear,
            data.space.traits[cells.model],
            data.descriptors[cells.model],
        ]
    ).astype(np.float64)


def _boost(
    rows: Floats,
    linear: Floats,
    cells: Cells,
    train: NDArray[np.bool_],
    held: NDArray[np.bool_] | None,
    params: TrainingParams,
    seed: int,
    *,
    n_trees: int | None = None,
) -> lightgbm.Booster:
    options = {
        "objective": "cross_entropy",
        "learning_rate": params.learning_rate,
        "num_leaves": params.num_leaves,
        "min_data_in_leaf": params.min_data_in_leaf,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "max_bin": 63,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
        "boost_from_average": False,
    }

    def dataset(mask: NDArray[np.bool_]) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            rows[mask],
            cells.y[mask],
            weight=cells.weight[mask],
            init_score=linear[mask],
            params={"max_bin": 63, "verbose": -1},
            free_raw_data=False,
        )

    if held is None:
        return lightgbm.train(options, dataset(train), num_boost_round=n_trees or 1)
    training = dataset(train)
    return lightgbm.train(
        options,
        training,
        num_boost_round=params.n_estimators,
        valid_sets=[dataset(held)],
        callbacks=[lightgbm.early_stopping(25, verbose=False)],
    )


def _calibrate_on(
    predictor: JointPredictor, rounds: Rounds, params: TrainingParams
) -> Calibration:
    target = adequacy_targets(rounds)
    rows = np.isfinite(target)
    if rows.sum() < 2:
        raise DatasetError("calibration: got fewer than 2 observed outcomes, expected more")
    bound = BoundPredictor(predictor, rounds.models, descriptor_table(rounds.models))
    p = bound.predict_batch(rounds.features, rounds.embedding).p_adequate
    chosen = p[rounds.context_index[rows], rounds.model_index[rows]]
    raw = np.log(chosen) - np.log1p(-chosen)
    return LogitCalibrator(params.calibration).fit(raw, target[rows]).calibration_


def _fit_log_heads(rounds: Rounds, data: _Data) -> dict[str, LogHead]:
    latency = np.where(
        np.isfinite(rounds.tool_call_latency_ms), rounds.tool_call_latency_ms, rounds.latency_ms
    )
    columns = {OUTPUT_TOKENS: rounds.output_tokens, LATENCY: latency, COST: rounds.cost_usd}
    heads = {}
    for name, values in columns.items():
        usable = np.isfinite(values) & (values > 0)
        if usable.sum() >= 2:
            heads[name] = _fit_log_head(rounds, data, values, usable)
    return heads


def _fit_log_head(
    rounds: Rounds, data: _Data, values: Floats, usable: NDArray[np.bool_]
) -> LogHead:
    log_values = np.log(values[usable])
    cells = Cells(rounds.context_index[usable], rounds.model_index[usable], log_values)
    head = fit_head(
        data.z, data.loadings, cells, link="identity", ridge=100.0, ridge_own=1000.0, max_iter=80
    )
    # Duan's smearing estimate (1983) turns the median of a log-normal fit into a mean.
    residual = log_values - _linear(data, head, cells)
    smearing = float(np.mean(np.exp(np.clip(residual, -5, 5))))
    is_known = np.bincount(cells.model, minlength=len(rounds.models)) > 0
    return LogHead(head, smearing, is_known)
