"""The columnar dataset that training and evaluation read."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from router_model.errors import DatasetError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.object_]
Column = Literal[
    "adequate",
    "reward",
    "cost_usd",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "latency_ms",
    "tool_call_latency_ms",
    "tool_call_valid",
    "propensity",
    "weight",
]

CONTEXT_COLUMNS = (
    "features",
    "embedding",
    "decision_id",
    "tenant",
    "key",
    "session",
    "group",
    "task",
    "dataset",
    "step_type",
    "request_hash",
    "estimated_input_tokens",
    "ts_ms",
)
ROW_COLUMNS = (
    "attempt",
    "adequate",
    "reward",
    "cost_usd",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "latency_ms",
    "tool_call_latency_ms",
    "tool_call_valid",
    "propensity",
    "weight",
)


@dataclass(frozen=True)
class Rounds:
    """Outcomes of decisions, one row per (decision, attempt), contexts kept once.

    Row arrays have length `n_rows`; `context_index` points into the context arrays, and
    `model_index` into `models` (sorted names). NaN means "not observed" in every float column.
    Costs are US dollars, token counts are tokens, times are milliseconds. `input_tokens` is
    what the provider counted, `estimated_input_tokens` what the features estimated beforehand.
    `propensity` is 1 where every model's outcome is known (an imported matrix) and NaN where the
    logging policy did not draw (fallbacks after a failure, the log of another gateway):
    off-policy estimators must leave those out. `weight` in (0, 1] says how sure the label is (see
    `rewards`), NaN where there is none. A drawn action whose outcome never came has a row with
    its propensity and nothing else, so that missing outcomes can be modelled. `skipped` counts
    what was left out when the data were read, by reason. Contexts are ordered by (tenant,
    decision_id), rows by (context, attempt). `key` is the caller's, "" where none was named.
    """

    models: tuple[str, ...]
    feature_schema: str
    encoder: str
    # one entry per context
    features: NDArray[np.float32]
    embedding: NDArray[np.float32]
    decision_id: Texts
    tenant: Texts
    key: Texts
    session: Texts
    group: Texts
    task: Texts
    dataset: Texts
    step_type: Texts
    request_hash: Texts
    estimated_input_tokens: Ints
    ts_ms: Ints
    # one entry per row
    context_index: Ints
    model_index: Ints
    attempt: Ints
    adequate: Floats
    reward: Floats
    cost_usd: Floats
    input_tokens: Floats
    cached_tokens: Floats
    output_tokens: Floats
    latency_ms: Floats
    tool_call_latency_ms: Floats
    tool_call_valid: Floats
    propensity: Floats
    weight: Floats
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in CONTEXT_COLUMNS:
            self._require_length(name, self.n_contexts)
        for name in ("model_index", *ROW_COLUMNS):
            self._require_length(name, self.n_rows)

    @property
    def n_contexts(self) -> int:
        """How many contexts there are."""
        return len(self.decision_id)

    @property
    def n_rows(self) -> int:
        """How many outcomes there are."""
        return len(self.context_index)

    @property
    def n_observed(self) -> int:
        """How many contexts have a row whose reward or adequacy was observed."""
        observed = np.isfinite(self.reward) | np.isfinite(self.adequate)
        return len(np.unique(self.context_index[observed]))

    @cached_property
    def model(self) -> Texts:
        """Each row's model name."""
        return np.array(self.models, dtype=object)[self.model_index]

    def matrix(self, column: Column, models: Sequence[str] | None = None) -> Floats:
        """Values by (context, model), several attempts averaged, NaN where none was observed.

        The columns follow `models` (all, sorted, when not given); a name without any row
        gives a column of NaN.
        """
        names = self.models if models is None else tuple(models)
        position = {name: index for index, name in enumerate(names)}
        target = np.array([position.get(name, -1) for name in self.models], dtype=np.int64)
        values: Floats = getattr(self, column)
        place = target[self.model_index] if self.n_rows else self.model_index
        used = (place >= 0) & ~np.isnan(values)
        cell = self.context_index[used] * len(names) + place[used]
        size = self.n_contexts * len(names)
        count = np.bincount(cell, minlength=size)
        total = np.bincount(cell, weights=values[used], minlength=size)
        mean = np.divide(total, count, out=np.full(size, np.nan), where=count > 0)
        table: Floats = mean.reshape(self.n_contexts, len(names))
        return table

    def select(self, context_mask: NDArray[np.bool_]) -> "Rounds":
        """The rounds of the contexts where `context_mask` is true; `models` stays the same."""
        if context_mask.shape != (self.n_contexts,):
            raise DatasetError(
                f"context_mask: got shape {context_mask.shape}, expected ({self.n_contexts},)"
            )
        new_index = np.cumsum(context_mask) - 1
        rows = context_mask[self.context_index]
        chosen = {name: getattr(self, name)[context_mask] for name in CONTEXT_COLUMNS}
        chosen |= {name: getattr(self, name)[rows] for name in ("model_index", *ROW_COLUMNS)}
        return replace(self, context_index=new_index[self.context_index[rows]], **chosen)

    def select_models(self, models: Sequence[str]) -> "Rounds":
        """The rows of the given models only; every context stays."""
        names = tuple(sorted(set(models) & set(self.models)))
        position = {name: index for index, name in enumerate(names)}
        target = np.array([position.get(name, -1) for name in self.models], dtype=np.int64)
        place = target[self.model_index] if self.n_rows else self.model_index
        rows = place >= 0
        chosen = {name: getattr(self, name)[rows] for name in ("context_index", *ROW_COLUMNS)}
        return replace(self, models=names, model_index=place[rows], **chosen)

    @cached_property
    def snapshot_hash(self) -> str:
        """SHA-256 of the content; the same for any order of files, workers or lines."""
        digest = hashlib.sha256()
        digest.update(repr((self.feature_schema, self.encoder, self.models)).encode())
        for name in (*CONTEXT_COLUMNS, "context_index", "model_index", *ROW_COLUMNS):
            digest.update(name.encode())
            digest.update(_content(getattr(self, name)))
        return digest.hexdigest()

    def _require_length(self, name: str, expected: int) -> None:
        length = len(getattr(self, name))
        if length != expected:
            raise DatasetError(f"{name}: got {length} entries, expected {expected}")


def _content(values: NDArray[Any]) -> bytes:
    """Bytes that are equal exactly when the arrays are (every NaN counts as the same)."""
    if values.dtype == object:
        return msgspec.json.encode(values.tolist())
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.float32("nan").astype(values.dtype), values)
        values = values + 0.0  # -0.0 and 0.0 are one number
    return np.ascontiguousarray(values).tobytes()
