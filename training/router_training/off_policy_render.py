"""An off-policy report as text for the terminal."""

from collections.abc import Mapping, Sequence

from router_training.intervals import Interval
from router_training.off_policy_report import ADEQUATE, COST, UTILITY, Mix, OffPolicyReport, Slice
from router_training.ope import ESTIMATORS
from router_training.ope_intervals import Estimate
from router_training.report import number, spread, table

_DIGITS = {ADEQUATE: 3, COST: 6, UTILITY: 5}


def render(report: OffPolicyReport) -> str:
    """The report as plain text: overlap, estimates, baselines, savings, slices, notes."""
    parts = [_title(report), _estimates(report), _fixed(report), _savings(report)]
    for name, slices in (("tenant", report.by_tenant), ("step type", report.by_step_type)):
        if len(slices) > 1:
            parts.append(_slices(name, slices))
    if report.notes:
        parts.append("\n".join(f"note: {note}" for note in report.notes))
    return "\n\n".join(parts)


def render_skipped(skipped: Mapping[str, int]) -> str:
    """What was left out of the log, by reason; one line when it was nothing.

    >>> print(render_skipped({"decision: propensity missing": 3}))
    skipped: 3
      3  decision: propensity missing
    """
    lines = [f"skipped: {sum(skipped.values())}"]
    width = len(str(max(skipped.values(), default=0)))
    lines += [f"  {skipped[reason]:>{width}}  {reason}" for reason in sorted(skipped)]
    return "\n".join(lines)


def _title(report: OffPolicyReport) -> str:
    overlap = report.overlap
    return (
        f"{report.policy}: n {report.n} decisions in {report.n_groups} sessions\n"
        f"effective sample size {overlap.effective_sample_size:.0f}, "
        f"unsupported {overlap.unsupported:.2%} of the policy's probability, "
        f"greatest weight {number(overlap.max_weight, digits=1)} "
        f"(99%: {number(overlap.weight_p99, digits=1)}), "
        f"the largest 1% of weights are {overlap.tail_share:.0%} of their sum\n"
        f"headline {ESTIMATORS[report.headline].label}: {report.reason}"
    )


def _estimates(report: OffPolicyReport) -> str:
    names = list(report.outcomes)
    header = ["estimate [95%]", *names, "bias of adequate at most"]
    rows = []
    for name, estimator in ESTIMATORS.items():
        found = [_cell(report.outcomes[o].target[name], o) for o in names]
        bound = report.outcomes[ADEQUATE].target[name].bias_bound
        mark = "*" if name == report.headline else ""
        rows.append([f"{estimator.label}{mark}", *found, number(bound, digits=4)])
    rows.append(["the log", *(_cell(report.outcomes[o].logging, o) for o in names), ""])
    rows.append(
        ["difference*", *(_cell(report.outcomes[o].difference, o) for o in names), ""],
    )
    return table(header, rows)


def _fixed(report: OffPolicyReport) -> str:
    rows = []
    for fixed in report.fixed:
        if fixed.adequate is None or fixed.cost_usd is None:
            cells = ["-", "-", f"left out: {fixed.left_out}"]
        else:
            cells = [spread(fixed.adequate), spread(fixed.cost_usd, digits=6), ""]
        rows.append([f"always {fixed.model}", *cells])
    lines = [table(["fixed, off-policy", ADEQUATE, COST, ""], rows)]
    if report.mix is not None:
        lines.append(_mix(report.mix, report))
    return "\n".join(lines)


def _mix(mix: Mix, report: OffPolicyReport) -> str:
    first, second = mix.models
    text = first if first == second else f"{mix.share:.0%} {first}, else {second}"
    return (
        f"best fixed choice at its cost: {text}, adequate {number(mix.adequate)}; "
        f"minus that: {spread(report.minus_hull)}"
    )


def _savings(report: OffPolicyReport) -> str:
    rows = [
        [
            f"against {saving.against}",
            spread(saving.per_decision_usd, digits=6),
            spread(saving.total_usd, digits=2),
            spread(saving.adequate),
        ]
        for saving in report.savings
    ]
    text = table(["saving in USD", "a decision", f"all {report.n}", "change of adequate"], rows)
    return f"{text}\nnet of {report.terms.router_cost_usd:.1e} USD a decision for the router itself"


def _slices(name: str, slices: Sequence[Slice]) -> str:
    rows = [
        [
            part.name or "-",
            str(part.n),
            f"{part.effective_sample_size:.0f}",
            spread(part.saving_usd, digits=6),
            spread(part.adequate),
        ]
        for part in slices
    ]
    header = [f"by {name}", "n", "effective n", "saving a decision", "change of adequate"]
    return table(header, rows)


def _cell(estimate: Estimate, outcome: str) -> str:
    interval = Interval(estimate.value, estimate.low, estimate.high)
    return spread(interval, digits=_DIGITS[outcome])
