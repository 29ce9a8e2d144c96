"""Training of the joint predictor from logged rounds."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from router_data.rounds import Rounds, Texts
from router_model.calibration import Calibration
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
from router_model.tenants import TenantOffsets
from router_training.amounts import fit_amounts
from router_training.bilinear import Cells, Ints, fit_head
from router_training.boost import TreeTable, fit_trees
from router_training.calibrate import LogitCalibrator, blend_weights
from router_training.params import TrainingParams
from router_training.space import fit_space
from router_training.tenant_offsets import (
    TenantRows,
    fit_offsets,
    joined,
    shifts_of,
    tenant_rows,
)
from router_training.training_table import (
    Distinct,
    Table,
    adequacy_targets,
    cross_folds,
    descriptor_table,
    observed_cells,
    table_of,
)

# The log-odds of a probability of exactly 0 or 1 are infinite.
_LEAST_P = 1e-12


class FittedPredictor(Struct, frozen=True):
    """A predictor, the names it was fitted on, and how each tenant departs from it."""

    models: tuple[str, ...]
    joint: JointPredictor
    tenants: TenantOffsets = TenantOffsets()

    def predict(
        self,
        features: Vectors,
        embedding: Vectors,
        models: Sequence[str],
        *,
        tenant: Sequence[str] | Texts | None = None,
    ) -> Prediction:
        """Predictions (n_contexts, n_models) for models by their logged names.

        `tenant` (n_contexts,) says whose request each is; without it, those for a new tenant.
        """
        shift = None if tenant is None else self.tenants.for_contexts(tenant, models)
        return self.joint.predict(
            features, embedding, names=models, descriptors=descriptor_table(models), shift=shift
        )


class Linear(Struct, frozen=True):
    """What the linear score is fitted on."""

    z: Floats
    loadings: Floats
    params: TrainingParams

    def fit(self, cells: Cells, ridge: float) -> tuple[LinearHead, Floats]:
        """The head fitted on these cells, and the levels of their nuisance groups."""
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
    table = table_of(rounds, params)
    joint, raw = cross_fitted(table, params=params, seed=seed)
    z = joint.scaler.transform(table.vectors)
    loadings = joint.space.loadings(rounds.models, table.descriptors)
    context = Distinct.of(rounds).number[rounds.context_index]
    joint.log_heads = fit_amounts(rounds, z, loadings, context=context, params=params)
    known = rows_of(rounds, joint.calibration, raw[table.row_cell], params)
    if calibration_rounds is None:
        return FittedPredictor(rounds.models, joint, fit_offsets(known))
    later = observed_cells(calibration_rounds, params)
    raw_later = raw_log_odds(joint, calibration_rounds, later)
    held = rows_of(calibration_rounds, joint.calibration, raw_later, params)
    # The tenants' departures so far explain their own outcomes here too.
    explained = held.log_odds + shifts_of(held, fit_offsets(joined([known, held])))
    joint.calibration = recalibrated(joint.calibration.raw_of(explained), later, params)
    both = [
        rows_of(rounds, joint.calibration, raw[table.row_cell], params),
        rows_of(calibration_rounds, joint.calibration, raw_later, params),
    ]
    return FittedPredictor(rounds.models, joint, fit_offsets(joined(both)))


def rows_of(
    rounds: Rounds, calibration: Calibration, raw: Floats, params: TrainingParams
) -> TenantRows:
    """The outcomes of tenants beside the calibrated log-odds of the observed rows."""
    return tenant_rows(rounds, adequacy_targets(rounds), calibration.logit(raw), params)


def cross_fitted(
    table: Table, *, params: TrainingParams, seed: int
) -> tuple[JointPredictor, Floats]:
    """The joint predictor of adequacy alone, and the held-out raw log-odds of every cell.

    No amounts yet; calibrated on the cross-fit.
    """
    cells = table.cells
    vectors = table.vectors
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
    head, linear_scores, levels = fit_linear(linear, cells, folds)
    text = text_components(table.embedding[:, :-N_MATCH], params.n_text_components)
    tree_table = TreeTable(
        context_columns(table.features, table.embedding, text),
        model_columns(space.traits, table.descriptors),
    )
    trees, tree_scores = fit_trees(
        tree_table, cells, folds, params=params, seed=seed, levels=levels
    )
    # With the levels of the tenants, so that one with false outcomes is explained by its own.
    blend = blend_weights(linear_scores + levels, tree_scores + levels, cells.y, cells.weight)
    held_out = blend.linear * linear_scores + blend.trees * tree_scores
    explained = held_out + (blend.linear + blend.trees) * levels
    calibration = LogitCalibrator(params.calibration).fit(explained, cells.y, cells.weight)
    joint = JointPredictor(
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
    return joint, held_out


def fit_scaler(vectors: Vectors) -> ContextScaler:
    """Mean and scale of every input; a constant one is scaled to nothing."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    scale = vectors.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = np.inf  # a constant column says nothing, here or later
    return ContextScaler(mean, scale)


def fit_linear(linear: Linear, cells: Cells, folds: Ints) -> tuple[LinearHead, Floats, Floats]:
    """The head with the ridge of least held-out log loss, its held-out scores, and levels.

    The levels are those of each cell's tenant and of its model there.
    """
    fold_of = folds[cells.context]
    best: tuple[float, float, Floats] | None = None
    for ridge in linear.params.ridges:
        scores = np.zeros(len(cells.y))
        for fold in range(int(folds.max()) + 1):
            held = fold_of == fold
            if held.any() and not held.all():
                head, _ = linear.fit(cells.select(~held), ridge)
                scores[held] = linear.score(head, cells.select(held))
        loss = float(cells.weight @ (np.logaddexp(0, scores) - cells.y * scores))
        if best is None or loss < best[0]:
            best = (loss, ridge, scores)
    if best is None:
        raise DatasetError("ridges: got none, expected at least one")
    head, levels = linear.fit(cells, best[1])
    # The first kind of group is the data set: no request served comes from one.
    return head, best[2], levels[cells.nuisance.index[:, 1:]].sum(axis=1)


def text_components(embedding: Vectors, n_components: int) -> Floats:
    """Principal directions of the texts' vectors, shape (e, <= n_components)."""
    centred = np.asarray(embedding, np.float64) - embedding.mean(axis=0, dtype=np.float64)
    if not centred.any():
        return np.zeros((embedding.shape[1], 0))
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    kept = directions[:n_components].T
    # The sign of a direction is arbitrary: fix it, so that equal data give equal trees.
    return np.asarray(kept * np.sign(kept[np.abs(kept).argmax(axis=0), range(kept.shape[1])]))


def raw_log_odds(joint: JointPredictor, rounds: Rounds, cells: Cells) -> Floats:
    """Log-odds before the calibration of cells of rounds that the predictor was not fitted on."""
    p = joint.predict(
        rounds.features,
        rounds.embedding,
        names=rounds.models,
        descriptors=descriptor_table(rounds.models),
    ).p_adequate[cells.context, cells.model]
    p = np.clip(p, _LEAST_P, 1 - _LEAST_P)
    return joint.calibration.raw_of(np.log(p) - np.log1p(-p))


def recalibrated(raw: Floats, cells: Cells, params: TrainingParams) -> Calibration:
    """The calibration on cells that no other part was fitted on."""
    if len(cells.y) < 2:
        raise DatasetError("calibration: got fewer than 2 observed outcomes, expected more")
    return LogitCalibrator(params.calibration).fit(raw, cells.y, cells.weight).calibration_
