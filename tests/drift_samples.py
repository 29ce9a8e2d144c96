"""Traffic with a known truth, for tests of drift."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from router_training.drift_traffic import Traffic

MODELS = ("cheap", "middle", "strong")
_SKILL = np.array([0.0, 0.8, 1.6])
_COST = np.array([0.001, 0.004, 0.02])


def texts(values: Sequence[str]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def traffic(n_sessions: int, *, seed: int, start_ms: int = 0, missing: float = 0.1) -> Traffic:
    """Calibrated predictions, sessions of 1 to 8 calls, a tenth of the outcomes missing."""
    rng = np.random.default_rng(seed)
    session = np.repeat(np.arange(n_sessions), rng.integers(1, 9, n_sessions))
    n = len(session)
    difficulty = rng.normal(size=n_sessions)[session] + 0.5 * rng.normal(size=n)
    share = np.array([0.5, 0.3, 0.2])
    model = rng.choice(3, size=n, p=share)
    p = 1 / (1 + np.exp(difficulty - _SKILL[model]))
    adequate = (rng.random(n) < p).astype(np.float64)
    adequate[rng.random(n) < missing] = np.nan
    expected = _COST[model] * rng.uniform(0.5, 1.5, n)
    features = np.column_stack(
        [difficulty, rng.random(n), rng.random(n) < 0.03, np.maximum(difficulty, 0)]
    )
    return Traffic(
        feature_names=("difficulty", "noise", "flag", "positive"),
        features=features.astype(np.float32),
        ts_ms=start_ms + np.arange(n, dtype=np.int64) * 1000,
        session=session.astype(np.int64),
        tenant=texts(["acme"] * n),
        client=texts(["cli"] * n),
        model=texts([MODELS[i] for i in model]),
        catalog=texts(["c1"] * n),
        p_adequate=p,
        propensity=share[model],
        adequate=adequate,
        expected_cost=expected,
        repriced_cost=expected.copy(),
        cost_usd=expected * rng.lognormal(0.0, 0.3, n),
        is_settled=np.ones(n, dtype=bool),
        quarantined_ms=np.empty(0, dtype=np.int64),
    )


def degraded(part: Traffic, model: str, *, by: float, seed: int = 0) -> Traffic:
    """The same traffic, that share of the model's adequate answers now inadequate."""
    hit = (part.model == model) & (np.random.default_rng(seed).random(part.n) < by)
    return replace(part, adequate=np.where(hit & (part.adequate == 1), 0.0, part.adequate))
