"""Tables of behaviour without a log, where only what a test is about has to be said."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from router_data.behaviour_table import BehaviourTable
from router_model.features import SCHEMA


def table(model: Sequence[str], **columns: object) -> BehaviourTable:
    """Calls of these models, a second apart and each its own session; nothing was observed."""
    n = len(model)
    unknown = np.full(n, np.nan)
    values: dict[str, Any] = {
        "model": np.array(model, dtype=object),
        "session": np.arange(n),
        "step_type": np.full(n, "main", dtype=object),
        "dataset": np.full(n, "log", dtype=object),
        "is_side_call": np.zeros(n, dtype=bool),
        "ts_ms": 1_000 * np.arange(n, dtype=np.int64),
        "input_tokens": np.full(n, 1_000.0),
        "cached_tokens": np.zeros(n),
        "output_tokens": np.full(n, 100.0),
        "load": np.zeros(n),
        "complexity": np.full(n, 4.0),
        "features": np.zeros((n, SCHEMA.n)),
        "weight": np.ones(n),
    }
    for name in BehaviourTable.__dataclass_fields__:
        values.setdefault(name, unknown)
    return BehaviourTable(**(values | columns))


def probes(model: str, lengths: Sequence[int], *, works_to: int, each: int) -> BehaviourTable:
    """Probes of a context window, `each` at every length, right up to `works_to` tokens."""
    sent = np.repeat(np.array(lengths, dtype=np.float64), each)
    return table(
        [model] * len(sent),
        dataset=np.full(len(sent), "probe", dtype=object),
        probe_tokens=sent,
        adequate=(sent <= works_to).astype(np.float64),
        features=np.full((len(sent), SCHEMA.n), np.nan),
        complexity=np.full(len(sent), np.nan),
    )


def joined(*tables: BehaviourTable) -> BehaviourTable:
    """One table of several, their sessions kept apart."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in tables])
        for name in BehaviourTable.__dataclass_fields__
    }
    starts = np.cumsum([0, *(one.session.max() + 1 for one in tables)])
    columns["session"] = np.concatenate(
        [one.session + start for one, start in zip(tables, starts[:-1], strict=True)]
    )
    return BehaviourTable(**columns)
