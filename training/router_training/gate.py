"""The promotion gate: what a challenger has to show before it may replace the champion.

Both are judged on the same held-out part of the log. A challenger passes when it is shown to be
not worse (non-inferiority), not when it is not shown to be worse: what can't be told is a reason
against it too.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """What is allowed; each trades improvements that are missed for mistakes that are made."""

    margin: float = 0.02
    """Net utility that may be lost, in shares of an inadequate answer: 0.02 is two in a hundred."""
    max_calibration_loss: float = 0.1
    """Largest expected calibration error."""
    max_calibration_rise: float = 0.03
    """Largest rise of it over the champion's."""
    max_latency_ratio: float = 2.0
    """Largest time of one prediction, in times of the champion's."""
    min_slice: int = 100
    """Fewest decisions of a tenant or step type that are looked at by themselves."""
    level: float = 0.95
    """Confidence of intervals."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was checked: what was found, with its figures, and whether it is allowed."""

    code: str
    is_ok: bool
    text: str
    figures: Mapping[str, float] = {}


class GateReport(Struct, frozen=True, kw_only=True):
    """Everything that was checked; `champion` is "" when there was none to compare with."""

    champion: str
    n_held_out: int
    n_live: int
    limits: Limits
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """What speaks against a promotion; nothing does when it is empty."""
        return tuple(finding for finding in self.findings if not finding.is_ok)

    @property
    def verdict(self) -> str:
        """ "passed", or the reasons in one line, as the tag `gate` has it.

        >>> GateReport(champion="", n_held_out=9, n_live=0, limits=Limits(), findings=()).verdict
        'passed'
        """
        return "\n".join(f"{reason.code}: {reason.text}" for reason in self.reasons) or "passed"


def gate_metrics(report: GateReport) -> dict[str, float]:
    """Every finite figure as a metric `gate.<code>.<figure>`, and the number of reasons."""
    metrics = {"gate.n_reasons": float(len(report.reasons)), "gate.n_live": float(report.n_live)}
    for finding in report.findings:
        for name, value in finding.figures.items():
            if math.isfinite(value):
                metrics[f"gate.{_plain(finding.code)}.{_plain(name)}"] = float(value)
    return metrics


def write_gate(report: GateReport, folder: Path) -> Path:
    """Write the report as `gate.json` into an existing folder; returns the file."""
    path = folder / "gate.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    return path


def render_gate(report: GateReport) -> str:
    """The findings as text, one a line, those against it marked."""
    against = f"champion version {report.champion}" if report.champion else "no champion"
    lines = [f"gate: {report.n_held_out} held-out requests, {report.n_live} live; {against}"]
    lines += [f"  {'ok ' if f.is_ok else 'NO '} {f.code}: {f.text}" for f in report.findings]
    return "\n".join(lines)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
