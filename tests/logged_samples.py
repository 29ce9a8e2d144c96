"""Logged decisions of a simulated world, for tests of off-policy evaluation."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data.logged import Evidence, LoggedDecisions
from router_data.simulator import World, simulate
from router_model.embedding import N_MATCH

Floats = NDArray[np.float64]


def logged_world(
    world: World,
    distribution: Floats,
    *,
    seed: int = 0,
    error: float = 0.3,
    candidates: NDArray[np.bool_] | None = None,
    skipped: Mapping[str, int] | None = None,
) -> LoggedDecisions:
    """What a log of the world shows when models are drawn from `distribution`.

    The logged p is the true one with an `error` in its log-odds, the expected cost the true one
    times a factor by model.
    """
    n, m = distribution.shape
    rng = np.random.default_rng(seed)
    edges = distribution.cumsum(axis=1)
    action = (rng.random((n, 1)) * edges[:, -1:] > edges).sum(axis=1).astype(np.int64)
    rows = np.arange(n)
    odds = np.log(world.p_adequate / (1 - world.p_adequate)) + rng.normal(0, error, (n, m))
    factor = rng.uniform(0.7, 1.3, m)
    is_candidate = np.ones((n, m), dtype=bool) if candidates is None else candidates
    adequate = (rng.random(n) < world.p_adequate[rows, action]).astype(np.float64)
    return LoggedDecisions(
        models=world.models,
        feature_schema="simulated",
        encoder="simulated",
        decision_id=texts([f"d{i:06d}" for i in range(n)]),
        tenant=texts(["acme" if int(s[-6:]) % 3 else "other" for s in world.session]),
        key=texts([""] * n),
        session=world.session,
        step_type=texts(world.task.tolist()),
        client=texts(["test"] * n),
        dataset=texts([""] * n),
        task=world.task,
        ts_ms=world.ts_ms,
        artifact=texts(["a"] * n),
        features=world.features,
        embedding=np.zeros((n, N_MATCH), dtype=np.float32),
        is_side_call=np.zeros(n, dtype=bool),
        min_adequacy=np.full(n, np.nan),
        candidates=is_candidate,
        p_adequate=np.where(is_candidate, 1 / (1 + np.exp(-odds)), np.nan),
        expected_cost=np.where(is_candidate, world.cost_usd * factor, np.nan),
        tool_call_latency_ms=np.where(is_candidate, world.latency_ms, np.nan),
        distribution=distribution,
        action=action,
        propensity=distribution[rows, action],
        adequate=adequate,
        reward=adequate.copy(),
        cost_usd=world.cost_usd[rows, action],
        latency_ms=world.latency_ms[rows, action],
        tool_call_latency_ms_observed=world.latency_ms[rows, action],
        weight=np.ones(n),
        signal=np.zeros(n),
        evidence=np.full(n, Evidence.VERDICT),
        skipped=dict(skipped or {}),
    )


def uniform_log(n: int = 2_000, *, seed: int = 0, n_models: int = 4) -> LoggedDecisions:
    """A log in which every model was as likely."""
    world = simulate(n, n_models=n_models, seed=seed)
    return logged_world(world, np.full((n, n_models), 1.0 / n_models), seed=seed)


def without_outcomes(logged: LoggedDecisions, is_missing: NDArray[np.bool_]) -> LoggedDecisions:
    """The log with the outcomes of some decisions never reported."""
    names = ("adequate", "reward", "cost_usd", "latency_ms", "weight")
    hidden: dict[str, Any] = {
        name: np.where(is_missing, np.nan, getattr(logged, name)) for name in names
    }
    evidence = np.where(is_missing, Evidence.NOTHING, logged.evidence).astype(np.int64)
    return replace(logged, evidence=evidence, **hidden)


def texts(values: list[str]) -> NDArray[np.object_]:
    """An object array of strings."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
