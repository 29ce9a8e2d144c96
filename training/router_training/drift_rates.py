"""The families of rates and ratios that are compared between reference and window.

The `level` of a false alarm is shared evenly by all families of comparisons and, within each,
by its members (Bonferroni).
"""

from collections.abc import Callable

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from router_training.changes import Change, Floats, Ratio, change_between, logarithm, ratio_of
from router_training.drift_traffic import Traffic, observed, weights

ALL = "all models"
FAMILIES = (
    "calibration_gap",
    "outcome_rate",
    "log_cost_ratio",
    "missing_share",
    "quarantine_share",
)
N_FAMILIES = len(FAMILIES) + 1
"""Those here, and the features; prices and newcomers are no estimates."""

RatioOf = Callable[[Traffic, str], Ratio]


class Thresholds(Struct, frozen=True, kw_only=True):
    """The least changes that raise an alarm; each trades late news for false ones."""

    psi: float = 0.25
    """Population stability index of a feature; from 0.4 of it on a warning (0.1 of 0.25)."""
    calibration: float = 0.05
    """Growth of |observed - predicted| adequacy of a model."""
    outcome: float = 0.1
    """Change of a model's share of adequate answers."""
    missing: float = 0.1
    """Change of the share of decisions without an outcome."""
    price: float = 0.2
    """Relative change of a model's cost, beside what was expected or by today's catalog."""
    newcomers: float = 0.25
    """Share of the window that comes from clients, models or tenants not seen before."""
    quarantine: float = 0.05
    """Share of the window's rows that can't be trusted."""
    level: float = 0.05
    """Probability of any false alarm while nothing changes."""
    min_n: int = 30
    """Fewest observations on either side of a comparison."""


def calibration_changes(
    reference: Traffic, window: Traffic, limits: Thresholds
) -> tuple[Change, ...]:
    """Observed minus predicted adequacy, overall and by model; only a growing gap is an alarm."""
    models = [ALL, *_observed_in_both(reference, window, limits)]
    changes = _by_model(
        reference,
        window,
        models,
        _gap,
        family="calibration_gap",
        threshold=limits.calibration,
        limits=limits,
    )
    return tuple(_calmed(c) if abs(c.window) < abs(c.reference) else c for c in changes)


def outcome_changes(reference: Traffic, window: Traffic, limits: Thresholds) -> tuple[Change, ...]:
    """The share of adequate answers by model."""
    models = _observed_in_both(reference, window, limits)
    return _by_model(
        reference,
        window,
        models,
        _adequacy,
        family="outcome_rate",
        threshold=limits.outcome,
        limits=limits,
    )


def cost_changes(reference: Traffic, window: Traffic, limits: Thresholds) -> tuple[Change, ...]:
    """The logarithm of observed over expected cost by model."""
    models = sorted(set(reference.model.tolist()) & set(window.model.tolist()))
    return _by_model(
        reference,
        window,
        models,
        _log_cost_ratio,
        family="log_cost_ratio",
        threshold=float(np.log1p(limits.price)),
        limits=limits,
    )


def missing_change(reference: Traffic, window: Traffic, limits: Thresholds) -> Change:
    """The share of settled decisions without an observed outcome."""
    (change,) = _by_model(
        reference,
        window,
        ["outcomes"],
        _missing,
        family="missing_share",
        threshold=limits.missing,
        limits=limits,
    )
    return change


def quarantine_change(reference: Traffic, window: Traffic, limits: Thresholds) -> Change:
    """The share of rows that can't be trusted; only a growing one is an alarm."""
    (change,) = _by_model(
        reference,
        window,
        ["rows"],
        _quarantined,
        family="quarantine_share",
        threshold=limits.quarantine,
        limits=limits,
    )
    return _calmed(change) if change.change < 0 else change


def _by_model(
    reference: Traffic,
    window: Traffic,
    names: list[str],
    ratio: RatioOf,
    *,
    family: str,
    threshold: float,
    limits: Thresholds,
) -> tuple[Change, ...]:
    return tuple(
        change_between(
            ratio(reference, name),
            ratio(window, name),
            family=family,
            name=name,
            threshold=threshold,
            level=limits.level / N_FAMILIES / len(names),
            min_n=limits.min_n,
        )
        for name in names
    )


def _gap(part: Traffic, model: str) -> Ratio:
    rows = _rows(part, model)
    w = weights(part)[rows]
    gap = part.adequate[rows] - part.p_adequate[rows]
    return ratio_of(w * gap, w, part.session[rows])


def _adequacy(part: Traffic, model: str) -> Ratio:
    rows = _rows(part, model)
    w = weights(part)[rows]
    return ratio_of(w * part.adequate[rows], w, part.session[rows], is_rate=True)


def _log_cost_ratio(part: Traffic, model: str) -> Ratio:
    rows = (part.model == model) & np.isfinite(part.cost_usd) & (part.expected_cost > 0)
    cost, expected = part.cost_usd[rows], part.expected_cost[rows]
    return logarithm(ratio_of(cost, expected, part.session[rows]))


def _missing(part: Traffic, name: str) -> Ratio:
    missing = np.isnan(part.adequate[part.is_settled]).astype(np.float64)
    return ratio_of(missing, np.ones_like(missing), part.session[part.is_settled], is_rate=True)


def _quarantined(part: Traffic, name: str) -> Ratio:
    n_bad = len(part.quarantined_ms)
    bad: Floats = np.concatenate([np.zeros(part.n), np.ones(n_bad)])
    sessions = np.concatenate([part.session, -1 - np.arange(n_bad)])
    return ratio_of(bad, np.ones_like(bad), sessions, is_rate=True)


def _observed_in_both(reference: Traffic, window: Traffic, limits: Thresholds) -> list[str]:
    counts = []
    for part in (reference, window):
        names, n = np.unique(part.model[observed(part)].astype(str), return_counts=True)
        counts.append(dict(zip(names.tolist(), n.tolist(), strict=True)))
    shared = counts[0].keys() & counts[1].keys()
    return sorted(m for m in shared if min(c[m] for c in counts) >= limits.min_n)


def _rows(part: Traffic, model: str) -> NDArray[np.bool_]:
    rows = observed(part)
    return rows if model == ALL else rows & (part.model == model)


def _calmed(change: Change) -> Change:
    return structs.replace(change, reading="ok") if change.reading != "too few" else change
