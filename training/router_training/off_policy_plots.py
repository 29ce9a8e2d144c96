"""Pictures of an off-policy report: cost against adequacy, and every estimator's interval."""

from pathlib import Path

from router_training.off_policy_report import ADEQUATE, COST, OffPolicyReport
from router_training.ope import ESTIMATORS


def write_plots(report: OffPolicyReport, folder: Path) -> tuple[Path, ...]:
    """PNG files of the policy beside the log and the fixed models, and of the estimates."""
    folder.mkdir(parents=True, exist_ok=True)
    return (
        _cost_adequacy(report, folder / "off_policy.png"),
        _estimates(report, folder / "estimates.png"),
    )


def _cost_adequacy(report: OffPolicyReport, path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    for fixed in report.fixed:
        if fixed.adequate is not None and fixed.cost_usd is not None:
            x, y = fixed.cost_usd.estimate, fixed.adequate.estimate
            axes.errorbar([x], [y], yerr=[fixed.adequate.half_width], fmt="o", color="grey")
            axes.annotate(fixed.model, (x, y), textcoords="offset points", xytext=(5, -10))
    corners = report.hull
    axes.plot(
        [corner.cost for corner in corners],
        [corner.score for corner in corners],
        "--",
        color="grey",
        label="best mix of fixed models",
    )
    for label, mark, cost, score in (
        (report.policy, "k*", report.headline_of(COST), report.headline_of(ADEQUATE)),
        ("the log", "C0s", report.outcomes[COST].logging, report.outcomes[ADEQUATE].logging),
    ):
        axes.errorbar([cost.value], [score.value], yerr=[score.half_width], fmt=mark, label=label)
    axes.set_xlabel("mean cost per decision (USD)")
    axes.set_ylabel("share adequate")
    axes.set_title(f"{report.n} logged decisions, 95% intervals")
    axes.legend()
    figure.savefig(path, dpi=120)
    return path


def _estimates(report: OffPolicyReport, path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    found = report.outcomes[ADEQUATE].target
    labels = [ESTIMATORS[name].label for name in found]
    for place, estimate in enumerate(found.values()):
        axes.plot([estimate.robust_low, estimate.robust_high], [place, place], color="lightgrey")
        axes.plot([estimate.low, estimate.high], [place, place], "C0", lw=3)
        axes.plot([estimate.value], [place], "ko")
    axes.axvline(report.outcomes[ADEQUATE].logging.value, color="grey", ls="--", label="the log")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlim(-0.05, 1.05)
    axes.set_xlabel("share adequate (blue: normal interval, grey: robust interval)")
    axes.legend()
    figure.savefig(path, dpi=120)
    return path
