"""What calls looked like before they were made, and how the models behaved, one row an outcome."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data.observations import SIDE_CALLS, observe
from router_data.rewards import DEFAULT_RULE, AdequacyRule
from router_data.rows import decode_features
from router_data.store import Store
from router_model.features import SCHEMA
from router_model.schema_complexity import schema_complexities

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Texts = NDArray[np.object_]

# The load is what a service counts: calls sent to the model, whoever asked, in the minute before.
# Probes are real calls too; imports were made elsewhere, at times that are made up.
# What the caller expected of the call is preferred to what became of it, for no more is known
# when a latency has to be predicted; where nothing was expected (imports), the usual output of
# the model at such steps stands for it.
_CALLS = """
    with sent as (
        select tenant, decision_id, candidates, snapshot, model, requested_model, policy, reason,
               is_live,
               coalesce(step_type, 'main') as step_type,
               count(*) filter (is_live) over (
                   partition by model order by ts_ms
                   range between 60000 preceding and 1 preceding
               ) as load
        from (select *, coalesce(dataset, 'probe') = 'probe' as is_live from decisions_until(?))
    ),
    others as (
        select o.tenant, o.decision_id, coalesce(o.attempt, 0) as attempt, d.is_live, d.step_type,
               model_served(o.model, d.model, d.snapshot, d.requested_model, d.policy, d.reason)
                   as model,
               case when d.is_live then d.load else 0 end as load, o."usage" as used,
               o.n_tool_calls, o.n_tool_call_chunks,
               case when json_extract_string(o.signals, '$.probe') = 'context'
                    then nullif(signal(o.signals, '$.prefix_tokens'), 0) end as probe_tokens,
               from_json(d.candidates, '[{"model": "VARCHAR", "output_tokens": "DOUBLE",
                                          "cached_tokens": "DOUBLE", "p_warm": "DOUBLE"}]')
                   as options
        from outcomes_until(?) o
        join sent d on d.tenant = o.tenant and d.decision_id = o.decision_id
    ),
    expected as (
        select * exclude (options), list_filter(options, lambda x: x.model = others.model)[1] as own
        from others
    )
    select tenant, decision_id, attempt, is_live, load, n_tool_calls::double as n_tool_calls,
           n_tool_call_chunks::double as n_tool_call_chunks, probe_tokens,
           coalesce(own.cached_tokens * coalesce(own.p_warm, 1.0), used.cached_tokens, 0)::double
               as cached_tokens,
           coalesce(own.output_tokens,
                    median(used.output_tokens) over (partition by model, step_type))::double
               as output_tokens
    from expected
    where ? is null or tenant = ?
"""
_JOINED = (
    "load",
    "n_tool_calls",
    "n_tool_call_chunks",
    "probe_tokens",
    "cached_tokens",
    "output_tokens",
)


@dataclass(frozen=True)
class BehaviourTable:
    """Columns of length n, ordered by time; NaN is "not observed".

    Known before: `model`, `session` (a number), `step_type`, `dataset` ("log" for live calls),
    `ts_ms`, `input_tokens` as estimated, `cached_tokens` and `output_tokens` as expected, `load`
    (calls sent to the model in the 60 s before), `complexity` of the schemas, `features`
    (n, n_features; NaN rows where another version computed them), `probe_tokens` (prefix of a
    probe of the context window, NaN for traffic). Observed: latencies in ms, `adequate` with its
    `weight`, `tool_call_valid`, `n_tool_calls`, `n_tool_call_chunks`.
    """

    model: Texts
    session: Ints
    step_type: Texts
    dataset: Texts
    is_side_call: Bools
    ts_ms: Ints
    input_tokens: Floats
    cached_tokens: Floats
    output_tokens: Floats
    load: Floats
    complexity: Floats
    features: Floats
    probe_tokens: Floats
    tool_call_latency_ms: Floats
    latency_ms: Floats
    adequate: Floats
    weight: Floats
    tool_call_valid: Floats
    n_tool_calls: Floats
    n_tool_call_chunks: Floats

    @property
    def n(self) -> int:
        """How many outcomes there are."""
        return len(self.model)

    def select(self, mask: Bools) -> "BehaviourTable":
        """The rows where `mask` is true."""
        return BehaviourTable(**{name: values[mask] for name, values in vars(self).items()})


def load_behaviour(
    state: Path,
    *,
    rule: AdequacyRule = DEFAULT_RULE,
    tenant: str | None = None,
    until_ms: int | None = None,
) -> BehaviourTable:
    """The outcomes of a state or log folder written before `until_ms`; what is quarantined is out.

    Decisions without any outcome count in the load, but have no row.
    """
    with Store(state) as store:
        found = observe(store, rule=rule, tenant=tenant, until_ms=until_ms)
        calls = store.arrays(_CALLS, (until_ms, until_ms, tenant, tenant))
    rows, index = found.rows, found.context_index
    place = _places(calls, rows)
    order = np.flatnonzero(place >= 0)
    order = order[np.argsort(found.contexts["ts_ms"][index[order]], kind="stable")]
    context, place = index[order], place[order]
    contexts = {name: values[context] for name, values in found.contexts.items()}
    features = _features(found.contexts)[context]
    joined: dict[str, Any] = {name: calls[name].astype(np.float64)[place] for name in _JOINED}
    observed: dict[str, Any] = {
        name: rows[name].astype(np.float64)[order]
        for name in ("tool_call_latency_ms", "latency_ms", "tool_call_valid")
    }
    return BehaviourTable(
        model=rows["model"][order].astype(object),
        session=_numbered(contexts["tenant"], contexts["session"]),
        step_type=contexts["step_type"].astype(object),
        dataset=contexts["dataset"].astype(object),
        is_side_call=np.isin(contexts["step_type"].astype(str), SIDE_CALLS),
        ts_ms=contexts["ts_ms"].astype(np.int64),
        input_tokens=contexts["estimated_input_tokens"].astype(np.float64),
        features=features,
        complexity=schema_complexities(features),
        adequate=found.judged.adequate[order],
        weight=found.judged.weight[order],
        **joined,
        **observed,
    )


def _places(calls: dict[str, Any], rows: dict[str, Any]) -> Ints:
    """Where each row's call is among `calls`; -1 for drawn actions without an outcome."""
    names = ("tenant", "decision_id", "attempt")
    keys = zip(*(calls[name].tolist() for name in names), strict=True)
    known = {key: place for place, key in enumerate(keys)}
    asked = zip(*(rows[name].tolist() for name in names), strict=True)
    return np.array([known.get(key, -1) for key in asked], dtype=np.int64)


def _features(contexts: dict[str, Any]) -> Floats:
    """Features of every context; rows of NaN where they are missing or of another schema."""
    table = np.full((len(contexts["features"]), SCHEMA.n), np.nan)
    is_ours = contexts["feature_schema"] == SCHEMA.hash
    for row in np.flatnonzero(is_ours).tolist():
        try:
            values = decode_features([contexts["features"][row]])[0]
        except (ValueError, TypeError):
            continue
        if len(values) == SCHEMA.n:
            table[row] = values
    return table


def _numbered(tenant: Texts, session: Texts) -> Ints:
    known: dict[tuple[str, str], int] = {}
    pairs = zip(tenant, session, strict=True)
    return np.array([known.setdefault(pair, len(known)) for pair in pairs], dtype=np.int64)
