"""Small logs, tables and an encoder without weights, for tests of the data package."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data.log import SEGMENTS, SegmentWriter
from router_data.rows import encode_embedding, encode_features
from router_data.store import write_parquet

VALUES = np.arange(3, dtype=np.float32)
# What makes a decision usable for training with `feature_schema="f1"`.
KNOWN: dict[str, Any] = {
    "features": encode_features(VALUES),
    "feature_schema": "f1",
    "embedding": encode_embedding(VALUES),
    "encoder": "e1",
}


class HashEncoder:
    """A vector that depends on the text only; values fit into float16 without rounding."""

    dimension = 8

    def __init__(self, name: str = "hash-encoder") -> None:
        self.hash = name

    def encode(self, text: str) -> NDArray[np.float32]:
        digest = hashlib.sha256(f"{self.hash}{text}".encode()).digest()[: self.dimension]
        return np.frombuffer(digest, dtype=np.uint8).astype(np.float32) / 256.0

    def encode_recurring(self, texts: tuple[str, ...]) -> NDArray[np.float64]:
        return np.array([self.encode(text) for text in texts], dtype=np.float64)


def decision(decision_id: str = "d1", **changes: object) -> dict[str, Any]:
    row: dict[str, Any] = {
        "schema": 2,
        "kind": "decision",
        "ts_ms": 1_000,
        "decision_id": decision_id,
        "tenant": "acme",
        "key": "key-1",
        "user": "ann",
        "session": "s1",
        "model": "small",
        "propensity": 0.5,
        "feedback": "bandit",
        "fallbacks": ["large"],
        "excluded": {"tiny": "no_tools: 2 tools"},
        "candidates": [
            {"model": "small", "p_adequate": 0.9, "probability": 0.5},
            {"model": "large", "p_adequate": 0.95, "probability": 0.5},
        ],
        "versions": {"artifact": "a1", "catalog": "c1", "policy": "p1"},
    }
    return row | changes


def outcome(decision_id: str = "d1", **changes: object) -> dict[str, Any]:
    row: dict[str, Any] = {
        "schema": 2,
        "kind": "outcome",
        "ts_ms": 2_000,
        "decision_id": decision_id,
        "attempt": 0,
        "tenant": "acme",
        "model": "small",
        "adequate": True,
        "reward": None,
        "signals": {"edits": 2},
        "usage": {"input_tokens": 100, "cached_tokens": 40, "output_tokens": 7},
        "cost_usd": 0.25,
        "latency_ms": 900.0,
    }
    return row | changes


def write_log(
    log: Path, rows: Sequence[Mapping[str, Any]], *, worker: str = "w0", segments: int = 1
) -> None:
    """Append the rows, spread over several finished segments in the given order."""
    size = max(1, -(-len(rows) // segments))
    for start in range(0, len(rows), size):
        with SegmentWriter(log / SEGMENTS, worker) as writer:
            writer.append(rows[start : start + size])


def write_tables(
    folder: Path,
    requests: Sequence[Mapping[str, Any]],
    outcomes: Sequence[Mapping[str, Any]],
) -> Path:
    """A folder of interchange tables; columns are the keys of the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / "requests.parquet", requests)
    write_parquet(folder / "outcomes.parquet", outcomes)
    return folder
