"""A drift report: its alarms, as text, as JSON for the service, as metrics for MLflow."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from router_training.changes import Change, Reading
from router_training.drift import Drift
from router_training.drift_rates import FAMILIES, Thresholds
from router_training.report import number, table

SUMMARY_SCHEMA = 1
_MAX_FEATURES = 15
_MODERATE_OF_LARGE = 0.4
"""A warning at 0.1 where the alarm is at 0.25."""


class Span(Struct, frozen=True, kw_only=True):
    """A stretch of time (ends in milliseconds, the later one not included)."""

    since_ms: int
    until_ms: int

    def __str__(self) -> str:
        return f"{iso(self.since_ms)} to {iso(self.until_ms)}"


class DriftReport(Struct, frozen=True, kw_only=True):
    """What was compared, what was found, and what of it is an alarm."""

    generated_ms: int
    champion: str
    tenant: str
    reference: Span
    window: Span
    thresholds: Thresholds
    drift: Drift
    alarms: tuple[str, ...]
    warnings: tuple[str, ...]


def findings(drift: Drift, thresholds: Thresholds) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is an alarm and what a warning, each in one line with its figures."""
    found = list(_findings(drift, thresholds))
    alarms = tuple(text for reading, text in found if reading == "alarm")
    return alarms, tuple(text for reading, text in found if reading == "warning")


def summary(report: DriftReport) -> dict[str, Any]:
    """The figures that the service shows as gauges; None is "not known".

    `calibration_gap`, `outcome_rate` and `cost_ratio` (observed over expected) are the window's,
    by model; `price_ratio` is what today's prices are of the logged ones.
    """
    drift = report.drift
    changes = _windows(drift)
    shares = {f"new_{found.kind}_share": found.share for found in drift.newcomers}
    return {
        "schema": SUMMARY_SCHEMA,
        "generated_ms": report.generated_ms,
        "alarm": bool(report.alarms),
        "n_alarms": len(report.alarms),
        "n_warnings": len(report.warnings),
        "n_reference": drift.n_reference,
        "n_window": drift.n_window,
        "psi": {shift.name: shift.psi for shift in drift.features},
        "calibration_gap": changes["calibration_gap"],
        "outcome_rate": changes["outcome_rate"],
        "cost_ratio": {m: math.exp(value) for m, value in changes["log_cost_ratio"].items()},
        "price_ratio": {price.model: price.ratio for price in drift.prices},
        "calibration_loss": drift.calibration_loss.window,
        "missing_share": changes["missing_share"].get("outcomes"),
        "quarantine_share": changes["quarantine_share"].get("rows"),
        **shares,
    }


def metrics(report: DriftReport) -> dict[str, float]:
    """The summary's finite numbers, flat: `psi.n_tools`, `missing_share`, ..."""
    flat: dict[str, float] = {}
    for name, value in summary(report).items():
        members = value if isinstance(value, Mapping) else {"": value}
        for member, figure in members.items():
            if figure is not None and math.isfinite(figure):
                flat[f"{name}.{member}".rstrip(".")] = float(figure)
    del flat["schema"], flat["generated_ms"]
    return flat


def render_drift(report: DriftReport) -> str:
    """The report as plain text: windows, features, changes, prices, newcomers, verdict."""
    drift = report.drift
    parts = [
        f"champion: {report.champion or 'none'}; tenant: {report.tenant or 'all'}\n"
        f"reference: {report.reference}, {drift.n_reference} decisions\n"
        f"window:    {report.window}, {drift.n_window} decisions",
        _features(drift, report.thresholds),
        _changes(drift),
        _calibration_loss(drift),
        _prices(drift),
        *(f"alarm: {text}" for text in report.alarms),
        *(f"warning: {text}" for text in report.warnings),
    ]
    if not report.alarms:
        parts.append("no alarm")
    return "\n\n".join(part for part in parts if part)


def _windows(drift: Drift) -> dict[str, dict[str, float]]:
    """The window's value of each quantity by name, for every family."""
    found: dict[str, dict[str, float]] = {family: {} for family in FAMILIES}
    for change in drift.changes:
        found[change.family][change.name] = change.window
    return found


def _findings(drift: Drift, thresholds: Thresholds) -> Iterator[tuple[Reading, str]]:
    for shift in drift.features:
        reading = shift.reading(moderate=_MODERATE_OF_LARGE * thresholds.psi, large=thresholds.psi)
        text = f"feature {shift.name}: PSI {shift.psi:.3f} (by chance up to {shift.floor:.3f})"
        if reading != "stable":
            yield ("alarm" if reading == "large" else "warning"), text
    for change in drift.changes:
        yield change.reading, _sentence(change)
    loss = drift.calibration_loss
    yield (
        loss.reading,
        f"calibration error: {loss.window:.3f} (by chance {loss.window_noise:.3f}), "
        f"was {loss.reference:.3f} (by chance {loss.reference_noise:.3f})",
    )
    for price in drift.prices:
        yield price.reading, f"price of {price.model}: now {price.ratio:.3f} of the logged one"
    for found in drift.newcomers:
        names = ", ".join(f"{name or 'unnamed'} ({n})" for name, n in found.counts.items())
        yield found.reading, f"new {found.kind}: {found.share:.1%} of the window: {names}"


def _sentence(change: Change) -> str:
    return (
        f"{change.family} of {change.name}: {change.reference:.3f} -> {change.window:.3f}, "
        f"change {change.change:+.3f} [{change.low:+.3f}, {change.high:+.3f}], "
        f"n {change.n_reference} and {change.n_window}, threshold {change.threshold:.3f}"
    )


def _features(drift: Drift, thresholds: Thresholds) -> str:
    rows = [
        [
            shift.name,
            number(shift.psi),
            number(shift.expected),
            number(shift.floor),
            shift.reading(moderate=_MODERATE_OF_LARGE * thresholds.psi, large=thresholds.psi),
        ]
        for shift in drift.features[:_MAX_FEATURES]
    ]
    text = table(["feature", "PSI", "chance mean", "chance limit", "reading"], rows)
    rest = len(drift.features) - len(rows)
    return f"{text}\n{rest} more features below" if rest > 0 else text


def _changes(drift: Drift) -> str:
    rows = [
        [
            change.family,
            change.name,
            number(change.reference),
            number(change.window),
            f"{number(change.change)} [{number(change.low)}, {number(change.high)}]",
            f"{change.n_reference}, {change.n_window}",
            change.reading,
        ]
        for change in drift.changes
    ]
    return table(["quantity", "of", "reference", "window", "change", "n", "reading"], rows)


def _calibration_loss(drift: Drift) -> str:
    loss = drift.calibration_loss
    return (
        f"calibration error: reference {number(loss.reference)} (by chance "
        f"{number(loss.reference_noise)}), window {number(loss.window)} (by chance "
        f"{number(loss.window_noise)}): {loss.reading}"
    )


def _prices(drift: Drift) -> str:
    catalogs = ", ".join(f"{name} ({n})" for name, n in drift.catalogs.items())
    rows = [[p.model, number(p.ratio), str(p.n), p.reading] for p in drift.prices]
    text = f"catalogs of the window: {catalogs}"
    return f"{table(['model', 'price now / logged', 'n', 'reading'], rows)}\n{text}"


def iso(ms: int) -> str:
    """A time in milliseconds as ISO text in UTC.

    >>> iso(0)
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
