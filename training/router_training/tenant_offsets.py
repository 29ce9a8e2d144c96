"""Fit of how each tenant's adequacy departs from everybody's, by partial pooling.

    logit p = what everybody's predictor says + a_tenant + b_(tenant, model)
    a ~ N(0, level_sd^2),   b ~ N(0, model_sd^2)

A tenant with few outcomes stays near zero and one with many goes where its outcomes are (Gelman
and Hill, 2007, ch. 12). The two spreads are estimated from all tenants by empirical Bayes (EM on
Laplace's approximation), starting at, and with few tenants held to, what is documented here.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import expit

from router_data.rounds import Rounds
from router_model.heads import Floats
from router_model.tenants import TenantOffset, TenantOffsets
from router_training.params import TrainingParams
from router_training.weights import uncapped_weights

# Log-odds by which tenants, and models within a tenant, are expected to differ before any are
# seen; as much evidence as this many tenants, or (tenant, model) pairs.
LEVEL_SD, MODEL_SD = 0.5, 0.3
_PRIOR_TENANTS, _PRIOR_PAIRS = 4.0, 12.0
# However far apart tenants are, nobody's own few outcomes say everything.
_LARGEST_SD = 1.5
_N_ROUNDS, _N_STEPS = 20, 25
_TOLERANCE = 1e-8


class Spread(Struct, frozen=True):
    """Standard deviations, in log-odds, of tenants' levels and of models within a tenant."""

    level_sd: float = LEVEL_SD
    model_sd: float = MODEL_SD


class TenantRows(Struct, frozen=True):
    """Outcomes: tenant, model, calibrated log-odds, target in [0, 1], weight of each.

    The log-odds come from a predictor that was not trained on the row.
    """

    tenant: NDArray[np.str_]
    model: NDArray[np.str_]
    log_odds: Floats
    y: Floats
    weight: Floats


class _Own(Struct, frozen=True):
    """One tenant's offsets (level first, then its models), their variances, and its rows."""

    models: tuple[str, ...]
    offset: Floats
    variance: Floats
    n: int


def tenant_rows(
    rounds: Rounds, target: Floats, log_odds: Floats, params: TrainingParams
) -> TenantRows:
    """The rows with a target; `log_odds` are those of them alone.

    No cap on tenants: what a tenant logs may move its own offset. Outcomes of one session are
    alike, so that they say less than as many from different ones: see `session_discount`.
    """
    observed = np.isfinite(target)
    context = rounds.context_index[observed]
    tenant, y = rounds.tenant[context].astype(str), target[observed]
    weight = uncapped_weights(rounds, observed, params)[observed]
    session = np.char.add(np.char.add(tenant, "\0"), rounds.session[context].astype(str))
    return TenantRows(
        tenant,
        rounds.model[observed].astype(str),
        log_odds,
        y,
        weight * session_discount(session, residual=y - expit(log_odds)),
    )


def session_discount(session: NDArray[np.str_], *, residual: Floats) -> Floats:
    """What each row counts beside the others of its session: 1 / (1 + (n - 1) rho).

    n is the session's number of rows and rho the correlation of residuals within sessions, at
    least 0: the design effect of a cluster (Kish, 1965), by the pairs within sessions.

    >>> session_discount(np.array(["a", "a", "b"]), residual=np.array([0.5, 0.5, -0.5]))
    array([0.5, 0.5, 1. ])
    """
    _, place, size = np.unique(session, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    total = np.bincount(place, residual)
    square = float(residual @ residual)
    n_pairs = float((size * (size - 1)).sum())
    if n_pairs == 0 or square == 0:
        return np.ones(len(residual))
    covariance = (float(total @ total) - square) / n_pairs
    correlation = min(max(covariance / (square / len(residual)), 0.0), 1.0)
    return np.asarray(1.0 / (1.0 + (size[place] - 1) * correlation))


def joined(parts: Sequence[TenantRows]) -> TenantRows:
    """The rows of all parts."""
    names = TenantRows.__struct_fields__
    return TenantRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def fit_offsets(rows: TenantRows, *, spread: Spread | None = None) -> TenantOffsets:
    """Offsets of every tenant among the rows; none where there is only one tenant.

    `spread` is estimated when it is not given. One tenant is what everybody's predictor was
    fitted on, so there is nobody to differ from.
    """
    tenants, whose = np.unique(rows.tenant, return_inverse=True)
    if len(tenants) < 2:
        return TenantOffsets()
    parts = [_part(rows, whose == number) for number in range(len(tenants))]
    chosen = estimated_spread(parts) if spread is None else spread
    fitted = [fit_one(part, chosen) for part in parts]
    return TenantOffsets(
        {
            str(tenant): TenantOffset(
                level=float(own.offset[0]),
                models=dict(zip(own.models, own.offset[1:].tolist(), strict=True)),
                n=own.n,
            )
            for tenant, own in zip(tenants, fitted, strict=True)
        }
    )


def shifts_of(rows: TenantRows, offsets: TenantOffsets) -> Floats:
    """The offset of each row's tenant and model."""
    shift: Floats = np.zeros(len(rows.y))
    for tenant, offset in offsets.tenants.items():
        for model in offset.models:
            shift[(rows.tenant == tenant) & (rows.model == model)] = offset.shift(model)
    return shift


def estimated_spread(parts: Sequence[TenantRows]) -> Spread:
    """The spread under which the tenants' offsets are as large as they are."""
    spread = Spread()
    start: list[Floats | None] = [None] * len(parts)
    for _ in range(_N_ROUNDS):
        fitted = [fit_one(part, spread, start=s) for part, s in zip(parts, start, strict=True)]
        start = [own.offset for own in fitted]
        squares = [np.square(own.offset) + own.variance for own in fitted]
        levels = np.array([square[0] for square in squares])
        pairs = np.concatenate([square[1:] for square in squares])
        last, spread = (
            spread,
            Spread(
                _pooled_sd(levels, prior=LEVEL_SD, n_prior=_PRIOR_TENANTS),
                _pooled_sd(pairs, prior=MODEL_SD, n_prior=_PRIOR_PAIRS),
            ),
        )
        change = abs(spread.level_sd - last.level_sd) + abs(spread.model_sd - last.model_sd)
        if change < 1e-3:
            break
    return spread


def fit_one(rows: TenantRows, spread: Spread, *, start: Floats | None = None) -> _Own:
    """The most probable offsets of one tenant, by Newton's method with step halving."""
    models, place = np.unique(rows.model, return_inverse=True)
    design = np.zeros((len(rows.y), 1 + len(models)))
    design[:, 0] = 1.0
    design[np.arange(len(rows.y)), 1 + place.reshape(-1)] = 1.0
    precision = np.full(1 + len(models), spread.model_sd**-2.0)
    precision[0] = spread.level_sd**-2.0

    def loss(offset: Floats) -> float:
        eta = rows.log_odds + design @ offset
        fit = rows.weight @ (np.logaddexp(0.0, eta) - rows.y * eta)
        return float(fit + 0.5 * offset @ (precision * offset))

    offset = np.zeros(1 + len(models)) if start is None else start
    for _ in range(_N_STEPS):
        step = np.linalg.solve(*_newton(rows, design, offset, precision))
        size, now = 1.0, loss(offset)
        while loss(offset - size * step) > now and size > 1e-6:
            size /= 2
        offset = offset - size * step
        if np.abs(step).max() < _TOLERANCE:
            break
    curvature, _ = _newton(rows, design, offset, precision)
    variance = np.diag(np.linalg.inv(curvature)).copy()
    return _Own(tuple(models.tolist()), offset, variance, len(rows.y))


def _newton(
    rows: TenantRows, design: Floats, offset: Floats, precision: Floats
) -> tuple[Floats, Floats]:
    """Curvature and slope of the penalised loss."""
    p = expit(rows.log_odds + design @ offset)
    bend = rows.weight * p * (1.0 - p)
    curvature = design.T @ (design * bend[:, None]) + np.diag(precision)
    slope = design.T @ (rows.weight * (p - rows.y)) + precision * offset
    return np.asarray(curvature), np.asarray(slope)


def _pooled_sd(squares: Floats, *, prior: float, n_prior: float) -> float:
    variance = (n_prior * prior**2 + squares.sum()) / (n_prior + len(squares))
    return float(min(np.sqrt(variance), _LARGEST_SD))


def _part(rows: TenantRows, mask: NDArray[np.bool_]) -> TenantRows:
    return TenantRows(
        rows.tenant[mask], rows.model[mask], rows.log_odds[mask], rows.y[mask], rows.weight[mask]
    )
