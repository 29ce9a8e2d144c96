"""Rounds with a known truth, and a simple real predictor to evaluate on them."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.rounds import Rounds, Texts
from router_model.embedding import N_MATCH
from router_training.params import TrainingParams

Floats = NDArray[np.float64]
SKILLS = {"cheap": 0.2, "middle": 1.0, "strong": 2.4}
COSTS = {"cheap": 0.001, "middle": 0.004, "strong": 0.02}


def texts(values: Sequence[str]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def true_p(difficulty: Floats, skill: float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-(skill + 1.5 - 4 * difficulty))))


def synthetic_rounds(
    n: int = 400,
    *,
    models: Sequence[str] = ("cheap", "middle", "strong"),
    n_groups: int | None = None,
    has_cost: bool = True,
    seed: int = 0,
) -> Rounds:
    """Difficulty in [0, 1] is feature 0; adequacy is one draw per cell of a logistic curve."""
    rng = np.random.default_rng(seed)
    names = tuple(sorted(models))
    difficulty = rng.random(n)
    p = np.stack([true_p(difficulty, SKILLS[m]) for m in names], axis=1)
    adequate = (rng.random(p.shape) < p).astype(np.float64).ravel()
    cost = np.tile([COSTS[m] for m in names], n) * rng.uniform(0.5, 1.5, n).repeat(len(names))
    n_rows = n * len(names)
    unknown = np.full(n_rows, np.nan)
    group = [f"g{i % (n_groups or n)}" for i in range(n)]
    return Rounds(
        models=names,
        feature_schema="test",
        encoder="test",
        features=np.stack([difficulty, rng.random(n)], axis=1).astype(np.float32),
        embedding=rng.normal(size=(n, 4 + N_MATCH)).astype(np.float32),
        decision_id=texts([f"d{i:06d}" for i in range(n)]),
        tenant=texts(["t"] * n),
        key=texts([""] * n),
        session=texts([f"s{i}" for i in range(n)]),
        group=texts(group),
        task=texts(["easy" if d < 0.5 else "hard" for d in difficulty]),
        dataset=texts(["synthetic"] * n),
        step_type=texts(["main"] * n),
        request_hash=texts([f"h{i}" for i in range(n)]),
        estimated_input_tokens=np.full(n, 100, dtype=np.int64),
        ts_ms=np.arange(n, dtype=np.int64) * 1000,
        context_index=np.repeat(np.arange(n), len(names)).astype(np.int64),
        model_index=np.tile(np.arange(len(names)), n).astype(np.int64),
        attempt=np.tile(np.arange(len(names)), n).astype(np.int64),
        adequate=adequate,
        reward=adequate.copy(),
        cost_usd=cost if has_cost else unknown,
        input_tokens=np.full(n_rows, 100.0),
        cached_tokens=np.zeros(n_rows),
        output_tokens=np.full(n_rows, 10.0),
        latency_ms=unknown,
        tool_call_latency_ms=unknown,
        tool_call_valid=unknown,
        propensity=np.ones(n_rows),
        weight=np.ones(n_rows),
    )


class Prediction(Struct, frozen=True):
    p_adequate: Floats
    expected_cost: Floats


class BinnedMeans:
    """Mean adequacy and cost of each model in five bins of the first feature."""

    def __init__(self, rounds: Rounds) -> None:
        self.models = rounds.models
        self.edges = np.quantile(rounds.features[:, 0], [0.2, 0.4, 0.6, 0.8])
        index = np.searchsorted(self.edges, rounds.features[:, 0])
        adequate = rounds.matrix("adequate")
        overall = np.nanmean(adequate, axis=0)
        rows = []
        for i in range(5):
            part = adequate[index == i]
            rows.append((np.nansum(part, axis=0) + overall) / (np.isfinite(part).sum(axis=0) + 1))
        self.table = np.stack(rows)
        cost = rounds.matrix("cost_usd")
        known = np.isfinite(cost)
        total = np.where(known, cost, 0.0).sum(axis=0)
        self.cost = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)

    def save(self, folder: Path) -> None:
        np.save(folder / "table.npy", self.table)

    def predict(
        self,
        features: NDArray[np.float32],
        embedding: NDArray[np.float32],
        models: Sequence[str],
        *,
        tenant: Sequence[str] | Texts | None = None,
    ) -> Prediction:
        columns = [self.models.index(m) for m in models]
        index = np.searchsorted(self.edges, features[:, 0])
        cost = np.broadcast_to(self.cost[columns], (len(features), len(columns)))
        return Prediction(self.table[index][:, columns], cost)


def fit_binned_means(
    rounds: Rounds,
    *,
    params: TrainingParams,
    seed: int = 0,
    calibration_rounds: Rounds | None = None,
) -> BinnedMeans:
    return BinnedMeans(rounds)


def write_tables(
    folder: Path, *, n: int = 60, models: Sequence[str] = ("cheap", "strong"), has_cost: bool = True
) -> Path:
    """A folder of interchange tables, harder prompts being longer."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    connection = duckdb.connect()
    connection.execute("create table requests (request_id text, prompt text, task text)")
    connection.execute(
        "create table outcomes (request_id text, model text, score double, cost_usd double)"
    )
    for i in range(n):
        difficulty = float(rng.random())
        prompt = f"Task {i}: " + "write another function. " * int(1 + 20 * difficulty)
        connection.execute(
            "insert into requests values (?, ?, ?)", [f"r{i}", prompt, f"task{i % 3}"]
        )
        for model in models:
            score = float(rng.random() < float(true_p(np.array(difficulty), SKILLS[model])))
            cost = COSTS[model] if has_cost else None
            connection.execute(
                "insert into outcomes values (?, ?, ?, ?)", [f"r{i}", model, score, cost]
            )
    for name in ("requests", "outcomes"):
        connection.execute(f"copy {name} to '{folder / name}.parquet' (format parquet)")
    connection.close()
    return folder
