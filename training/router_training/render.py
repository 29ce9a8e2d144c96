"""A report as text for the terminal."""

from router_training.report import Report, Row, number, spread, table

_MAX_TASKS = 30
_GOALS = {"best_quality": "always-best's score, cheaper", "above_hull": "most above the hull"}


def render(report: Report) -> str:
    """The report as plain text: sizes, policies, router, contracts, calibration, tasks, notes."""
    parts = [_title(report), _policies(report), _router(report), _curves(report)]
    if report.pair is not None:
        parts.append(_pair(report))
    if report.contracts:
        parts.append(_contracts(report))
    parts.append(_calibration(report))
    if len(report.tasks) > 1:
        parts.append(_tasks(report))
    if report.notes:
        parts.append("\n".join(f"note: {note}" for note in report.notes))
    return "\n\n".join(parts)


def _title(report: Report) -> str:
    size, method = report.size, report.method
    return (
        f"{method.data}: n {size.n} of {size.n_requests_in_data} requests, "
        f"{size.n_models} of {size.n_models_in_data} models, {method.n_groups} groups by "
        f"{method.group_by}\n{method.held_out}; {method.level:.0%} intervals from "
        f"{method.n_resamples} resamples of groups; cost in {method.cost_unit} per request"
    )


def _policies(report: Report) -> str:
    router = Row(
        name="router",
        model="",
        score=report.router.score,
        cost=report.router.cost,
    )
    rows = [
        [row.name, spread(row.score), spread(row.cost, digits=4), row.model or row.note]
        for row in (*report.baselines, router)
    ]
    corners = ", ".join(
        f"{corner.model} ({number(corner.cost, digits=4)}, {number(corner.score)})"
        for corner in report.hull
    )
    text = table(["policy", "score", "cost", "model"], rows)
    return f"{text}\nhull corners (cost, score): {corners}" if corners else text


def _router(report: Report) -> str:
    rows = []
    for router in (report.router, report.router_above_hull):
        chosen = sorted(router.shares.items(), key=lambda item: -item[1])[:3]
        rows.append(
            [
                _GOALS[router.goal],
                spread(router.score),
                spread(router.minus_hull),
                spread(router.minus_best),
                spread(router.cost_share_of_best),
                ", ".join(f"{model} {share:.0%}" for model, share in chosen),
            ]
        )
    header = ["router aims at", "score", "minus hull", "minus best", "cost / best's", "chooses"]
    return table(header, rows)


def _curves(report: Report) -> str:
    rows = [
        [
            points.curve.kind + (" *" if points.curve.kind == report.headline_sweep else ""),
            spread(points.area_above_hull),
            spread(points.cost_share_at_best_score),
            spread(points.aiq),
            spread(points.aiq_hull),
            spread(points.aiq_minus_hull),
        ]
        for points in report.curves
    ]
    header = ["curve", "area above hull", "cost / best's at its score", "AIQ", "hull's AIQ", "diff"]
    return (
        table(header, rows)
        + "\n* preferred on the training folds; all but the area read the envelope"
    )


def _pair(report: Report) -> str:
    if report.pair is None:
        return ""
    pair = report.pair
    return f"weak {pair.weak}, strong {pair.strong}\n" + table(
        ["APGR", "CPT(50%)", "CPT(80%)"],
        [[spread(pair.apgr), spread(pair.cpt50), spread(pair.cpt80)]],
    )


def _contracts(report: Report) -> str:
    rows = [
        [
            f"{found.alpha:g}",
            "-" if found.min_adequacy is None else number(found.min_adequacy),
            f"{found.certified:.0%}",
            f"{found.downgraded:.1%}",
            number(found.inadequate),
            number(found.cost, digits=4),
            number(found.cost_share_of_highest_p),
            number(found.cost_share_of_best),
            number(found.score),
            number(found.fixed_score),
            number(found.hull_score),
            number(found.violations),
        ]
        for found in report.contracts
    ]
    header = ["contract alpha", "threshold", "certified", "downgraded", "inadequate"]
    header += ["cost", "/ highest p's", "/ best's", "score", "best fixed", "hull", "violations"]
    confidence = 1 - report.contracts[0].delta
    return (
        table(header, rows)
        + f"\nP(inadequate | downgraded) <= alpha with confidence {confidence:g}; the threshold is "
        "certified on all held-out requests,\nthe rest comes from random halves: one certifies "
        "(none: always the highest p), the other is routed; violations:\nshare of bootstrap "
        "samples that certify a threshold which breaks the promise"
    )


def _calibration(report: Report) -> str:
    found = report.calibration
    header = ["cells", "ECE", "ECE equal width", "Brier", "AUC", "AUC within model"]
    cells = [
        str(found.n_cells),
        spread(found.calibration_loss),
        number(found.calibration_loss_equal_width),
        spread(found.brier_loss),
        spread(found.auc),
        number(found.auc_within_model),
    ]
    return table(header, [cells])


def _tasks(report: Report) -> str:
    rows = [
        [
            task.task,
            str(task.n),
            number(task.best_score),
            spread(task.router),
            spread(task.minus_best),
            number(task.best_cost, digits=4),
            number(task.router_cost, digits=4),
            number(task.oracle_score),
        ]
        for task in report.tasks[:_MAX_TASKS]
    ]
    header = ["task", "n", "best", "router", "router - best", "best $", "router $", "oracle (luck)"]
    text = table(header, rows)
    if len(report.tasks) > _MAX_TASKS:
        text += f"\n... and {len(report.tasks) - _MAX_TASKS} smaller tasks, all in the JSON report"
    return text
