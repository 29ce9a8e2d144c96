"""Reads `outcomes.parquet` of an interchange folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data import store
from router_data.cells import as_number, as_text, cell, count, existing, require
from router_data.request_table import TableRequest
from router_data.rounds import Floats, Ints, Texts
from router_model.errors import DatasetError

# The order of each tuple is the order of preference.
_NUMBERS: dict[str, tuple[str, ...]] = {
    "cost_usd": ("cost_usd", "cost"),
    "input_tokens": ("input_tokens", "prompt_tokens"),
    "cached_tokens": ("cached_input_tokens", "cached_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens"),
    "latency_ms": ("latency_ms",),
    "latency_s": ("latency_s",),
    "tool_call_latency_ms": ("tool_call_latency_ms",),
    "tool_call_valid": ("tool_call_valid", "tool_calls_valid"),
    "n_calls": ("n_calls", "calls"),
    "success": ("success", "adequate"),
    "score": ("score", "reward"),
}


# What belongs to one call: the sum over the calls of a whole session would mislead.
_PER_CALL = ("input_tokens", "cached_tokens", "output_tokens", "latency_ms", "latency_s")


@dataclass(frozen=True, slots=True)
class TableOutcomes:
    """Rows of `outcomes.parquet` as arrays, ordered by (request, model, all other columns).

    `attempt` counts the outcomes of one request from 0, over all models and trials. `verdict`
    comes from a `success` column that holds 0 and 1, `reward` from either column. Where a row
    sums several model calls (`n_calls` above 1), tokens and latency are left out: they are not
    those of any call. The cost stays: it is what the task cost.
    """

    request_index: Ints
    model: Texts
    attempt: Ints
    verdict: Floats
    reward: Floats
    cost_usd: Floats
    input_tokens: Floats
    cached_tokens: Floats
    output_tokens: Floats
    latency_ms: Floats
    tool_call_latency_ms: Floats
    tool_call_valid: Floats
    error: Texts

    def __len__(self) -> int:
        return len(self.model)


def read_outcomes(
    folder: Path, requests: Sequence[TableRequest], *, problems: Counter[str]
) -> TableOutcomes:
    """The usable outcomes; `requests` gives the positions that `request_index` points to."""
    path = existing(folder, "outcomes.parquet")
    types = store.parquet_types(path)
    require(path, types, "request_id", "model")
    if not any(name in types for key in ("success", "score") for name in _NUMBERS[key]):
        raise DatasetError(f"{path}: no column success or score among {', '.join(types)}")
    table = store.read_parquet(path, _outcome_columns(types), suffix="order by all")
    position = {request.request_id: index for index, request in enumerate(requests)}
    index = np.array([position.get(str(key), -1) for key in table["request_id"]], dtype=np.int64)
    has_model = np.array([cell(name) is not None for name in table["model"]], dtype=bool)
    count(problems, "outcome: request_id is not in requests.parquet", index < 0)
    count(problems, "outcome: no model", (index >= 0) & ~has_model)
    keep = (index >= 0) & has_model
    kept = {name: values[keep] for name, values in table.items()}
    index = index[keep]
    order = np.argsort(index, kind="stable")
    kept = {name: values[order] for name, values in kept.items()}
    return _outcomes(index[order], kept, problems=problems)


def _outcome_columns(types: Mapping[str, str]) -> dict[str, str]:
    chosen = {"request_id": as_text("request_id", types["request_id"]), "model": "model::varchar"}
    for name, candidates in _NUMBERS.items():
        present = [as_number(c, types[c]) for c in candidates if c in types]
        chosen[name] = f"coalesce({', '.join(present)}, null)" if present else "null::double"
    chosen["error"] = as_text("error", types["error"]) if "error" in types else "null::varchar"
    # Only so that the order of trials does not depend on the order of lines in the file.
    for name in ("session_id", "step", "trial"):
        chosen[f"order_{name}"] = f"{name}::varchar" if name in types else "null::varchar"
    return chosen


def _outcomes(
    index: Ints, table: Mapping[str, NDArray[Any]], *, problems: Counter[str]
) -> TableOutcomes:
    numbers = {name: _cleaned(name, table[name], problems) for name in _NUMBERS}
    is_sum = numbers["n_calls"] > 1
    numbers |= {name: np.where(is_sum, np.nan, numbers[name]) for name in _PER_CALL}
    count(problems, "outcome: tokens and latency of several calls (cells ignored)", is_sum)
    success, score = numbers["success"], numbers["score"]
    verdict = np.where(np.isin(success, (0.0, 1.0)), success, np.nan)
    reward = np.where(np.isnan(score), success, score)
    count(problems, "outcome: neither success nor score (kept, not observed)", np.isnan(reward))
    first = np.searchsorted(index, index)  # `index` is sorted
    latency = np.where(
        np.isnan(numbers["latency_ms"]), numbers["latency_s"] * 1000.0, numbers["latency_ms"]
    )
    return TableOutcomes(
        request_index=index,
        model=table["model"].astype(object),
        attempt=np.arange(len(index), dtype=np.int64) - first,
        verdict=verdict,
        reward=reward,
        cost_usd=numbers["cost_usd"],
        input_tokens=numbers["input_tokens"],
        cached_tokens=numbers["cached_tokens"],
        output_tokens=numbers["output_tokens"],
        latency_ms=latency,
        tool_call_latency_ms=numbers["tool_call_latency_ms"],
        tool_call_valid=numbers["tool_call_valid"],
        error=np.array([cell(value) for value in table["error"]], dtype=object),
    )


def _cleaned(name: str, values: NDArray[Any], problems: Counter[str]) -> Floats:
    numbers = values.astype(np.float64)
    bad = np.isinf(numbers) | (numbers < 0.0)
    allowed = "0 or more"
    if name in ("success", "score"):
        bad |= numbers > 1.0
        allowed = "0 to 1"
    if name == "tool_call_valid":
        bad |= ~np.isnan(numbers) & (numbers != 0.0) & (numbers != 1.0)
        allowed = "true or false"
    count(problems, f"outcome: {name} is not {allowed} (cell ignored)", bad)
    cleaned: Floats = np.where(bad, np.nan, numbers)
    if name.endswith("_tokens"):
        cleaned[:] = np.round(cleaned)
    return cleaned
