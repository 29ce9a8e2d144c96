"""Builds `Rounds` from the log or straight from interchange tables."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from router_data.contexts import (
    TableContext,
    TextEncoder,
    import_id,
    import_session,
    import_time,
    table_contexts,
)
from router_data.observations import NUMBERS, Observations, matching, numbers, observe
from router_data.rewards import DEFAULT_RULE, AdequacyRule, judge, rewards
from router_data.rounds import Ints, Rounds, Texts
from router_data.rows import PROBE_DATASET, decode_embeddings, decode_features
from router_data.store import Store
from router_data.tables import TableOutcomes, TableRequest, Tables, read_tables
from router_model import features
from router_model.errors import DatasetError

__all__ = ["Rounds", "load_rounds", "rounds_from_tables"]

IMPORT_TENANT = "import"
_OBSERVED = tuple(name for name in NUMBERS if name != "propensity")
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

    What is in quarantine, contexts with other features than `feature_schema` (this version's
    when not given) or other embeddings than `encoder` (the most frequent one when not given), and
    those without any outcome are left out and counted in `skipped`. Live decisions are kept
    without outcome too, so that missing outcomes can be modelled.
    """
    with Store(path) as store:
        found = observe(store, rule=rule, tenant=tenant, until_ms=until_ms)
    found = _without_probes(found)
    used = matching(found, schema=feature_schema or features.SCHEMA.hash, encoder=encoder)
    if not len(used.contexts["decision_id"]):
        raise DatasetError(
            f"{path}: no decision to learn from: {dict(used.skipped) or 'empty log'}"
        )
    return _log_rounds(used)


def _without_probes(found: Observations) -> Observations:
    """Without what `router-data probe` logged: its tasks are made up, and no traffic."""
    is_probe = found.contexts["dataset"].astype(str) == PROBE_DATASET
    if not is_probe.any():
        return found
    found.skipped["decision: made by a probe"] += int(is_probe.sum())
    return found.of_contexts(~is_probe)


def _log_rounds(used: Observations) -> Rounds:
    contexts, rows = used.contexts, used.rows
    models, model_index = np.unique(rows["model"].astype(object), return_inverse=True)
    plain: dict[str, Any] = {name: contexts[name].astype(object) for name in _TEXTS}
    plain |= {name: numbers(rows, name) for name in NUMBERS}
    return Rounds(
        models=tuple(models.tolist()),
        feature_schema=str(contexts["feature_schema"][0]),
        encoder=str(contexts["encoder"][0]),
        features=decode_features(contexts["features"].tolist()),
        embedding=decode_embeddings(contexts["embedding"].tolist()),
        estimated_input_tokens=contexts["estimated_input_tokens"].astype(np.int64),
        ts_ms=contexts["ts_ms"].astype(np.int64),
        context_index=used.context_index,
        model_index=model_index.astype(np.int64).reshape(-1),
        attempt=rows["attempt"].astype(np.int64),
        adequate=used.judged.adequate,
        reward=used.reward,
        weight=used.judged.weight,
        skipped=dict(used.skipped),
        **plain,
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
    observed: dict[str, Any] = {name: getattr(outcomes, name)[rows] for name in _OBSERVED}
    judged = judge(
        outcomes.verdict[rows],
        reward=outcomes.reward[rows],
        is_error=np.array([error is not None for error in outcomes.error[rows]], dtype=bool),
        tool_call_valid=observed["tool_call_valid"],
        signals={},
        rule=rule,
    )
    return Rounds(
        models=tuple(models.tolist()),
        feature_schema=features.SCHEMA.hash,
        encoder=encoder.hash,
        context_index=context_index[rows],
        model_index=model_index.astype(np.int64).reshape(-1),
        attempt=outcomes.attempt[rows],
        adequate=judged.adequate,
        reward=rewards(judged.adequate, reward=outcomes.reward[rows]),
        propensity=np.ones(len(rows)),
        weight=judged.weight,
        skipped=dict(problems),
        **_context_columns(present, tenant=tenant),
        **observed,
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
