"""What a report of savings holds, and how it reads.

Numbers that don't exist are null in JSON. `SCHEMA_VERSION` rises when a field changes its meaning
or goes away.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from router_training.intervals import Interval
from router_training.report import HullCorner, number, spread, table
from router_training.savings_estimate import Estimate
from router_training.savings_experiment import Arm, Experiment
from router_training.savings_fixed import References

SCHEMA_VERSION: Final = 1


class RouterCost(Struct, frozen=True, kw_only=True):
    """What a decision costs the one who runs the router, in US dollars.

    `mean_us` microseconds from a call's turn to its decision were measured over `n_measured`
    decisions; where there are none an assumption stands for it. `exploration_usd` is what
    exploration was expected to add to the bills of routed calls, which have it in them already.
    """

    usd_per_decision: float
    mean_us: float
    n_measured: int
    core_hour_usd: float
    exploration_usd: float


class Net(Struct, frozen=True, kw_only=True):
    """What the trial says in dollars, the router's own cost taken off.

    `saved_usd` on the sessions that were routed, `if_full_usd` had all sessions of the trial been,
    `per_30_days_usd` the same pace for 30 days; null where the trial is shorter than a day.
    `usd_per_lost_answer` is what was saved for each adequate answer fewer; null where the interval
    of the difference does not show that there are fewer, or adequacy was not observed.
    """

    per_session_usd: Interval
    per_call_usd: Interval
    saved_usd: Interval
    if_full_usd: Interval
    per_30_days_usd: Interval | None
    usd_per_lost_answer: float | None


class SavingsReport(Struct, frozen=True, kw_only=True):
    """Everything that the log says of savings; what is null is explained in `missing`.

    `arms` are all live calls in the time asked for, routed or not. The trial compares those that
    chance dealt out. `estimate` is a model's, `estimate_net_usd` its saving less the router's cost.
    """

    schema_version: int = SCHEMA_VERSION
    tenant: str | None
    began: str
    ended: str
    arms: tuple[Arm, ...]
    router: RouterCost
    experiment: Experiment | None
    net: Net | None
    references: References | None
    estimate: Estimate | None
    estimate_net_usd: Interval | None
    missing: dict[str, str]
    notes: tuple[str, ...]


def render(report: SavingsReport) -> str:
    """The report as plain text: what was paid, the trial, fixed models, the estimate, notes."""
    of = "" if report.tenant is None else f", tenant {report.tenant}"
    parts = [f"live calls from {report.began} to {report.ended}{of}", _arms(report.arms)]
    parts.append(_router(report.router))
    if report.experiment is not None and report.net is not None:
        parts.append(_trial(report.experiment, report.net))
    if report.references is not None:
        parts.append(_references(report.references))
    if report.estimate is not None and report.estimate_net_usd is not None:
        parts.append(_estimate(report.estimate, report.estimate_net_usd))
    parts += [f"no {name}: {why}" for name, why in report.missing.items()]
    if report.notes:
        parts.append("\n".join(f"note: {note}" for note in report.notes))
    return "\n\n".join(parts)


def _arms(arms: Sequence[Arm]) -> str:
    rows = [
        [
            arm.name,
            str(arm.n_sessions),
            str(arm.n_calls),
            number(arm.paid_usd, digits=4),
            number(arm.usd_per_session, digits=5),
            number(arm.usd_per_call, digits=6),
            number(arm.adequate),
            str(arm.n_observed),
            str(arm.n_unbilled),
        ]
        for arm in arms
    ]
    head = ["paid, USD", "sessions", "calls", "in all", "a session", "a call"]
    return table([*head, "adequate", "observed", "no bill"], rows)


def _router(router: RouterCost) -> str:
    measured = (
        f"{router.mean_us:.0f} us measured over {router.n_measured} decisions, as much again for "
        f"their rows, at {router.core_hour_usd:g} USD a core-hour"
        if router.n_measured
        else "assumed, for no decision says how long it took"
    )
    return (
        f"the router itself: {router.usd_per_decision:.2g} USD a decision ({measured}); "
        f"exploration is expected to have added {number(router.exploration_usd, digits=4)} USD to "
        "the bills"
    )


def _trial(trial: Experiment, net: Net) -> str:
    rows = [
        [name, spread(d.kept, digits=n), spread(d.routed, digits=n), spread(d.difference, digits=n)]
        for name, d, n in (
            ("USD a session", trial.usd_per_session, 5),
            ("USD a call", trial.usd_per_call, 6),
            ("calls a session", trial.calls_per_session, 2),
            ("adequate", trial.adequate, 3),
        )
        if d is not None
    ]
    shares = ", ".join(f"{share:g}" for share in trial.shares)
    lines = [
        f"measured: sessions dealt out by chance (share {shares}), "
        f"{trial.arms[0].n_sessions} routed, {trial.arms[1].n_sessions} not",
        table(["mean [95%]", "not routed", "routed", "difference"], rows),
        f"saved of a session's cost: {spread(trial.saving_share)}",
        f"net of the router: {spread(net.per_session_usd, digits=5)} USD a session, "
        f"{spread(net.per_call_usd, digits=6)} a call; saved {spread(net.saved_usd, digits=4)}, "
        f"if all had been routed {spread(net.if_full_usd, digits=4)}",
    ]
    if net.per_30_days_usd is not None:
        lines.append(
            f"at this pace, all routed: {spread(net.per_30_days_usd, digits=2)} in 30 days"
        )
    if trial.adequate is not None:
        lines.append(_adequacy(trial.adequate.difference, net.usd_per_lost_answer))
    return "\n".join(lines)


def _adequacy(difference: Interval, usd_per_lost_answer: float | None) -> str:
    if usd_per_lost_answer is not None:
        return (
            f"{number(usd_per_lost_answer, digits=4)} USD were saved for each adequate answer "
            "fewer: compare with what a failed step costs you"
        )
    if difference.low > 0.0:
        return f"answers were adequate more often: {spread(difference)}"
    return (
        f"no difference in adequacy is shown: {spread(difference)} includes 0; a loss of up to "
        f"{number(max(0.0, -difference.low))} is not ruled out"
    )


def _references(found: References) -> str:
    rows = [
        [f"always {f.model}", spread(f.usd_per_call, digits=6), spread(f.adequate), f.how]
        for f in found.fixed
    ]
    lines = [table(["fixed models", "USD a call", "adequate", ""], rows)] if rows else []
    lines.append(_mix(found))
    by_reason: dict[str, list[str]] = {}
    for model, why in found.left_out.items():
        by_reason.setdefault(why, []).append(model)
    lines += [f"left out: {', '.join(models)}: {why}" for why, models in by_reason.items()]
    return "\n".join(lines)


def _mix(found: References) -> str:
    mix = found.mix
    if mix is None:
        return "no fixed model that the log can tell of costs as little as the router"
    names = mix.models[0]
    if mix.models[0] != mix.models[1]:
        names = f"{mix.share:.0%} {mix.models[0]}, else {mix.models[1]}"
    gain = "" if found.minus_mix is None else f"; the router minus it {found.minus_mix:+.3f}"
    return f"best fixed mix of the router's cost: {names}, adequate {number(mix.adequate)}{gain}"


def _estimate(found: Estimate, net: Interval) -> str:
    lines = [
        f"ESTIMATE from {found.n_calls} calls of {found.n_sessions} sessions that kept their model "
        f"(a model of costs, corrected by the bills; not measured)",
        f"paid {number(found.paid_usd, digits=4)} USD, the router's choices "
        f"{spread(found.estimated_usd, digits=4)}; {found.changed:.0%} of calls would have gone "
        "elsewhere",
        f"saving {spread(found.saving_usd, digits=4)} USD, {spread(found.saving_share)} of what "
        f"was paid; net of the router {spread(net, digits=4)}",
        f"predicted P(adequate): {number(found.p_adequate)} by the router's choices, "
        f"{number(found.p_adequate_kept)} as it was (observed: {number(found.adequate_kept)})",
        f"before the correction the cost model said {number(found.walked_per_paid, digits=2)} "
        "times what was paid",
    ]
    if found.fixed:
        rows = [
            [f"always {f.model}", spread(f.usd_per_call, digits=6), number(f.p_adequate)]
            for f in found.fixed
        ]
        lines.append(table(["estimated", "USD a call", "predicted P"], rows))
        gain = "" if found.minus_hull is None else f"; the router minus it {found.minus_hull:+.3f}"
        lines.append(f"static hull: {_corners(found.hull)}{gain}")
    if found.uncorrected:
        lines.append(
            f"too few calls that kept their own model used {', '.join(found.uncorrected)}: list "
            "prices and the ratio of all such calls hold (bills of routed calls are not used here)"
        )
    return "\n".join(lines)


def _corners(hull: Sequence[HullCorner]) -> str:
    return ", ".join(f"{c.model} ({c.cost:.6f} USD, P {c.score:.3f})" for c in hull)
