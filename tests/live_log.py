"""Rows of a small live log between two models, with a known truth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from router_data.rows import encode_embedding, encode_features
from router_model.catalog import catalog_of
from router_model.features import SCHEMA
from router_model.types import ModelCard, PriceCard

DAY = 86_400_000
QUARTER = 900_000
START = 1_750_000_000_000
PRICES = {"small": PriceCard(input=1.0, output=5.0), "large": PriceCard(input=10.0, output=50.0)}
COSTS = {name: (1000 * price.input + 100 * price.output) / 1e6 for name, price in PRICES.items()}


def card(name: str, price: PriceCard | None) -> ModelCard:
    return ModelCard(
        id=name, provider="p", snapshot=name, family=name, context_window=10**6,
        max_output_tokens=10**4, price=price,
    )  # fmt: skip


CATALOG = catalog_of([card(name, price) for name, price in PRICES.items()], as_of="2026-01-01")


def live_rows(
    n: int,
    *,
    seed: int = 0,
    start_ms: int = START,
    shift: float = 0.0,
    p_small: float = 0.6,
    rates: Mapping[str, float] | None = None,
    artifact: str = "a1",
    side: str = "champion",
    n_dimensions: int = 4,
    encoder: str = "e",
    changes: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Decisions, a quarter of an hour apart in sessions of four, each with its outcome.

    `small` is drawn with probability `p_small`. Adequacy follows the predictions, or `rates` by
    model. `shift` is added to the first feature.
    """
    rng = np.random.default_rng(seed)
    made: list[dict[str, Any]] = []
    shares = {"large": 1.0 - p_small, "small": p_small}
    for i in range(n):
        model = "small" if rng.random() < p_small else "large"
        p = float(rng.uniform(0.3, 0.95))
        features = np.zeros(SCHEMA.n, dtype=np.float32)
        features[0] = rng.poisson(5) + shift
        ts_ms, decision_id = start_ms + i * QUARTER, f"d{seed}-{start_ms}-{i}"
        tokens = {"input_tokens": 1000, "cached_tokens": 0, "output_tokens": 100.0}
        made.append(
            {
                "schema": 2, "kind": "decision", "ts_ms": ts_ms, "decision_id": decision_id,
                "tenant": "acme", "session": f"s{seed}-{start_ms}-{i // 4}", "client": "cli",
                "model": model, "step_type": "main", "feedback": "bandit",
                "propensity": shares[model], "rollout": side,
                "features": encode_features(features), "feature_schema": SCHEMA.hash,
                "embedding": encode_embedding(np.zeros(n_dimensions, dtype=np.float32)),
                "encoder": encoder,
                "versions": {"artifact": artifact, "catalog": CATALOG.version, "policy": "p1"},
                "candidates": [
                    {"model": name, "p_adequate": p, "expected_cost": COSTS[name],
                     "probability": share, "tool_call_latency_ms": 900.0, **tokens}
                    for name, share in shares.items() if share > 0
                ],
                **(changes or {}),
            }
        )  # fmt: skip
        rate = p if rates is None else rates[model]
        made.append(
            {
                "schema": 2, "kind": "outcome", "ts_ms": ts_ms + 5000, "decision_id": decision_id,
                "attempt": 0, "tenant": "acme", "model": model,
                "adequate": bool(rng.random() < rate),
                "cost_usd": COSTS[model] * rng.uniform(0.8, 1.2),
            }
        )  # fmt: skip
    return made
