"""The evaluation report: its fields, its JSON and its table for the terminal.

Numbers that don't exist (no cost known, quality never reached) are null in JSON and "-" in the
table. `SCHEMA_VERSION` rises when a field changes its meaning or goes away.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from router_training.contract_report import ContractFigures
from router_training.curves import Curve, Goal, Policy
from router_training.intervals import Interval

SCHEMA_VERSION = 2


class Method(Struct, frozen=True, kw_only=True):
    """How the numbers were made."""

    data: str
    snapshot_hash: str
    group_by: str
    n_groups: int
    n_folds: int
    held_out: str
    n_resamples: int
    level: float
    seed: int
    cost_unit: str


class Size(Struct, frozen=True, kw_only=True):
    """What was evaluated and what was left out."""

    n: int
    n_models: int
    n_requests_in_data: int
    n_models_in_data: int
    n_without_text: int
    models_left_out: tuple[str, ...]
    problems: dict[str, int]


class Row(Struct, frozen=True, kw_only=True):
    """One policy: mean score and mean cost per request, with intervals."""

    name: str
    model: str
    score: Interval
    cost: Interval
    note: str = ""


class HullCorner(Struct, frozen=True, kw_only=True):
    """A fixed model on the static-mixture hull."""

    model: str
    cost: float
    score: float


class Router(Struct, frozen=True, kw_only=True):
    """The router at the operating point that the training folds chose for a goal.

    `goal` is "best_quality" (least cost at the score of always-best) or "above_hull" (largest
    score above the hull). `minus_hull` compares with the hull at the same mean cost;
    `cost_share_of_best` is its cost over that of always-best. `shares` says how often each
    model was chosen.
    """

    goal: Goal
    score: Interval
    cost: Interval
    policies: tuple[Policy, ...]
    shares: dict[str, float]
    minus_hull: Interval
    minus_best: Interval
    cost_share_of_best: Interval


class CurvePoints(Struct, frozen=True, kw_only=True):
    """The router along one sweep, the hull beside it.

    `area_above_hull` is the area between curve and hull over the fixed models' range of costs.
    The rest is read off the curve's envelope, which favours the router a little, because the
    envelope picks points on the reported data: `cost_share_at_best_score`, the least cost at
    which it reaches the score of always-best as a share of always-best's cost (a high end that is
    null means that some resamples never reach it), and AIQ over the same range of costs.
    """

    curve: Curve
    hull_scores: tuple[float, ...]
    area_above_hull: Interval
    cost_share_at_best_score: Interval
    aiq: Interval
    aiq_hull: Interval
    aiq_minus_hull: Interval


class Bin(Struct, frozen=True, kw_only=True):
    """One bin of the reliability diagram."""

    n: int
    mean_p: float
    mean_adequate: float


class Calibration(Struct, frozen=True, kw_only=True):
    """Quality of the probabilities over all observed cells.

    `auc_within_model` ranks requests for one model at a time, averaged over models; `auc` also
    counts knowing which model is strong.
    """

    n_cells: int
    calibration_loss: Interval
    calibration_loss_equal_width: float
    brier_loss: Interval
    log_loss: float
    auc: Interval
    auc_within_model: float
    bins: tuple[Bin, ...]


class Pair(Struct, frozen=True, kw_only=True):
    """RouteLLM's metrics for a weak and a strong model, ranked by predicted gain."""

    weak: str
    strong: str
    apgr: Interval
    cpt50: Interval
    cpt80: Interval


class Task(Struct, frozen=True, kw_only=True):
    """One task at the router's operating point, against the overall always-best model."""

    task: str
    n: int
    best_score: float
    best_cost: float
    router: Interval
    router_cost: float
    minus_best: Interval
    oracle_score: float


class Report(Struct, frozen=True, kw_only=True):
    """Everything an evaluation found."""

    schema_version: int = SCHEMA_VERSION
    method: Method
    size: Size
    baselines: tuple[Row, ...]
    fixed: tuple[Row, ...]
    hull: tuple[HullCorner, ...]
    router: Router
    router_above_hull: Router
    headline_sweep: str
    curves: tuple[CurvePoints, ...]
    calibration: Calibration
    pair: Pair | None
    contracts: tuple[ContractFigures, ...]
    tasks: tuple[Task, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> CurvePoints:
        """The curve of the sweep that training preferred."""
        return next(points for points in self.curves if points.curve.kind == self.headline_sweep)


def write_json(report: Report, path: Path) -> None:
    """Write a report as indented JSON, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def headline_metrics(report: Report) -> dict[str, float]:
    """The finite numbers that a run is compared by, under stable names."""
    headline = report.headline
    values = {
        "n": float(report.size.n),
        "score": report.router.score.estimate,
        "cost": report.router.cost.estimate,
        "minus_hull": report.router.minus_hull.estimate,
        "minus_hull_above": report.router_above_hull.minus_hull.estimate,
        "minus_best": report.router.minus_best.estimate,
        "cost_share_of_best": report.router.cost_share_of_best.estimate,
        "cost_share_at_best_score": headline.cost_share_at_best_score.estimate,
        "area_above_hull": headline.area_above_hull.estimate,
        "aiq": headline.aiq.estimate,
        "aiq_minus_hull": headline.aiq_minus_hull.estimate,
        "expected_calibration_loss": report.calibration.calibration_loss.estimate,
        "brier_loss": report.calibration.brier_loss.estimate,
        "auc_score": report.calibration.auc.estimate,
    }
    if report.pair is not None:
        values |= {
            "apgr_score": report.pair.apgr.estimate,
            "cpt50_loss": report.pair.cpt50.estimate,
            "cpt80_loss": report.pair.cpt80.estimate,
        }
    return {name: value for name, value in values.items() if math.isfinite(value)}


def number(value: float, *, digits: int = 3) -> str:
    """A number for a table, "-" when there is none.

    >>> number(0.12345), number(float("nan")), number(0.00012345)
    ('0.123', '-', '0.000123')
    """
    if not math.isfinite(value):
        return "-"
    if value and abs(value) < 10.0**-digits:
        return f"{value:.3g}"
    return f"{value:.{digits}f}"


def spread(interval: Interval, *, digits: int = 3) -> str:
    """An interval for a table.

    >>> spread(Interval(0.5, 0.4, 0.6))
    '0.500 [0.400, 0.600]'
    """
    if not math.isfinite(interval.estimate):
        return "-"
    low, high = (number(end, digits=digits) for end in (interval.low, interval.high))
    return f"{number(interval.estimate, digits=digits)} [{low}, {high}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain aligned columns, the first to the left, the others to the right.

    >>> print(table(["a", "b"], [["x", "1"], ["long", "22"]]))
    a      b
    x      1
    long  22
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
