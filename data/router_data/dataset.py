"""Builds `Rounds` from interchange tables or from the log."""

from collections import Counter
from pathlib import Path

import numpy as np

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
from router_data.tables import TableOutcomes, TableRequest, Tables, read_tables
from router_model import features
from router_model.errors import DatasetError

__all__ = ["Rounds", "rounds_from_tables"]

IMPORT_TENANT = "import"


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
    adequate = adequacies(
        outcomes.verdict[rows],
        reward=outcomes.reward[rows],
        is_error=np.array([error is not None for error in outcomes.error[rows]], dtype=bool),
        tool_call_valid=outcomes.tool_call_valid[rows],
        rule=rule,
    )
    return Rounds(
        models=tuple(models.tolist()),
        feature_schema=features.SCHEMA.hash,
        encoder=encoder.hash,
        features=np.stack([context.features for _, context, _ in present]),
        embedding=np.stack([context.embedding for _, context, _ in present]),
        decision_id=_texts([key for _, _, key in present]),
        tenant=_texts([tenant] * len(present)),
        session=_texts([import_session(request) for request, _, _ in present]),
        group=_texts([request.group for request, _, _ in present]),
        task=_texts([request.task for request, _, _ in present]),
        dataset=_texts([request.dataset for request, _, _ in present]),
        step_type=_texts([context.step_type for _, context, _ in present]),
        request_hash=_texts([request.content_hash for request, _, _ in present]),
        estimated_input_tokens=np.array([c.input_tokens for _, c, _ in present], dtype=np.int64),
        ts_ms=np.array([import_time(request) for request, _, _ in present], dtype=np.int64),
        context_index=context_index[rows],
        model_index=model_index.astype(np.int64).reshape(-1),
        attempt=outcomes.attempt[rows],
        adequate=adequate,
        reward=rewards(adequate, reward=outcomes.reward[rows]),
        cost_usd=outcomes.cost_usd[rows],
        input_tokens=outcomes.input_tokens[rows],
        cached_tokens=outcomes.cached_tokens[rows],
        output_tokens=outcomes.output_tokens[rows],
        latency_ms=outcomes.latency_ms[rows],
        tool_call_latency_ms=outcomes.tool_call_latency_ms[rows],
        tool_call_valid=outcomes.tool_call_valid[rows],
        propensity=np.ones(len(rows)),
        skipped=dict(problems),
    )


def _texts(values: list[str]) -> Texts:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
