"""Effective context windows: the prefix from which on a model answers worse than on short ones.

Of each model's answers the residual r = P(adequate as on short prefixes) - adequate is looked at
by length. P is the model's own level on the shortest third of its prefixes, moved by what the
*other* models' answers say of how hard such calls are (step, errors, length): calls with long
prefixes may be harder for everybody, which says nothing of one model's window. Probes of the
window with a known right answer are equally hard by design and have a level of their own.

A model breaks down beyond k where the lower confidence bound of its mean residual beyond k is
above a margin. Of these k the one that parts its residuals best (least squares) is its window.
Without such k the declared window, the prior, stands: it is never cut without evidence.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from router_data.behaviour_table import BehaviourTable
from router_model.behaviour import ModelWindow
from router_model.features import SCHEMA
from router_training.glm import fit_glm, scaled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MARGIN: Final = 0.1
"""P(adequate) that a model may lose before its window ends."""
CONFIDENCE: Final = 0.95
MIN_BEYOND: Final = 20.0
"""Answers (sums of their weights) needed beyond a window's end."""
MIN_PROBES: Final = 4.0
"""Probes that are enough instead: a probe has one right answer."""
_SHORT_SHARE: Final = 1 / 3
_MIN_SHORT: Final = 20.0
_MIN_OTHERS: Final = 100
# A quarter of an octave: steps of 19%.
_STEPS_PER_DOUBLING: Final = 4
_COVARIATES: Final = (
    "is_step_main",
    "is_step_tool_result",
    "n_tools",
    "n_user_messages",
    "n_errors_in_a_row",
    "n_tool_errors",
    "is_last_error",
    "is_last_call_repeated",
)
_PLACES = [SCHEMA.index(name) for name in _COVARIATES]
_N_UNSURE: Final = 1 + len(_COVARIATES)
_RIDGE: Final = 3.0
_NEWTON_STEPS: Final = 20


class Residuals(NamedTuple):
    """One model's residuals, (n,) each, and `short`, the length up to which its level was taken.

    `unsure` (n, k): by how much P moves with a standard deviation of each of the k independent
    quantities that P was estimated with.
    """

    length: Floats
    residual: Floats
    adequate: Floats
    weight: Floats
    cluster: Ints
    unsure: Floats
    is_probe: Bools
    short: float


class _Difficulty(NamedTuple):
    """Log-odds by what other models did, but for a constant, and its standard deviations."""

    log_odds: Floats
    unsure: Floats


class _Level(NamedTuple):
    """Log-odds of a model on short prefixes, their standard deviation, and which were short."""

    log_odds: float
    error: float
    is_short: Bools


def fit_windows(
    table: BehaviourTable, *, margin: float = MARGIN, confidence: float = CONFIDENCE
) -> dict[str, ModelWindow]:
    """Windows of the models that break down below what they were sent; no entry: none does."""
    # Other probes than those of the window ask for something else than traffic does.
    is_traffic = ~table.is_side_call & (table.dataset != "probe")
    is_probe = np.isfinite(table.probe_tokens)
    judged = table.select(np.isfinite(table.adequate) & (is_probe | is_traffic))
    found = {}
    for name in sorted(set(judged.model.tolist())):
        residuals = residuals_of(judged, str(name))
        window = None if residuals is None else _window(residuals, margin, confidence)
        if window is not None:
            found[str(name)] = window
    return found


def residuals_of(judged: BehaviourTable, name: str) -> Residuals | None:
    """A model's residuals, traffic and probes together; None without enough short prefixes."""
    own = judged.model == name
    is_probe = np.isfinite(judged.probe_tokens)
    parts = [
        _stratum(judged, own & is_probe, None),
        _stratum(judged, own & ~is_probe, ~own & ~is_probe),
    ]
    present = [part for part in parts if part is not None]
    if not present:
        return None
    columns: dict[str, Any] = {
        field: np.concatenate([getattr(part, field) for part in present])
        for field in Residuals._fields[:-1]
    }
    return Residuals(**columns, short=max(part.short for part in present))


def _stratum(judged: BehaviourTable, own: Bools, others: Bools | None) -> Residuals | None:
    """Residuals of traffic, or of probes (no `others`), against their level on short prefixes."""
    table = judged.select(own)
    is_probe = others is None
    if not table.n:
        return None
    length = table.probe_tokens if is_probe else table.input_tokens
    hard = _Difficulty(np.zeros(table.n), np.zeros((table.n, _N_UNSURE)))
    if others is not None and others.sum() >= _MIN_OTHERS:
        hard = _difficulty(judged.select(others), table)
    level = _level(table, length, hard.log_odds, least=MIN_PROBES if is_probe else _MIN_SHORT)
    if level is None:
        return None
    p = expit(level.log_odds + hard.log_odds)
    # The level makes up for what difficulties are off by on short prefixes.
    usual = np.average(hard.unsure[level.is_short], axis=0, weights=table.weight[level.is_short])
    levels = np.zeros((table.n, 2))
    levels[:, int(is_probe)] = level.error
    return Residuals(
        length=length,
        residual=p - table.adequate,
        adequate=table.adequate,
        weight=table.weight,
        # Probes are independent of each other, whatever session they were sent in.
        cluster=-1 - np.arange(table.n) if is_probe else table.session,
        unsure=(p * (1.0 - p))[:, None] * np.column_stack([levels, hard.unsure - usual]),
        is_probe=np.full(table.n, is_probe),
        short=float(length[level.is_short].max()),
    )


def _difficulty(others: BehaviourTable, asked: BehaviourTable) -> _Difficulty:
    """Logistic regression of the others' answers, each model with a level of its own.

    The covariance of its coefficients is the inverse of the Hessian, ridge included.
    """
    z = scaled(np.concatenate([_covariates(others), _covariates(asked)]))
    names, model = np.unique(others.model.astype(str), return_inverse=True)
    rows = np.column_stack([z[: others.n], np.eye(len(names))[model]])
    glm = fit_glm(rows, others.adequate, weight=others.weight, ridge=_RIDGE)
    p = glm.predict(rows)
    full = np.column_stack([np.ones(others.n), rows])
    penalty = np.full(full.shape[1], _RIDGE)
    penalty[0] = 1e-6
    hessian = (full * (others.weight * p * (1.0 - p))[:, None]).T @ full + np.diag(penalty)
    covariance = np.linalg.inv(hessian)[1 : 1 + _N_UNSURE, 1 : 1 + _N_UNSURE]
    own = z[others.n :]
    return _Difficulty(own @ glm.coef[:_N_UNSURE], own @ np.linalg.cholesky(covariance))


def _covariates(table: BehaviourTable) -> Floats:
    return np.column_stack([np.log2(1.0 + table.input_tokens), table.features[:, _PLACES]])


def _level(table: BehaviourTable, length: Floats, offset: Floats, *, least: float) -> _Level | None:
    """The level on the shortest third, half a success and half a failure added."""
    order = np.argsort(length, kind="stable")
    mass = np.cumsum(table.weight[order])
    place = int(np.searchsorted(mass, max(_SHORT_SHARE * mass[-1], least)))
    if place >= len(order):
        return None
    is_short = length <= length[order[place]]
    w, y, base = table.weight[is_short], table.adequate[is_short], offset[is_short]
    usual = float(np.average(base, weights=w))
    level = float(logit((w @ y + 0.5) / (w.sum() + 1.0))) - usual
    curvature = 1.0
    for _ in range(_NEWTON_STEPS):
        p, middle = expit(level + base), float(expit(level + usual))
        gradient = float(w @ (y - p)) + 0.5 - middle
        curvature = float(w @ (p * (1.0 - p))) + middle * (1.0 - middle)
        level += float(np.clip(gradient / curvature, -1.0, 1.0))
    return _Level(level, curvature**-0.5, is_short)


def _window(rows: Residuals, margin: float, confidence: float) -> ModelWindow | None:
    """The best parting length of those with evidence for a loss above the margin."""
    knots = [knot for knot in _knots(rows) if _is_enough(rows, rows.length > knot)]
    best, best_gain = None, -np.inf
    for knot in knots:
        beyond = rows.length > knot
        # The bound holds for all the lengths that were tried at once (Bonferroni).
        loss, error = _loss(rows, beyond)
        bound = loss - float(norm.isf((1.0 - confidence) / len(knots))) * error
        gain = _parted(rows, beyond)
        if bound > margin and gain > best_gain:
            n = int(beyond.sum())
            best = ModelWindow(tokens=int(knot), loss=round(loss, 4), bound=round(bound, 4), n=n)
            best_gain = gain
    return best


def _knots(rows: Residuals) -> list[float]:
    """Lengths 2^(i/4) between the short prefixes and the longest."""
    low = np.log2(max(rows.short, 1.0)) * _STEPS_PER_DOUBLING
    high = np.log2(max(rows.length.max(), 1.0)) * _STEPS_PER_DOUBLING
    steps = np.arange(np.ceil(low), np.ceil(high))
    return [float(np.floor(2.0 ** (step / _STEPS_PER_DOUBLING))) for step in steps]


def _is_enough(rows: Residuals, beyond: Bools) -> bool:
    probes = float(rows.weight[beyond & rows.is_probe].sum())
    traffic = float(rows.weight[beyond & ~rows.is_probe].sum())
    return traffic / MIN_BEYOND + probes / MIN_PROBES >= 1.0


def _loss(rows: Residuals, beyond: Bools) -> tuple[float, float]:
    """Mean residual beyond a length and its standard error.

    The error has two parts: of the answers, clustered by session, at least the binomial one with
    one success and one failure added; and of what they are compared with.
    """
    w, r = rows.weight[beyond], rows.residual[beyond]
    total = float(w.sum())
    loss = float(w @ r / total)
    _, cluster = np.unique(rows.cluster[beyond], return_inverse=True)
    clustered = float(np.square(np.bincount(cluster, w * (r - loss))).sum()) / total**2
    share = (float(w @ rows.adequate[beyond]) + 1.0) / (total + 2.0)
    binomial = share * (1.0 - share) * float(np.square(w).sum()) / total**2
    compared = float(np.square(w @ rows.unsure[beyond] / total).sum())
    return loss, float(np.sqrt(max(clustered, binomial) + compared))


def _parted(rows: Residuals, beyond: Bools) -> float:
    """What is explained by one mean residual up to a length and another beyond."""
    w, r = rows.weight, rows.residual
    sides = (w[part] @ r[part] / np.sqrt(w[part].sum()) for part in (beyond, ~beyond))
    return float(sum(float(side) ** 2 for side in sides))
