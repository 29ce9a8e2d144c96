"""Says what was learned from an import, and what can be said of savings."""

from datetime import UTC, datetime
from statistics import median

from router_data.imports.learned import Learned, ModelSums

_POLICY = '      policy.toml says which policy, as in: policy = "cheapest_adequate"'


def learned_lines(learned: Learned, *, state: str, compared: list[str]) -> list[str]:
    """What was learned, as lines of text; `compared` are models to price beside those seen."""
    if not learned.n_calls:
        return ["nothing learned: no call in this file"]
    return [
        *_head(learned),
        "",
        *_models(learned, compared),
        "",
        *_savings(learned, state=state, compared=compared),
    ]


def _head(learned: Learned) -> list[str]:
    n, lengths = learned.n_calls, sorted(learned.sessions.values())
    days = [
        datetime.fromtimestamp((ms or 0) / 1000, tz=UTC).date().isoformat()
        for ms in (learned.first_ms, learned.last_ms)
    ]
    lines = [
        f"learned from {n} calls, {days[0]} to {days[1]}:",
        f"  sessions: {len(lengths)}, of {median(lengths):g} calls (median), at most {lengths[-1]}",
        f"  spend: {_usd(learned)} for {_share(learned.n_with_cost, n)} of calls",
    ]
    if learned.n_with_request:
        kinds = ", ".join(f"{kind} {k}" for kind, k in learned.side_calls.most_common())
        side = f"  side calls: {_share(learned.n_side_calls, learned.n_with_request)}"
        cost = f", {_share(learned.side_cost_usd, learned.cost_usd)} of the spend"
        lines.append(side + (f" ({kinds}){cost}" if kinds else ""))
    else:
        lines.append("  side calls: unknown, no call came with its request")
    cached = learned.cached_share
    told = "unknown" if cached is None else f"{100 * cached:.1f}%"
    lines += [
        f"  input from a cache: {told}, usage known for {_share(learned.n_with_usage, n)} of calls",
        f"  errors: {_share(learned.n_errors, n)}",
        _evidence(learned),
    ]
    return lines


def _usd(learned: Learned) -> str:
    return (
        f"{learned.cost_usd:.4f} USD, known" if learned.n_with_cost else "unknown, a cost is known"
    )


def _evidence(learned: Learned) -> str:
    names = ", ".join(f"{name} {k}" for name, k in learned.signals.most_common(8))
    checked = f"tool calls checked {learned.n_calls_checked}, invalid {learned.n_calls_invalid}"
    return (
        f"  adequacy known: {_share(learned.n_judged, learned.n_calls)} of the calls "
        f"(verdict or reward {learned.n_explicit}; {checked}{'; ' + names if names else ''})"
    )


def _models(learned: Learned, compared: list[str]) -> list[str]:
    names = ("calls", "USD", "cached", "adequate", "all at it, USD")
    widths = (8, 12, 7, 14, 15)
    columns = (f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
    head = f"  {'model':<40} {' '.join(columns)}"
    rows = sorted(learned.models.items(), key=lambda item: -item[1].cost_usd)[:20]
    added = [(name, ModelSums()) for name in compared if name not in learned.models]
    lines = [_model(name, sums, learned.what_if.always(name)) for name, sums in (*rows, *added)]
    if len(learned.models) > len(rows):
        lines.append(f"  ... and {len(learned.models) - len(rows)} more models")
    return [head, *lines]


def _model(name: str, sums: ModelSums, always: float | None) -> str:
    cached = "-" if sums.cached_share is None else f"{100 * sums.cached_share:.0f}%"
    n = sums.n_judged
    rate = f"{100 * sums.n_adequate / n:.0f}% of {n}" if n else "-"
    at = "-" if always is None else f"{always:.4f}"
    paid = f"{sums.cost_usd:.4f}" if sums.n_with_cost else "-"
    money = f"{paid:>12} {cached:>7} {rate:>14} {at:>15}"
    return f"  {name[:40]:<40} {sums.n_calls:>8} {money}"


def _savings(learned: Learned, *, state: str, compared: list[str]) -> list[str]:
    what_if, seen = learned.what_if, [*learned.models, *compared]
    lines = ["savings:"]
    if what_if.n_assumed:
        lines.append(
            f"  {what_if.n_assumed} calls came without a cost: below they count at the catalog's "
            "prices, which is not what was paid"
        )
    explained = what_if.explained_share()
    if explained is not None:
        lines.append(
            f"  the catalog's prices explain {100 * explained:.0f}% of what was paid; `all at it` "
            f"is {what_if.n_calls} calls with known tokens at one model's prices, caches kept: "
            "it says nothing of whether that model would do"
        )
    saving = what_if.side_saving(seen)
    if saving is None:
        lines.append(f"  side calls: no estimate: {_why_no_side_saving(learned, seen)}")
    else:
        known = saving.low is not None and saving.high is not None
        interval = (
            f" [{100 * (saving.low or 0):.1f}%, {100 * (saving.high or 0):.1f}%], 95%"
            if known
            else f", no interval from {saving.n_sessions} sessions"
        )
        lines += [
            f"  side calls to {saving.model}: {100 * saving.share:.1f}% of the spend{interval}; "
            f"{saving.usd_per_1000:.4f} USD per 1000 calls, net of the router's own cost",
            "    assumed, not measured: it is adequate for them, uses as many tokens, and finds "
            "nothing in its cache",
        ]
    return lines + _main_calls(learned, state=state)


def _why_no_side_saving(learned: Learned, seen: list[str]) -> str:
    what_if = learned.what_if
    if not learned.n_with_request:
        return "no call came with its request, so none is known to be a side call"
    if not learned.n_side_calls:
        return "no side call among them"
    if not what_if.n_side_calls:
        return "no side call has both tokens and cost"
    if all(what_if.always(name) is None for name in seen):
        return "no model here is in the catalog with a price (--catalog adds some)"
    return "no model here would be cheaper for them (--compare MODEL prices another one)"


def _main_calls(learned: Learned, *, state: str) -> list[str]:
    evaluate = f"router-train evaluate --from-log --state {state} --policy policy.toml"
    if learned.n_drawn:
        drawn = f"{learned.n_drawn} were drawn with known probabilities"
        return [f"  all calls: {drawn}: `{evaluate}`", _POLICY]
    lines = [
        "  all calls: no estimate yet: the log has no propensities, so nothing says how models "
        "that were not called would have answered",
        "    what gives one: in tenants.toml `adoption = 0.1` lets the router answer a tenth of "
        "the sessions (observing alone draws nothing); report outcomes with cost_usd or usage",
        f"    from 20 sessions an arm on, `router-train savings --state {state}` measures what "
        "routing saved",
        "    with `exploration = 0.05` besides, other policies can be estimated: "
        f"`{evaluate} --within-support`",
        _POLICY,
    ]
    if learned.n_judged < learned.n_calls / 10:
        lines.append(
            "    most calls are unjudged: report verdicts or signals (POST /outcomes), or import "
            "answers (response) and scores (--score)"
        )
    return lines


def _share(part: float, whole: float) -> str:
    if not whole:
        return "none"
    shown = f"{part:.4f}" if isinstance(part, float) else str(part)
    return f"{100 * part / whole:.1f}% ({shown})"
