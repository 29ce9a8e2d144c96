"""The report of replayed sessions: what it holds, how it is written, how it is shown."""

from collections.abc import Mapping
from math import isnan
from pathlib import Path

import msgspec
from msgspec import Struct

from router_training.intervals import Interval
from router_training.report import number, spread, table

_MAX_MODELS = 3


class PolicyFigures(Struct, frozen=True, kw_only=True):
    """One policy over all sessions; money in US dollars, summed, with intervals over sessions.

    `bill_usd` includes what the router's decisions cost where it decides. `total_usd` adds the
    expected cost of failing. `cached_share` is that of all input tokens, `p_adequate` the mean
    over calls, `adequate_share` that of calls at or above the threshold. `shares` are those of
    the calls by model.
    """

    name: str
    bill_usd: Interval
    total_usd: Interval
    p_adequate: Interval
    cached_share: Interval
    adequate_share: float
    n_switches: int
    n_switches_in_tool_loop: int
    n_unsafe_switches: int
    shares: Mapping[str, float]


class Difference(Struct, frozen=True, kw_only=True):
    """What the router's policy costs more than another, paired by session; shares of the other."""

    of: str
    against: str
    bill_usd: Interval
    bill_share: Interval
    total_usd: Interval
    total_share: Interval
    p_adequate: Interval


class Terms(Struct, frozen=True, kw_only=True):
    """What the figures rest on."""

    strengths: str
    min_adequacy: float | None
    failure_cost_usd: float
    router_cost_usd: float
    n_resamples: int
    seed: int
    are_tool_results_locked: bool

    @property
    def compared(self) -> str:
        """What policies are compared by: the bill under a threshold, else the total cost."""
        return "total cost" if self.min_adequacy is None else "bill"


class Goal(Struct, frozen=True, kw_only=True):
    """The router's policy beside the best of `rivals`, by what policies are compared by."""

    of: str
    rivals: tuple[str, ...]
    best: str
    share: Interval
    n_unsafe_switches: int


class SessionReplayReport(Struct, frozen=True, kw_only=True):
    """Policies over recorded sessions."""

    data: str
    n_sessions: int
    n_sessions_in_data: int
    n_calls: int
    models: tuple[str, ...]
    terms: Terms
    policies: tuple[PolicyFigures, ...]
    differences: tuple[Difference, ...]
    goals: tuple[Goal, ...]
    notes: tuple[str, ...]

    def policy(self, name: str) -> PolicyFigures:
        """The figures of the policy with this name."""
        return next(figures for figures in self.policies if figures.name == name)


def write_json(report: SessionReplayReport, path: Path) -> None:
    """Write a report as indented JSON, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def render(report: SessionReplayReport) -> str:
    """The report as plain text: sizes, policies, differences, goals, notes."""
    parts = [_title(report), _policies(report), _differences(report), _goals(report)]
    if report.notes:
        parts.append("\n".join(f"note: {note}" for note in report.notes))
    return "\n\n".join(parts)


def _title(report: SessionReplayReport) -> str:
    terms = report.terms
    rule = (
        f"least cost + (1 - p) x {terms.failure_cost_usd:g} USD"
        if terms.min_adequacy is None
        else f"cheapest model with p >= {terms.min_adequacy:g}"
    )
    locks = "; results of tools are tied to who called" if terms.are_tool_results_locked else ""
    return (
        f"{report.data}: {report.n_sessions} of {report.n_sessions_in_data} sessions, "
        f"{report.n_calls} calls, {len(report.models)} models, {terms.strengths} strengths\n"
        f"{rule}{locks}; sums in USD with 95% intervals from {terms.n_resamples} resamples of "
        f"sessions; the router pays {terms.router_cost_usd:.1e} USD a decision"
    )


def _policies(report: SessionReplayReport) -> str:
    header = ["policy", "bill", "cached", "switches", "in tool loop", "unsafe", "mean p"]
    header += ["adequate", "total cost", "models"]
    rows = [
        [
            row.name,
            spread(row.bill_usd, digits=4),
            f"{row.cached_share.estimate:.1%}",
            str(row.n_switches),
            str(row.n_switches_in_tool_loop),
            str(row.n_unsafe_switches),
            number(row.p_adequate.estimate),
            f"{row.adequate_share:.1%}",
            spread(row.total_usd, digits=3),
            _models(row.shares),
        ]
        for row in report.policies
    ]
    return table(header, rows)


def _models(shares: Mapping[str, float]) -> str:
    chosen = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{model} {share:.0%}" for model, share in chosen[:_MAX_MODELS])
    return text if len(chosen) <= _MAX_MODELS else f"{text}, {len(chosen) - _MAX_MODELS} more"


def _differences(report: SessionReplayReport) -> str:
    header = ["difference", "bill", "bill, share", "total cost", "total cost, share", "mean p"]
    rows = [
        [
            f"{row.of} - {row.against}",
            spread(row.bill_usd, digits=4),
            _percent(row.bill_share),
            spread(row.total_usd),
            _percent(row.total_share),
            spread(row.p_adequate),
        ]
        for row in report.differences
    ]
    return table(header, rows)


def _goals(report: SessionReplayReport) -> str:
    return "\n".join(
        f"{goal.of}: {goal.n_unsafe_switches} unsafe switches; {report.terms.compared} "
        f"{_percent(goal.share)} against {goal.best}, the best of {len(goal.rivals)}"
        for goal in report.goals
    )


def _percent(interval: Interval) -> str:
    ends = (interval.low, interval.high)
    low, high = ("-" if isnan(end) else f"{100 * end:+.2f}" for end in ends)
    return f"{100 * interval.estimate:+.2f}% [{low}, {high}]"
