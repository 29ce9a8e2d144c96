"""Quantiles of the time to the first complete tool call, by quantile regression.

The pinball loss of quantile q (Koenker and Bassett, "Regression quantiles", 1978) is minimised
over slopes shared by all models and an intercept for each, on log milliseconds; its linear
program is solved by scikit-learn. Intercepts are fitted again on all calls, shrunk where a model
has few.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from sklearn.linear_model import QuantileRegressor

from router_data.behaviour_table import BehaviourTable
from router_model.behaviour import LATENCY_TERMS, Behaviour, Latency, ModelLatency, latency_terms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MEDIAN, TAIL = 0.5, 0.95
MIN_CALLS: Final = 10
"""Calls from which on a model's latency is known at all; below, it is NaN."""
_MIN_FOR_SLOPES: Final = 200
# The program grows with the square of its rows: 4,000 take about two seconds.
_MAX_SOLVED: Final = 4_000
# A penalty that is nothing beside a slope that the data show, and zeroes one that they don't.
_L1: Final = 1e-4
# The tail of a model with n calls is that of its own n and of this many of the fleet's.
_TAIL_PRIOR: Final = 30.0
_REFERENCE: Final = np.linspace(0.005, 0.995, 100)


class QuantileCheck(Struct, frozen=True, kw_only=True):
    """How a quantile does on later calls: `below` should be its level, `pinball` small.

    `constant` is the pinball loss (log ms) of each model's own quantile without any terms.
    """

    level: float
    below: float
    pinball: float
    constant: float
    n: int


def fit_latency(table: BehaviourTable) -> Latency:
    """Slopes and intercepts of every model with at least `MIN_CALLS` timed calls.

    Without `_MIN_FOR_SLOPES` calls slopes are 0: every model has constants then.
    """
    ms = observed_ms(table)
    used = np.flatnonzero(ms > 0)
    names, model = np.unique(table.model[used].astype(str), return_inverse=True)
    counts = np.bincount(model, minlength=len(names))
    kept = counts[model] >= MIN_CALLS
    used, model = used[kept], model[kept]
    if not len(used):
        return Latency()
    x, y = _terms(table)[used], np.log(ms[used])
    x_low, x_high = x.min(axis=0), x.max(axis=0)
    levels: dict[float, Floats] = {}
    slopes: dict[float, Floats] = {}
    for level in (MEDIAN, TAIL):
        slopes[level] = _slopes(x, y, model, level)
        levels[level] = _intercepts(y - x @ slopes[level], model, counts, level)
    known = {
        str(name): ModelLatency(
            p50=float(levels[MEDIAN][place]), p95=float(levels[TAIL][place]), n=int(counts[place])
        )
        for place, name in enumerate(names)
        if counts[place] >= MIN_CALLS
    }
    return Latency(
        p50=tuple(slopes[MEDIAN].tolist()),
        p95=tuple(slopes[TAIL].tolist()),
        low=tuple(x_low.tolist()),
        high=tuple(x_high.tolist()),
        models=known,
    )


def observed_ms(table: BehaviourTable) -> Floats:
    """Time to the first complete tool call; NaN where unknown.

    Where fewer than `MIN_CALLS` calls of a model reported it, the latency of its whole calls
    stands for it, which is never shorter; the two are not mixed within a model.
    """
    own: Floats = table.tool_call_latency_ms.copy()
    for name in set(table.model.tolist()):
        rows = table.model == name
        if np.isfinite(own[rows]).sum() < MIN_CALLS:
            own[rows] = table.latency_ms[rows]
    return own


def check_latency(behaviour: Behaviour, later: BehaviourTable) -> tuple[QuantileCheck, ...]:
    """Calibration of median and tail on calls that were not fitted on; empty without any."""
    ms = observed_ms(later)
    p50, p95 = predicted(behaviour, later)
    used = (ms > 0) & np.isfinite(p50)
    if not used.any():
        return ()
    return tuple(
        QuantileCheck(
            level=level,
            below=float(np.mean(ms[used] <= quantile[used])),
            pinball=pinball(np.log(ms[used]), np.log(quantile[used]), level),
            constant=float("nan"),
            n=int(used.sum()),
        )
        for level, quantile in ((MEDIAN, p50), (TAIL, p95))
    )


def compare_with_constants(
    earlier: BehaviourTable, later: BehaviourTable
) -> tuple[QuantileCheck, ...]:
    """Quantiles fitted on earlier calls and judged on later ones, beside constant ones."""
    fitted = Behaviour(latency=fit_latency(earlier))
    found = check_latency(fitted, later)
    before, after = observed_ms(earlier), observed_ms(later)
    used = (after > 0) & np.isfinite(predicted(fitted, later)[0])
    constants: Mapping[float, Floats] = {
        level: _constants(earlier.model, before, level, asked=later.model[used])
        for level in (MEDIAN, TAIL)
    }
    return tuple(
        QuantileCheck(
            level=one.level,
            below=one.below,
            pinball=one.pinball,
            constant=pinball(np.log(after[used]), np.log(constants[one.level]), one.level),
            n=one.n,
        )
        for one in found
    )


def predicted(behaviour: Behaviour, table: BehaviourTable) -> tuple[Floats, Floats]:
    """(p50, p95) in ms of every call of a table."""
    return behaviour.latencies(
        table.model.tolist(),
        input_tokens=table.input_tokens,
        output_tokens=np.nan_to_num(table.output_tokens),
        load=table.load,
        cached_tokens=table.cached_tokens,
    )


def pinball(y: Floats, quantile: Floats, level: float) -> float:
    """Mean of (y - quantile)(level - 1[y < quantile]).

    >>> round(pinball(np.array([2.0, 0.0]), np.array([1.0, 1.0]), 0.9), 3)
    0.5
    """
    above = y - quantile
    return float(np.mean(np.maximum(level * above, (level - 1.0) * above)))


def _terms(table: BehaviourTable) -> Floats:
    return latency_terms(
        table.input_tokens, table.cached_tokens, np.nan_to_num(table.output_tokens), table.load
    )


def _slopes(x: Floats, y: Floats, model: Ints, level: float) -> Floats:
    """Slopes shared by the models, zero where a term never varies or calls are few."""
    slopes = np.zeros(len(LATENCY_TERMS))
    spread = x.std(axis=0)
    varies = np.flatnonzero(spread > 1e-6)
    if len(y) < _MIN_FOR_SLOPES or not len(varies):
        return slopes
    step = max(1, -(-len(y) // _MAX_SOLVED))
    rows = np.arange(0, len(y), step)
    z = (x[rows][:, varies] - x[:, varies].mean(axis=0)) / spread[varies]
    # The models' own levels don't belong under the penalty: they are taken out beforehand.
    own = np.array([np.median(y[model == place]) for place in range(int(model.max()) + 1)])
    dummies = np.eye(len(own))[model[rows]][:, 1:]
    solver = QuantileRegressor(quantile=level, alpha=_L1, solver="highs")
    solver.fit(np.column_stack([z, dummies]), y[rows] - own[model[rows]])
    slopes[varies] = solver.coef_[: len(varies)] / spread[varies]
    return slopes


def _intercepts(residual: Floats, model: Ints, counts: Ints, level: float) -> Floats:
    """Each model's quantile of the residuals, shrunk; NaN for models without any.

    A centre is shrunk to the fleet's as an empirical Bayes mean with the variance of a sample
    median, pi / 2 sigma^2 / n. The distance of a quantile from the centre is that of the model's
    residuals together with `_TAIL_PRIOR` of the fleet's, each around its model's centre.
    """
    present = np.unique(model)
    raw = np.array([np.median(residual[model == place]) for place in present])
    centre = dict(zip(present.tolist(), raw.tolist(), strict=True))
    around = residual - np.array([centre[place] for place in model.tolist()])
    sigma = max(float(np.median(np.abs(around))) * 1.4826, 1e-6)
    noise = np.pi / 2 * sigma**2 / counts[present]
    between = max(float(np.var(raw)) - float(np.mean(noise)), 0.0) if len(raw) > 1 else np.inf
    trust = np.ones(len(raw)) if np.isinf(between) else between / (between + noise)
    fleet = float(np.average(raw, weights=counts[present]))
    shrunk = fleet + trust * (raw - fleet)
    result = np.full(len(counts), np.nan)
    reference = np.quantile(around, _REFERENCE)
    for place, middle in zip(present.tolist(), shrunk.tolist(), strict=True):
        own = around[model == place]
        weight = np.concatenate(
            [np.ones(len(own)), np.full(len(reference), _TAIL_PRIOR / len(reference))]
        )
        result[place] = middle + _weighted_quantile(np.concatenate([own, reference]), weight, level)
    return result


def _weighted_quantile(values: Floats, weight: Floats, level: float) -> float:
    order = np.argsort(values)
    mass = np.cumsum(weight[order]) - 0.5 * weight[order]
    return float(np.interp(level * weight.sum(), mass, values[order]))


def _constants(
    model: NDArray[np.object_], ms: Floats, level: float, *, asked: NDArray[np.object_]
) -> Floats:
    timed = ms > 0
    known = {
        name: float(np.quantile(ms[timed & (model == name)], level)) for name in set(asked.tolist())
    }
    return np.array([known[name] for name in asked.tolist()])
