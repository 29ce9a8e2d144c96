"""Puts a report together from held-out predictions."""

import numpy as np

from router_data.rounds import Rounds
from router_training import baselines, estimates
from router_training.contract_report import contract_figures
from router_training.crossval import HeldOut, OperatingPoint
from router_training.curves import SWEEPS, SweepKind, curve, sweep
from router_training.intervals import Resampling, group_index, mean_interval
from router_training.matrix import Floats, OutcomeMatrix, pick
from router_training.params import TrainingParams
from router_training.reliability import calibration_of
from router_training.report import (
    CurvePoints,
    HullCorner,
    Method,
    Pair,
    Report,
    Router,
    Row,
    Size,
    Task,
)

_WIDE = 0.02
_FEW_GROUPS = 30
_NO_TEXT = "request: neither messages nor prompt"
_LUCK = "counts luck"


def assemble(
    rounds: Rounds,
    matrix: OutcomeMatrix,
    held_out: HeldOut,
    *,
    name: str,
    params: TrainingParams,
    group_by: str,
    held_out_by: str,
    notes: tuple[str, ...],
) -> Report:
    """The report of held-out predictions; `matrix` holds the contexts that policies choose on."""
    resampling = Resampling(n_resamples=params.n_resamples, seed=params.seed)
    routers = [router_of(matrix, point, resampling=resampling) for point in held_out.points]
    n_groups = group_index(matrix.group)[1]
    hull = baselines.static_hull(matrix) if matrix.has_cost else None
    return Report(
        method=Method(
            data=name,
            snapshot_hash=rounds.snapshot_hash,
            group_by=group_by,
            n_groups=n_groups,
            n_folds=len(held_out.points[0].policies),
            held_out=held_out_by,
            n_resamples=params.n_resamples,
            level=resampling.level,
            seed=params.seed,
            cost_unit=matrix.cost_unit,
        ),
        size=_size(rounds, matrix),
        baselines=baseline_rows(matrix, held_out, resampling=resampling),
        fixed=tuple(
            _row(f"always {model}", matrix, choice=i, resampling=resampling)
            for i, model in enumerate(matrix.models)
        ),
        hull=()
        if hull is None
        else tuple(
            HullCorner(model=m, cost=c, score=s)
            for m, c, s in zip(hull.models, hull.costs, hull.scores, strict=True)
        ),
        router=routers[0],
        router_above_hull=routers[1],
        headline_sweep=held_out.kind,
        curves=tuple(curve_points(matrix, held_out, kind, resampling) for kind in SWEEPS),
        calibration=calibration_of(rounds, held_out.p_all, resampling=resampling),
        pair=pair_of(matrix, held_out.p, resampling=resampling),
        contracts=contract_figures(matrix, held_out.p, held_out.cost, params=params),
        tasks=task_rows(matrix, held_out, resampling=resampling),
        notes=notes + _power_notes(routers[1], n_groups),
    )


def baseline_rows(
    matrix: OutcomeMatrix, held_out: HeldOut, *, resampling: Resampling
) -> tuple[Row, ...]:
    """Always-best, best fixed at the router's cost, cheapest, random, hull and the oracles."""
    best, cheapest = baselines.best_model(matrix), baselines.cheapest_model(matrix)
    rows = [_row("always-best", matrix, choice=best, resampling=resampling)]
    if matrix.has_cost:
        spent = float(pick(matrix.cost, held_out.points[0].choice).mean())
        within = baselines.best_model_within(matrix, spent)
        if within is not None:
            rows.append(
                _row("best fixed at equal cost", matrix, choice=within, resampling=resampling)
            )
        rows.append(_row("always-cheapest", matrix, choice=cheapest, resampling=resampling))
        mix = baselines.random_mix(matrix, first=cheapest, second=best, share=0.5)
        rows.append(_values_row("random half cheapest, half best", matrix, mix, resampling))
        rows.append(
            Row(
                name="static hull at equal cost",
                model="",
                score=estimates.hull_at(matrix, held_out.points[0].choice, resampling=resampling),
                cost=mean_interval(
                    pick(matrix.cost, held_out.points[0].choice),
                    matrix.group,
                    resampling=resampling,
                ),
                note="best mix of two fixed models",
            )
        )
    uniform = baselines.random_uniform(matrix)
    rows.append(_values_row("random uniform", matrix, uniform, resampling))
    for name, choice in (
        ("oracle, cheapest adequate", baselines.oracle_cheapest_adequate(matrix)),
        ("oracle, highest score", baselines.oracle_max_score(matrix)),
    ):
        values = pick(matrix.score, choice), pick(matrix.cost, choice)
        rows.append(_values_row(name, matrix, values, resampling, note=_LUCK))
    return tuple(rows)


def router_of(matrix: OutcomeMatrix, point: OperatingPoint, *, resampling: Resampling) -> Router:
    """The router at one operating point."""
    choice, best = point.choice, baselines.best_model(matrix)
    score, cost = pick(matrix.score, choice), pick(matrix.cost, choice)
    counts = np.bincount(choice, minlength=len(matrix.models)) / matrix.n
    return Router(
        goal=point.goal,
        score=mean_interval(score, matrix.group, resampling=resampling),
        cost=mean_interval(cost, matrix.group, resampling=resampling),
        policies=point.policies,
        shares={m: float(s) for m, s in zip(matrix.models, counts, strict=True) if s > 0},
        minus_hull=estimates.minus_hull(matrix, choice, resampling=resampling),
        minus_best=mean_interval(
            score - matrix.score[:, best], matrix.group, resampling=resampling
        ),
        cost_share_of_best=estimates.cost_share(matrix, choice, best=best, resampling=resampling),
    )


def curve_points(
    matrix: OutcomeMatrix, held_out: HeldOut, kind: SweepKind, resampling: Resampling
) -> CurvePoints:
    """One sweep of the router with the hull at the same costs."""
    swept = sweep(held_out.p, held_out.cost, kind=kind)
    points = curve(matrix, swept)
    aiq, aiq_hull, difference = estimates.aiqs(matrix, swept, resampling=resampling)
    hull = baselines.hull_score_at(matrix, points.costs) if matrix.has_cost else np.empty(0)
    return CurvePoints(
        curve=points,
        hull_scores=tuple(map(float, hull)),
        area_above_hull=estimates.area_above_hull(matrix, swept, resampling=resampling),
        cost_share_at_best_score=estimates.cost_share_at_best_score(
            matrix, swept, resampling=resampling
        ),
        aiq=aiq,
        aiq_hull=aiq_hull,
        aiq_minus_hull=difference,
    )


def pair_of(matrix: OutcomeMatrix, p: Floats, *, resampling: Resampling) -> Pair | None:
    """RouteLLM's metrics when there are exactly two models, None otherwise."""
    if len(matrix.models) != 2:
        return None
    strong = baselines.best_model(matrix)
    weak = 1 - strong
    apgr, cpt50, cpt80 = estimates.pair_metrics(
        matrix, p, weak=weak, strong=strong, resampling=resampling
    )
    return Pair(
        weak=matrix.models[weak],
        strong=matrix.models[strong],
        apgr=apgr,
        cpt50=cpt50,
        cpt80=cpt80,
    )


def task_rows(
    matrix: OutcomeMatrix, held_out: HeldOut, *, resampling: Resampling
) -> tuple[Task, ...]:
    """Every task, the largest first."""
    best, oracle = baselines.best_model(matrix), baselines.oracle_max_score(matrix)
    score, cost = (
        pick(matrix.score, held_out.points[0].choice),
        pick(matrix.cost, held_out.points[0].choice),
    )
    names, counts = np.unique(matrix.task, return_counts=True)
    rows = []
    for name in names[np.argsort(-counts, kind="stable")]:
        part = matrix.task == name
        group = matrix.group[part]
        difference = score[part] - matrix.score[part, best]
        rows.append(
            Task(
                task=str(name),
                n=int(part.sum()),
                best_score=float(matrix.score[part, best].mean()),
                best_cost=float(matrix.cost[part, best].mean()),
                router=mean_interval(score[part], group, resampling=resampling),
                router_cost=float(cost[part].mean()),
                minus_best=mean_interval(difference, group, resampling=resampling),
                oracle_score=float(pick(matrix.score, oracle)[part].mean()),
            )
        )
    return tuple(rows)


def _size(rounds: Rounds, matrix: OutcomeMatrix) -> Size:
    return Size(
        n=matrix.n,
        n_models=len(matrix.models),
        n_requests_in_data=rounds.n_contexts,
        n_models_in_data=len(rounds.models),
        n_without_text=int(rounds.skipped.get(_NO_TEXT, 0)),
        models_left_out=tuple(m for m in rounds.models if m not in matrix.models),
        problems=dict(rounds.skipped),
    )


def _row(name: str, matrix: OutcomeMatrix, *, choice: int, resampling: Resampling) -> Row:
    return Row(
        name=name,
        model=matrix.models[choice],
        score=mean_interval(matrix.score[:, choice], matrix.group, resampling=resampling),
        cost=mean_interval(matrix.cost[:, choice], matrix.group, resampling=resampling),
    )


def _values_row(
    name: str,
    matrix: OutcomeMatrix,
    values: tuple[Floats, Floats],
    resampling: Resampling,
    *,
    note: str = "",
) -> Row:
    score, cost = (mean_interval(v, matrix.group, resampling=resampling) for v in values)
    return Row(name=name, model="", score=score, cost=cost, note=note)


def _power_notes(router: Router, n_groups: int) -> tuple[str, ...]:
    notes = []
    width = router.minus_hull.half_width
    if np.isfinite(width) and width > _WIDE:
        notes.append(
            f"underpowered: differences from the hull smaller than about {width:.3f} can't be "
            f"told from zero with {n_groups} groups"
        )
    if n_groups < _FEW_GROUPS:
        notes.append(f"only {n_groups} groups: bootstrap intervals are too narrow below about 30")
    return tuple(notes)
