"""The comparison of routers trained on partial and on full feedback, as figures and as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from router_data.rounds import Rounds
from router_model.errors import DatasetError
from router_training.crossval import Fit
from router_training.curves import Sweep
from router_training.envelope import envelope_score_at, upper_envelope
from router_training.intervals import Interval, Resampling, grouped_interval
from router_training.matrix import Floats, OutcomeMatrix, matrix_of, pick, with_call_cost
from router_training.metrics import auc_score
from router_training.params import TrainingParams
from router_training.partial import Arm, OnStep, Study, Trained, train_all


class Result(Struct, frozen=True, kw_only=True):
    """One way of logging: means over the seeds, with intervals over contexts.

    `area` is that between the curve and the static hull, `kept` its share of what full feedback
    gives (NaN where that is no gain; resamples without one are left out), `above_hull` the score
    above the hull at the operating point found in training.
    `seed_areas` has the area of each seed: how much the luck of the draw matters.
    """

    policy: str
    rounds: int
    n_logged: int
    n_pairs: int
    share_seen: float
    auc_score: float
    area: Interval
    kept: Interval
    above_hull: Interval
    seed_areas: tuple[float, ...]


class PartialReport(Struct, frozen=True, kw_only=True):
    """What is lost by seeing one outcome a request; the first result saw all of them."""

    data: str
    n_contexts: int
    models: tuple[str, ...]
    cost_unit: str
    study: Study
    weighting: str
    results: tuple[Result, ...]


def compare(
    rounds: Rounds,
    *,
    name: str,
    study: Study,
    params: TrainingParams,
    fit: Fit,
    on_step: OnStep = lambda step: None,
) -> PartialReport:
    """The report on the complete part of the rounds' outcome matrix."""
    part, matrix = complete(rounds)
    trained = train_all(part, matrix, study, params=params, fit=fit, on_step=on_step)
    return PartialReport(
        data=name,
        n_contexts=matrix.n,
        models=matrix.models,
        cost_unit=matrix.cost_unit,
        study=study,
        weighting=params.weighting,
        results=results_of(matrix, trained, params=params),
    )


def complete(rounds: Rounds) -> tuple[Rounds, OutcomeMatrix]:
    """The rounds of a matrix without a gap, and that matrix."""
    first, _ = matrix_of(rounds)
    mask = np.zeros(rounds.n_contexts, dtype=bool)
    mask[first.context] = True
    part = rounds.select(mask).select_models(first.models)
    matrix, _ = matrix_of(part)
    if not matrix.has_cost and len(matrix.models) == 2:
        matrix = with_call_cost(matrix)
    if not matrix.has_cost:
        raise DatasetError("cost_usd: no costs, expected them for every model, or two models")
    return part, matrix


def some_models(rounds: Rounds, n_models: int | None) -> Rounds:
    """The rounds of at most this many models, spread evenly from the cheapest to the dearest."""
    if n_models is None or n_models >= len(rounds.models):
        return rounds
    if n_models < 2:
        raise DatasetError(f"models: got {n_models}, expected at least 2")
    _, matrix = complete(rounds)
    order = np.argsort(matrix.cost.mean(axis=0), kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, n_models).round().astype(int))
    return rounds.select_models([matrix.models[order[place]] for place in places])


def results_of(
    matrix: OutcomeMatrix, trained: Mapping[Arm, Sequence[Trained]], *, params: TrainingParams
) -> tuple[Result, ...]:
    """Figures of every way of logging, beside the one that saw everything."""
    resampling = Resampling(n_resamples=params.n_resamples, seed=params.seed)
    full = trained["full", 1]
    found = []
    for (policy, n_rounds), seeds in trained.items():
        areas = [_areas(matrix, [one], resampling, against=None).estimate for one in seeds]
        found.append(
            Result(
                policy=policy,
                rounds=n_rounds,
                n_logged=seeds[0].n_logged,
                n_pairs=round(np.mean([one.n_pairs for one in seeds])),
                share_seen=float(np.mean([one.n_pairs / one.n_possible for one in seeds])),
                auc_score=float(np.mean([_auc(matrix, one) for one in seeds])),
                area=_areas(matrix, seeds, resampling, against=None),
                kept=_areas(matrix, seeds, resampling, against=full),
                above_hull=_above_hull(matrix, seeds, resampling),
                seed_areas=tuple(areas),
            )
        )
    return tuple(found)


def _auc(matrix: OutcomeMatrix, one: Trained) -> float:
    return float(auc_score((matrix.score >= 0.5).astype(float).ravel(), one.p.ravel()))


def _areas(
    matrix: OutcomeMatrix,
    seeds: Sequence[Trained],
    resampling: Resampling,
    *,
    against: Sequence[Trained] | None,
) -> Interval:
    """Mean area above the hull over seeds, or its share of that of `against`."""
    m, n_points = len(matrix.models), len(seeds[0].swept.thresholds)
    columns = [_fixed(matrix), *(_curve(matrix, one.swept) for one in (*seeds, *(against or ())))]

    def statistic(sums: Floats) -> Floats:
        means = sums[:, 1:] / sums[:, :1]
        areas = np.array([_areas_of(row, m, n_points) for row in means])
        mean = areas[:, : len(seeds)].mean(axis=1)
        if against is None:
            return np.asarray(mean)
        whole = areas[:, len(seeds) :].mean(axis=1)
        return np.asarray(np.divide(mean, whole, out=np.full(len(mean), np.nan), where=whole > 0))

    return grouped_interval(np.hstack(columns), matrix.group, statistic, resampling=resampling)


def _areas_of(means: Floats, m: int, n_points: int) -> Floats:
    """Area of every curve in a row of mean scores and costs."""
    corner_costs, corner_scores = upper_envelope(means[m : 2 * m], means[:m])
    width = float(np.ptp(means[m : 2 * m]))
    curves = means[2 * m :].reshape(-1, 2, n_points)
    areas = []
    for score, cost in curves:
        order = np.argsort(cost, kind="stable")
        hull = envelope_score_at(
            cost[order], corner_costs=corner_costs, corner_scores=corner_scores
        )
        areas.append(np.trapezoid(score[order] - hull, cost[order]) / width)
    return np.array(areas)


def _above_hull(
    matrix: OutcomeMatrix, seeds: Sequence[Trained], resampling: Resampling
) -> Interval:
    """Mean over seeds and folds of the score minus the hull's at the same cost.

    Each fold has a point of its own; a mix of distant points lies below a bent hull.
    """
    m = len(matrix.models)
    blocks = []
    for one in seeds:
        at = [pick(matrix.score, one.choice), pick(matrix.cost, one.choice)]
        columns = np.hstack([_fixed(matrix), np.column_stack(at)])
        folds = range(int(one.fold.max()) + 1)
        blocks += [columns * (one.fold == fold)[:, None] for fold in folds]

    def statistic(sums: Floats) -> Floats:
        parts = sums.reshape(len(sums), len(blocks), -1)
        # A resample of few groups may miss a fold.
        means = parts[:, :, 1:] / np.maximum(parts[:, :, :1], 1.0)
        drawn = parts[:, :, 0] > 0
        return np.array(
            [
                np.mean([_above(row, m) for row in rows[known]])
                for rows, known in zip(means, drawn, strict=True)
            ]
        )

    return grouped_interval(np.hstack(blocks), matrix.group, statistic, resampling=resampling)


def _above(means: Floats, m: int) -> float:
    corner_costs, corner_scores = upper_envelope(means[m : 2 * m], means[:m])
    score, cost = means[2 * m :]
    hull = envelope_score_at(cost, corner_costs=corner_costs, corner_scores=corner_scores)
    return float(score - hull)


def _fixed(matrix: OutcomeMatrix) -> Floats:
    return np.hstack([np.ones((matrix.n, 1)), matrix.score, matrix.cost])


def _curve(matrix: OutcomeMatrix, swept: Sweep) -> Floats:
    return np.hstack([pick(matrix.score, swept.choices), pick(matrix.cost, swept.choices)])


def render(report: PartialReport) -> str:
    """The report as a Markdown table."""
    lines = [
        f"{report.data}: {report.n_contexts} requests, {len(report.models)} models, "
        f"{report.study.n_seeds} seeds x {report.study.n_folds} grouped folds, weighting "
        f"{report.weighting}",
        "",
        "| log | rounds | outcomes | distinct pairs | AUC | area above hull | kept of full "
        "feedback | above hull at its operating point |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {r.policy} | {r.rounds} | {r.n_logged} | {r.n_pairs} ({r.share_seen:.0%}) | "
        f"{r.auc_score:.3f} | {_three(r.area, '+.4f')} | {_three(r.kept, '.0%')} | "
        f"{_three(r.above_hull, '+.4f')} |"
        for r in report.results
    ]
    return "\n".join(lines)


def _three(interval: Interval, form: str) -> str:
    if not np.isfinite(interval.estimate):
        return "no gain to keep"
    return f"{interval.estimate:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def write_report(report: PartialReport, path: Path) -> None:
    """Write the report as JSON; NaN becomes null."""
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1)
    path.write_bytes(encoded + b"\n")
