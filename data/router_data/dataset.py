"""Builds `Rounds` from the log or straight from interchange tables."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data.contexts import (
    TableContext,
    TextEncoder,
    import_id,
    import_session,
    import_time,
    table_contexts,
)
from router_data.rewards import DEFAULT_RULE, AdequacyRule, adequacies, rewards
from router_data.rounds import Ints, Rounds, Texts
from router_data.rows import decode_embeddings, decode_features
from router_data.store import Columns, Store
from router_data.tables import TableOutcomes, TableRequest, Tables, read_tables
from router_model import features
from router_model.errors import DatasetError

__all__ = ["Rounds", "load_rounds", "rounds_from_tables"]

IMPORT_TENANT = "import"
_OBSERVED = (
    "cost_usd",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "latency_ms",
    "tool_call_latency_ms",
    "tool_call_valid",
)
_TEXTS = (
    "decision_id",
    "tenant",
    "key",
    "session",
    "group",
    "task",
    "dataset",
    "step_type",
    "request_hash",
)
# Where a live decision has no dataset, task or group: its origin, step type and session.
_CONTEXTS = """
    select tenant, decision_id, ts_ms, step_type, features, embedding, feature_schema, encoder,
           coalesce("key", '') as "key", coalesce("session", decision_id) as "session",
           coalesce("group", "session", decision_id) as "group",
           coalesce(task, step_type, 'main') as task, coalesce(dataset, 'log') as dataset,
           coalesce(request_hash, '') as request_hash,
           coalesce(input_tokens, 0) as estimated_input_tokens
    from decisions_until(?)
    where ? is null or tenant = ?
    order by tenant, decision_id
"""
_ROWS = """
    select tenant, decision_id, attempt, model, adequate::int::double as verdict, reward,
           error is not null as is_error, cost_usd, input_tokens::double as input_tokens,
           cached_tokens::double as cached_tokens, output_tokens::double as output_tokens,
           latency_ms, tool_call_latency_ms, tool_call_valid::int::double as tool_call_valid,
           propensity
    from rounds_until(?)
    where ? is null or tenant = ?
    order by tenant, decision_id, attempt
"""


def load_rounds(
    path: Path,
    *,
    rule: AdequacyRule = DEFAULT_RULE,
    tenant: str | None = None,
    until_ms: int | None = None,
    feature_schema: str | None = None,
    encoder: str | None = None,
) -> Rounds:
    """Rounds of a state or log folder, of what was written before `until_ms`.

    Contexts with other features than `feature_schema` (this version's when not given), with
    other embeddings than `encoder` (the most frequent one when not given) or without any
    outcome are left out and counted in `skipped`.
    """
    schema = feature_schema or features.SCHEMA.hash
    with Store(path) as store:
        contexts = store.arrays(_CONTEXTS, (until_ms, tenant, tenant))
        rows = store.arrays(_ROWS, (until_ms, tenant, tenant))
    skipped: Counter[str] = Counter()
    index = _row_contexts(contexts, rows)
    keep = _matching(contexts, index, schema=schema, encoder=encoder, skipped=skipped)
    if not keep.any():
        raise DatasetError(f"{path}: no decision to learn from: {dict(skipped) or 'empty log'}")
    new_index = np.where(keep, np.cumsum(keep) - 1, -1)[index]
    kept = new_index >= 0
    chosen = {name: values[keep] for name, values in contexts.items()}
    usable = {name: values[kept] for name, values in rows.items()}
    return _log_rounds(chosen, usable, new_index[kept], rule=rule, skipped=skipped)


def _row_contexts(contexts: Columns, rows: Columns) -> Ints:
    """Each row's context; a row whose decision came in after the contexts were read has -1."""
    pairs = zip(contexts["tenant"], contexts["decision_id"], strict=True)
    position = {pair: index for index, pair in enumerate(pairs)}
    keys = zip(rows["tenant"], rows["decision_id"], strict=True)
    return np.array([position.get(key, -1) for key in keys], dtype=np.int64)


def _matching(
    contexts: Columns,
    row_contexts: Ints,
    *,
    schema: str,
    encoder: str | None,
    skipped: Counter[str],
) -> NDArray[np.bool_]:
    has_row = np.zeros(len(contexts["decision_id"]), dtype=bool)
    has_row[row_contexts[row_contexts >= 0]] = True
    has_schema = (contexts["feature_schema"] == schema) & (contexts["features"] != None)  # noqa: E711
    has_vector = contexts["embedding"] != None  # noqa: E711
    usable = has_schema & has_vector & has_row
    if encoder is None and usable.any():
        names, counts = np.unique(contexts["encoder"][usable].astype(str), return_counts=True)
        encoder = str(names[counts.argmax()])
    has_encoder = has_vector & (contexts["encoder"] == encoder)
    reasons = {
        "decision: features of another schema": ~has_schema,
        "decision: embedding of another encoder": has_schema & ~has_encoder,
        "decision: no outcome": has_schema & has_encoder & ~has_row,
    }
    skipped.update({reason: int(mask.sum()) for reason, mask in reasons.items() if mask.any()})
    matching: NDArray[np.bool_] = has_schema & has_encoder & has_row
    return matching


def _log_rounds(
    contexts: Columns,
    rows: Columns,
    context_index: Ints,
    *,
    rule: AdequacyRule,
    skipped: Counter[str],
) -> Rounds:
    models, model_index = np.unique(rows["model"].astype(object), return_inverse=True)
    numbers: dict[str, Any] = {
        name: rows[name].astype(np.float64) for name in (*_OBSERVED, "propensity")
    }
    adequate = adequacies(
        rows["verdict"].astype(np.float64),
        reward=rows["reward"].astype(np.float64),
        is_error=rows["is_error"].astype(bool),
        tool_call_valid=numbers["tool_call_valid"],
        rule=rule,
    )
    texts: dict[str, Any] = {name: contexts[name].astype(object) for name in _TEXTS}
    return Rounds(
        models=tuple(models.tolist()),
        feature_schema=str(contexts["feature_schema"][0]),
        encoder=str(contexts["encoder"][0]),
        features=decode_features(contexts["features"].tolist()),
        embedding=decode_embeddings(contexts["embedding"].tolist()),
        estimated_input_tokens=contexts["estimated_input_tokens"].astype(np.int64),
        ts_ms=contexts["ts_ms"].astype(np.int64),
        context_index=context_index,
        model_index=model_index.astype(np.int64).reshape(-1),
        attempt=rows["attempt"].astype(np.int64),
        adequate=adequate,
        reward=rewards(adequate, reward=rows["reward"].astype(np.float64)),
        weight=np.where(np.isnan(adequate), np.nan, 1.0),
        skipped=dict(skipped),
        **texts,
        **numbers,
    )


def rounds_from_tables(
    folder: Path,
    *,
    encoder: TextEncoder,
    group_by: str | None = None,
    rule: AdequacyRule = DEFAULT_RULE,
    tenant: str = IMPORT_TENANT,
    progress: bool = True,
) -> Rounds:
    """Rounds of an interchange folder, every model's outcomes kept (propensity 1).

    Equal to importing the folder with full feedback into an empty log and loading that.
    """
    tables = read_tables(folder, group_by=group_by)
    problems = Counter(tables.problems)
    contexts = table_contexts(
        tables.requests, encoder=encoder, problems=problems, progress=progress
    )
    usable = _usable(tables, contexts, problems)
    ids = [import_id(request, policy="full", seed=0) for request in tables.requests]
    order = np.array(sorted(usable, key=lambda index: ids[index]), dtype=np.int64)
    new_index = np.full(len(ids), -1, dtype=np.int64)
    new_index[order] = np.arange(len(order))
    chosen = [(tables.requests[i], contexts[i], ids[i]) for i in order]
    present = [(request, context, key) for request, context, key in chosen if context is not None]
    return _rounds(
        present,
        tables.outcomes,
        new_index[tables.outcomes.request_index],
        rule=rule,
        tenant=tenant,
        encoder=encoder,
        problems=problems,
    )


def _usable(
    tables: Tables, contexts: list[TableContext | None], problems: Counter[str]
) -> list[int]:
    """Positions of the requests that have a context and at least one outcome."""
    has_outcome = np.zeros(len(contexts), dtype=bool)
    has_outcome[tables.outcomes.request_index] = True
    has_context = np.array([context is not None for context in contexts], dtype=bool)
    if n := int((~has_context)[tables.outcomes.request_index].sum()):
        problems["outcome: its request is unreadable"] += n
    if n := int((has_context & ~has_outcome).sum()):
        problems["request: no outcome"] += n
    usable = np.flatnonzero(has_context & has_outcome).tolist()
    if not usable:
        raise DatasetError(f"no request with a readable body and an outcome: {dict(problems)}")
    return usable


def _rounds(
    present: list[tuple[TableRequest, TableContext, str]],
    outcomes: TableOutcomes,
    context_index: Ints,
    *,
    rule: AdequacyRule,
    tenant: str,
    encoder: TextEncoder,
    problems: Counter[str],
) -> Rounds:
    rows = np.flatnonzero(context_index >= 0)
    rows = rows[np.lexsort((outcomes.attempt[rows], context_index[rows]))]
    models, model_index = np.unique(outcomes.model[rows], return_inverse=True)
    numbers: dict[str, Any] = {name: getattr(outcomes, name)[rows] for name in _OBSERVED}
    adequate = adequacies(
        outcomes.verdict[rows],
        reward=outcomes.reward[rows],
        is_error=np.array([error is not None for error in outcomes.error[rows]], dtype=bool),
        tool_call_valid=numbers["tool_call_valid"],
        rule=rule,
    )
    return Rounds(
        models=tuple(models.tolist()),
        feature_schema=features.SCHEMA.hash,
        encoder=encoder.hash,
        context_index=context_index[rows],
        model_index=model_index.astype(np.int64).reshape(-1),
        attempt=outcomes.attempt[rows],
        adequate=adequate,
        reward=rewards(adequate, reward=outcomes.reward[rows]),
        propensity=np.ones(len(rows)),
        weight=np.where(np.isnan(adequate), np.nan, 1.0),
        skipped=dict(problems),
        **_context_columns(present, tenant=tenant),
        **numbers,
    )


def _context_columns(
    present: list[tuple[TableRequest, TableContext, str]], *, tenant: str
) -> dict[str, Any]:
    requests = [request for request, _, _ in present]
    contexts = [context for _, context, _ in present]
    return {
        "features": np.stack([context.features for context in contexts]),
        "embedding": np.stack([context.embedding for context in contexts]),
        "decision_id": _texts([key for _, _, key in present]),
        "tenant": _texts([tenant] * len(present)),
        "key": _texts([""] * len(present)),
        "session": _texts([import_session(request) for request in requests]),
        "group": _texts([request.group for request in requests]),
        "task": _texts([request.task for request in requests]),
        "dataset": _texts([request.dataset for request in requests]),
        "step_type": _texts([context.step_type for context in contexts]),
        "request_hash": _texts([request.content_hash for request in requests]),
        "estimated_input_tokens": np.array([c.input_tokens for c in contexts], dtype=np.int64),
        "ts_ms": np.array([import_time(request) for request in requests], dtype=np.int64),
    }


def _texts(values: list[str]) -> Texts:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
