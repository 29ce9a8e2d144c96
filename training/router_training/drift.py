"""Whether the traffic of a window still is what the champion was trained on.

Everything is compared between a reference (what the champion learned from) and a later window:
the requests (population stability of each feature), whether probabilities still hold, how often
each model is adequate, how often outcomes are missing, what calls cost, who calls. An alarm
needs a change that is large enough to matter and larger than chance.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from router_model.errors import DatasetError
from router_training.changes import Change, Ints, Reading
from router_training.drift_rates import (
    N_FAMILIES,
    Thresholds,
    calibration_changes,
    cost_changes,
    missing_change,
    outcome_changes,
    quarantine_change,
)
from router_training.drift_traffic import Traffic, observed, weights
from router_training.metrics import bin_index
from router_training.psi import FeatureShift, feature_shifts


class Newcomers(Struct, frozen=True, kw_only=True):
    """Who calls, or is called, in the window and was not seen in the reference, with counts."""

    kind: str
    counts: Mapping[str, int]
    share: float
    reading: Reading


class PriceChange(Struct, frozen=True, kw_only=True):
    """The window's expected cost of a model at today's prices over that when it was logged."""

    model: str
    ratio: float
    n: int
    reading: Reading


class CalibrationLoss(Struct, frozen=True, kw_only=True):
    """Expected calibration error before and now; `noise` is what perfect calibration would have."""

    reference: float
    reference_noise: float
    window: float
    window_noise: float
    reading: Reading


class Drift(Struct, frozen=True, kw_only=True):
    """Every comparison of a window with its reference."""

    n_reference: int
    n_window: int
    features: tuple[FeatureShift, ...]
    changes: tuple[Change, ...]
    calibration_loss: CalibrationLoss
    prices: tuple[PriceChange, ...]
    newcomers: tuple[Newcomers, ...]
    catalogs: Mapping[str, int]


def drift_between(
    reference: Traffic, window: Traffic, *, thresholds: Thresholds | None = None
) -> Drift:
    """The comparison of two parts of a log; DatasetError when either is smaller than `min_n`."""
    limits = thresholds or Thresholds()
    for name, part in (("reference", reference), ("window", window)):
        if part.n < limits.min_n:
            raise DatasetError(
                f"drift: the {name} has {part.n} decisions, expected at least {limits.min_n}"
            )
    names, counts = np.unique(window.catalog.astype(str), return_counts=True)
    return Drift(
        n_reference=reference.n,
        n_window=window.n,
        features=feature_shifts(
            reference.features.astype(np.float64),
            window.features.astype(np.float64),
            names=reference.feature_names,
            reference_sessions=_numbered(reference.session),
            window_sessions=_numbered(window.session),
            level=limits.level / N_FAMILIES,
        ),
        changes=(
            *calibration_changes(reference, window, limits),
            *outcome_changes(reference, window, limits),
            *cost_changes(reference, window, limits),
            missing_change(reference, window, limits),
            quarantine_change(reference, window, limits),
        ),
        calibration_loss=_calibration_loss(reference, window, limits),
        prices=_prices(window, limits),
        newcomers=tuple(
            _newcomers(reference, window, kind, limits) for kind in ("client", "model", "tenant")
        ),
        catalogs=dict(zip(names.tolist(), counts.tolist(), strict=True)),
    )


def _calibration_loss(reference: Traffic, window: Traffic, limits: Thresholds) -> CalibrationLoss:
    """An alarm needs twice the error of perfect calibration, and more growth than the threshold."""
    (before, before_noise), (now, now_noise) = (_ece(part) for part in (reference, window))
    excess = (now - now_noise) - (before - before_noise)
    grown = bool(excess >= limits.calibration)
    return CalibrationLoss(
        reference=before,
        reference_noise=before_noise,
        window=now,
        window_noise=now_noise,
        reading="ok" if not grown else "alarm" if now > 2 * now_noise else "warning",
    )


def _ece(part: Traffic) -> tuple[float, float]:
    """Weighted calibration error in ten bins of equal mass, and its mean were p the truth.

    The latter is sum over bins of sqrt(2 / pi) sqrt(sum w^2 p (1 - p)) / sum w.
    """
    rows = observed(part)
    w, y, p = weights(part)[rows], part.adequate[rows], part.p_adequate[rows]
    if not w.size:
        return float("nan"), float("nan")
    index = bin_index(p, n_bins=10)
    gap = np.abs(np.bincount(index, weights=w * (y - p)))
    spread = np.sqrt(np.bincount(index, weights=w**2 * p * (1 - p)))
    return float(gap.sum() / w.sum()), float(np.sqrt(2 / np.pi) * spread.sum() / w.sum())


def _prices(window: Traffic, limits: Thresholds) -> tuple[PriceChange, ...]:
    changes = []
    for model in sorted(set(window.model.tolist())):
        known = np.isfinite(window.repriced_cost) & (window.expected_cost > 0)
        rows = (window.model == model) & known
        if not rows.any():
            continue
        ratio = float(window.repriced_cost[rows].sum() / window.expected_cost[rows].sum())
        size = max(ratio, 1 / ratio) - 1 if ratio > 0 else np.inf
        reading: Reading = "alarm" if size >= limits.price else "warning" if size > 0.01 else "ok"
        changes.append(PriceChange(model=model, ratio=ratio, n=int(rows.sum()), reading=reading))
    return tuple(changes)


def _newcomers(reference: Traffic, window: Traffic, kind: str, limits: Thresholds) -> Newcomers:
    known = set(getattr(reference, kind).tolist())
    names, counts = np.unique(getattr(window, kind).astype(str), return_counts=True)
    new = {
        n: int(c) for n, c in zip(names.tolist(), counts.tolist(), strict=True) if n not in known
    }
    share = sum(new.values()) / window.n
    reading: Reading = "alarm" if share >= limits.newcomers else "warning" if new else "ok"
    return Newcomers(kind=kind, counts=new, share=share, reading=reading)


def _numbered(session: Ints) -> Ints:
    _, index = np.unique(session, return_inverse=True)
    return index.astype(np.int64)
