"""Training of the joint predictor from logged rounds."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.descriptors import card_for
from router_data.rounds import Rounds, Texts
from router_model.calibration import Calibration
from router_model.descriptors import describe
from router_model.embedding import N_MATCH
from router_model.errors import DatasetError
from router_model.heads import ContextScaler, Floats, LinearHead
from router_model.predictor import (
    JointPredictor,
    Prediction,
    Vectors,
    context_columns,
    model_columns,
)
from router_training.amounts import fit_amounts
from router_training.bilinear import Cells, Ints, fit_head
from router_training.boost import TreeTable, fit_trees
from router_training.calibrate import LogitCalibrator, blend_weights
from router_training.params import TrainingParams
from router_training.space import fit_space
from router_training.splits import grouped_folds

_N_CROSS_FOLDS = 3
# The log-odds of a probability of exactly 0 or 1 are infinite.
_LEAST_P = 1e-12


class FittedPredictor(Struct, frozen=True):
    """A predictor, and the names it was fitted on."""

    models: tuple[str, ...]
    joint: JointPredictor

    def predict(self, features: Vectors, embedding: Vectors, models: Sequence[str]) -> Prediction:
        """Predictions (n_contexts, n_models) for models by their logged names."""
        return self.joint.predict(
            features, embedding, names=models, descriptors=descriptor_table(models)
        )


class Table(Struct, frozen=True):
    """What the joint predictor is fitted on: contexts, models, and the outcomes of pairs.

    `features` (n, f), `embedding` (n, e) and `group` (n,) have one row a context, `names` and
    `descriptors` (m, d) one a model.
    """

    features: Vectors
    embedding: Vectors
    group: NDArray[np.str_] | Texts
    names: tuple[str, ...]
    descriptors: Vectors
    cells: Cells


class Linear(Struct, frozen=True):
    """What the linear score is fitted on."""

    z: Floats
    loadings: Floats
    params: TrainingParams

    def fit(self, cells: Cells, ridge: float) -> LinearHead:
        """The head fitted on these cells."""
        return fit_head(
            self.z,
            self.loadings,
            cells,
            link="logit",
            ridge=ridge,
            ridge_own=ridge * self.params.own_ridge_factor,
            max_iter=self.params.max_linear_steps,
        )

    def score(self, head: LinearHead, cells: Cells) -> Floats:
        """Linear log-odds of each cell."""
        coef, intercept = head.coefficients(self.loadings, np.arange(len(self.loadings)))
        return np.asarray((self.z @ coef + intercept)[cells.context, cells.model])


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

    Ridge, number of trees, the blend and (without `calibration_rounds`) the calibration are
    chosen on held-out predictions of a cross-fit over groups inside `rounds`. Raises
    DatasetError when there is nothing to learn from.
    """
    cells = observed_cells(rounds)
    descriptors = descriptor_table(rounds.models)
    table = Table(
        rounds.features, rounds.embedding, rounds.group, rounds.models, descriptors, cells
    )
    joint = fit_joint(table, params=params, seed=seed)
    z = joint.scaler.transform(_vectors(table))
    joint.log_heads = fit_amounts(rounds, z, joint.space.loadings(rounds.models, descriptors))
    if calibration_rounds is not None:
        joint.calibration = recalibrated(joint, calibration_rounds, params)
    return FittedPredictor(rounds.models, joint)


def fit_joint(table: Table, *, params: TrainingParams, seed: int) -> JointPredictor:
    """The joint predictor of adequacy alone: no amounts, calibrated on the cross-fit."""
    cells = table.cells
    vectors = _vectors(table)
    scaler = fit_scaler(vectors)
    z = scaler.transform(vectors)
    space = fit_space(
        z,
        cells,
        names=table.names,
        descriptors=table.descriptors,
        n_skills=params.n_skills,
        n_components=params.n_model_components,
    )
    folds = cross_folds(table, seed=seed)
    linear = Linear(z, space.loadings(table.names, table.descriptors), params)
    head, linear_scores = fit_linear(linear, cells, folds)
    text = text_components(table.embedding[:, :-N_MATCH], params.n_text_components)
    tree_table = TreeTable(
        context_columns(table.features, table.embedding, text),
        model_columns(space.traits, table.descriptors),
    )
    trees, tree_scores = fit_trees(tree_table, cells, folds, params=params, seed=seed)
    blend = blend_weights(linear_scores, tree_scores, cells.y, cells.weight)
    held_out = blend.linear * linear_scores + blend.trees * tree_scores
    calibration = LogitCalibrator(params.calibration).fit(held_out, cells.y, cells.weight)
    return JointPredictor(
        n_features=table.features.shape[1],
        scaler=scaler,
        space=space,
        adequacy=head,
        log_heads={},
        trees=trees,
        text_components=text,
        blend=blend,
        calibration=calibration.calibration_,
    )


def observed_cells(rounds: Rounds) -> Cells:
    """The rows whose adequacy was observed; data sets are nuisance groups."""
    target = adequacy_targets(rounds)
    is_observed = np.isfinite(target)
    if not is_observed.any():
        raise DatasetError("adequate: no row has an observed outcome, expected at least one")
    _, dataset = np.unique(rounds.dataset.astype(str), return_inverse=True)
    rows = Cells(
        rounds.context_index,
        rounds.model_index,
        target,
        nuisance=dataset.reshape(-1)[rounds.context_index].astype(np.int64),
    )
    return rows.select(is_observed)


def _vectors(table: Table) -> Vectors:
    return np.concatenate([table.features, table.embedding], axis=1)


def fit_scaler(vectors: Vectors) -> ContextScaler:
    """Mean and scale of every input; a constant one is scaled to nothing."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    scale = vectors.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = np.inf  # a constant column says nothing, here or later
    return ContextScaler(mean, scale)


def cross_folds(contexts: Rounds | Table, *, seed: int) -> Ints:
    """Fold of every context; groups stay whole where there are at least two."""
    groups = contexts.group.astype(str)
    if len(np.unique(groups)) < 2:
        return np.arange(len(groups)) % _N_CROSS_FOLDS
    return grouped_folds(groups, n_folds=_N_CROSS_FOLDS, seed=seed)


def fit_linear(linear: Linear, cells: Cells, folds: Ints) -> tuple[LinearHead, Floats]:
    """The head with the ridge of least held-out log loss, and its held-out scores."""
    fold_of = folds[cells.context]
    best: tuple[float, float, Floats] | None = None
    for ridge in linear.params.ridges:
        scores = np.zeros(len(cells.y))
        for fold in range(int(folds.max()) + 1):
            held = fold_of == fold
            if held.any() and not held.all():
                head = linear.fit(cells.select(~held), ridge)
                scores[held] = linear.score(head, cells.select(held))
        loss = float(cells.weight @ (np.logaddexp(0, scores) - cells.y * scores))
        if best is None or loss < best[0]:
            best = (loss, ridge, scores)
    if best is None:
        raise DatasetError("ridges: got none, expected at least one")
    return linear.fit(cells, best[1]), best[2]


def text_components(embedding: Vectors, n_components: int) -> Floats:
    """Principal directions of the texts' vectors, shape (e, <= n_components)."""
    centred = np.asarray(embedding, np.float64) - embedding.mean(axis=0, dtype=np.float64)
    if not centred.any():
        return np.zeros((embedding.shape[1], 0))
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    kept = directions[:n_components].T
    # The sign of a direction is arbitrary: fix it, so that equal data give equal trees.
    return np.asarray(kept * np.sign(kept[np.abs(kept).argmax(axis=0), range(kept.shape[1])]))


def recalibrated(joint: JointPredictor, rounds: Rounds, params: TrainingParams) -> Calibration:
    """The calibration on rounds that no other part was fitted on."""
    cells = observed_cells(rounds)
    if len(cells.y) < 2:
        raise DatasetError("calibration: got fewer than 2 observed outcomes, expected more")
    p = joint.predict(
        rounds.features,
        rounds.embedding,
        names=rounds.models,
        descriptors=descriptor_table(rounds.models),
    ).p_adequate[cells.context, cells.model]
    p = np.clip(p, _LEAST_P, 1 - _LEAST_P)
    raw = joint.calibration.raw_of(np.log(p) - np.log1p(-p))
    return LogitCalibrator(params.calibration).fit(raw, cells.y).calibration_
