"""Pictures of a report: cost against quality, and reliability."""

from pathlib import Path

from router_training.report import Report


def write_plots(report: Report, folder: Path) -> tuple[Path, ...]:
    """PNG files of the cost-quality curve (where costs are known) and of the reliability."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_reliability(report, folder / "reliability.png")]
    if report.hull:
        paths.insert(0, _cost_quality(report, folder / "cost_quality.png"))
    return tuple(paths)


def _cost_quality(report: Report, path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        [row.cost.estimate for row in report.fixed],
        [row.score.estimate for row in report.fixed],
        "o",
        color="grey",
        label="fixed models",
    )
    axes.plot(
        [corner.cost for corner in report.hull],
        [corner.score for corner in report.hull],
        "--",
        color="grey",
        label="best mix of fixed models",
    )
    for points in report.curves:
        order = sorted(range(len(points.curve.costs)), key=lambda i: points.curve.costs[i])
        axes.plot(
            [points.curve.costs[i] for i in order],
            [points.curve.scores[i] for i in order],
            label=f"router, {points.curve.kind} swept",
        )
    router = report.router
    axes.plot([router.cost.estimate], [router.score.estimate], "k*", ms=12, label="operating point")
    if report.method.cost_unit == "usd":
        axes.set_xscale("log")
    axes.set_xlabel(f"mean cost per request ({report.method.cost_unit})")
    axes.set_ylabel("mean score")
    axes.set_title(f"{report.method.data}: {report.size.n} requests, held out")
    axes.legend()
    figure.savefig(path, dpi=120)
    return path


def _reliability(report: Report, path: Path) -> Path:
    from matplotlib.figure import Figure

    bins = report.calibration.bins
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color="grey")
    axes.plot([b.mean_p for b in bins], [b.mean_adequate for b in bins], "o-")
    axes.set_xlabel("predicted P(adequate)")
    axes.set_ylabel("share that was adequate")
    loss = report.calibration.calibration_loss.estimate
    axes.set_title(f"{report.method.data}: calibration error {loss:.3f}")
    figure.savefig(path, dpi=120)
    return path
