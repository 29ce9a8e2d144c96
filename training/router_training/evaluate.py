"""Evaluation of a router on a folder of outcomes, on contexts it was not fitted on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec import Struct

from router_data.dataset import rounds_from_tables
from router_data.rounds import Rounds
from router_model.encoder import StaticEncoder
from router_model.errors import DatasetError
from router_training.assemble import assemble
from router_training.crossval import (
    Fit,
    Predictor,
    cross_validate,
    n_steps,
    with_predictor,
)
from router_training.matrix import Coverage, Ints, OutcomeMatrix, matrix_of, with_call_cost
from router_training.params import TrainingParams
from router_training.report import Report
from router_training.splits import grouped_folds

NO_TEXT = "request: neither messages nor prompt"

Progress = Callable[[str, int, int], None]


class Options(Struct, frozen=True, kw_only=True):
    """What an evaluation is asked for, beside the parameters of training."""

    group_by: str | None = None
    max_contexts: int | None = None
    min_task_contexts: int = 1


def evaluate_folder(
    data: Path,
    *,
    params: TrainingParams,
    options: Options | None = None,
    artifact: Path | None = None,
    fit: Fit | None = None,
    progress: Progress | None = None,
) -> Report:
    """The report of a folder of interchange tables.

    Without `artifact`, a predictor is fitted on each training fold; with it, that predictor is
    used as it is. Raises DatasetError when the folder can't be evaluated.
    """
    chosen = options or Options()
    predictor = None if artifact is None else load_predictor(artifact)
    encoder = (
        StaticEncoder.from_sentence_transformer(params.encoder, dimension=params.embedding_dim)
        if artifact is None
        else StaticEncoder.load(artifact)
    )
    rounds = rounds_from_tables(
        data,
        encoder=encoder,
        group_by=chosen.group_by,
        rule=params.adequacy,
        progress=progress is not None,
    )
    return evaluate_rounds(
        rounds,
        name=data.resolve().name,
        params=params,
        options=chosen,
        predictor=predictor,
        fit=fit,
        progress=progress,
    )


def evaluate_rounds(
    rounds: Rounds,
    *,
    name: str,
    params: TrainingParams,
    options: Options | None = None,
    predictor: Predictor | None = None,
    fit: Fit | None = None,
    progress: Progress | None = None,
) -> Report:
    """The report of rounds with every model's outcome, cross-validated or of one predictor."""
    chosen = options or Options()
    used = sampled(rounds, chosen.max_contexts, seed=params.seed)
    matrix, coverage = matrix_of(used)
    if not matrix.has_cost and len(matrix.models) == 2:
        matrix = with_call_cost(matrix)
    folds = grouped_folds(used.group.astype(str), n_folds=params.n_folds, seed=params.seed)
    if predictor is None:
        total, done = n_steps(folds, params), 0

        def on_step(step: str) -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(step, done, total)

        held_out = cross_validate(
            used, matrix, folds=folds, params=params, fit=fit or default_fit(), on_step=on_step
        )
    else:
        held_out = with_predictor(predictor, used, matrix, folds=folds)
    return assemble(
        used,
        matrix,
        held_out,
        name=name,
        params=params,
        group_by=chosen.group_by or "content",
        held_out_by=_held_out_by(folds, params, is_fitted=predictor is None),
        notes=notes_on(rounds, matrix, coverage, is_fitted=predictor is None),
    )


def sampled(rounds: Rounds, max_contexts: int | None, *, seed: int) -> Rounds:
    """At most `max_contexts` of the contexts, drawn without replacement."""
    if max_contexts is None or rounds.n_contexts <= max_contexts:
        return rounds
    if max_contexts < 2:
        raise DatasetError(f"max_contexts: got {max_contexts}, expected at least 2")
    chosen = np.random.default_rng(seed).permutation(rounds.n_contexts)[:max_contexts]
    mask = np.zeros(rounds.n_contexts, dtype=bool)
    mask[chosen] = True
    return rounds.select(mask)


def notes_on(
    rounds: Rounds, matrix: OutcomeMatrix, coverage: Coverage, *, is_fitted: bool
) -> tuple[str, ...]:
    """What a reader of the numbers has to know about the data."""
    notes = []
    if matrix.cost_unit == "strong_calls":
        notes.append(
            "no costs in this data, so results in dollars are impossible; cost is the share of "
            "calls to the strong model"
        )
    elif not matrix.has_cost:
        notes.append(
            "no costs in this data, so cost results are impossible; only quality is reported"
        )
    if coverage.models_left_out:
        notes.append(
            f"{len(coverage.models_left_out)} models lack a score or a cost on too many requests "
            "and are no choice here; they count in the calibration"
        )
    if coverage.n_contexts_left_out:
        notes.append(
            f"{coverage.n_contexts_left_out} requests lack a score or a cost of some model and "
            "are left out of the policies"
        )
    if without_text := rounds.skipped.get(NO_TEXT, 0):
        notes.append(
            f"{without_text} requests have neither messages nor a prompt; nothing but the model "
            "is known about them"
        )
    if not is_fitted:
        notes.append("a given artifact was evaluated; it may have been trained on this data")
    notes.append("the oracle sees the outcomes and counts luck; no router can reach it")
    return tuple(notes)


def default_fit() -> Fit:
    """The predictor that is trained and served."""
    from router_training.fit import fit_predictor

    return fit_predictor


def load_predictor(artifact: Path) -> Predictor:
    """The predictor of an artifact folder."""
    from router_training.artifacts import load_artifact

    return load_artifact(artifact)


def _held_out_by(folds: Ints, params: TrainingParams, *, is_fitted: bool) -> str:
    n_folds = int(folds.max()) + 1
    how = "one group left out at a time" if params.n_folds == 0 else f"{n_folds} grouped folds"
    if is_fitted:
        return f"cross-validated, {how}; operating point chosen inside each training part"
    return f"given artifact; operating point of each fold chosen on the others, {how}"
