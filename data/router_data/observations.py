"""Reads decisions with their outcomes from the log, sorts out what is unusable, judges the rest."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data.credit import session_ends, steps_from_end, with_session_credit
from router_data.quarantine import read_quarantine
from router_data.rewards import (
    SESSION_SIGNAL,
    SIGNALS,
    STEP_SIGNALS,
    AdequacyRule,
    Judged,
    judge,
    rewards,
)
from router_data.store import Columns, Store
from router_model.types import StepType

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SIDE_CALLS = tuple(str(step) for step in StepType if step.is_side_call)
NUMBERS = (
    "cost_usd",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "latency_ms",
    "tool_call_latency_ms",
    "tool_call_valid",
    "propensity",
)
_BASE64 = re.compile("[A-Za-z0-9+/]+={0,2}")
STILL_OPEN = "decision: outcome window still open"
# Where a live decision has no dataset, task or group: its origin, step type and session.
_CONTEXTS = """
    select tenant, decision_id, ts_ms, coalesce(step_type, 'main') as step_type,
           features, embedding, feature_schema, encoder,
           coalesce("key", '') as "key", coalesce("session", decision_id) as "session",
           coalesce("group", "session", decision_id) as "group",
           coalesce(task, step_type, 'main') as task, coalesce(dataset, 'log') as dataset,
           coalesce(request_hash, '') as request_hash,
           coalesce(input_tokens, 0) as estimated_input_tokens,
           coalesce(feedback, 'bandit') as feedback, coalesce(model, '') as model, propensity
           {more}
    from (select *{parsed} from decisions_until(?))
    where ? is null or tenant = ?
    order by tenant, decision_id
"""
_PARSED = ", options(candidates) as options"
_ROWS = f"""
    select tenant, decision_id, coalesce(attempt, 0) as attempt, model, outcome_ts_ms,
           adequate::int::double as verdict, reward, error is not null as is_error, cost_usd,
           input_tokens::double as input_tokens, cached_tokens::double as cached_tokens,
           output_tokens::double as output_tokens, latency_ms, tool_call_latency_ms,
           tool_call_valid::int::double as tool_call_valid, propensity,
           {", ".join(f"signal(signals, '$.{name}') as {name}" for name in SIGNALS)}
    from rounds_until(?)
    where ? is null or tenant = ?
    order by tenant, decision_id, attempt
"""


@dataclass(frozen=True)
class Observations:
    """Usable decisions, and one row for each usable outcome or drawn action without any.

    `contexts` and `rows` are columns of the log; `context_index` points from rows to contexts.
    Contexts are ordered by (tenant, decision_id), rows by (context, attempt). `is_open` marks
    contexts that are too young to be judged. `skipped` counts what is left out, by reason.
    """

    contexts: Columns
    rows: Columns
    context_index: Ints
    judged: Judged
    reward: Floats
    is_open: Bools
    skipped: Counter[str]

    def of_contexts(self, keep: Bools) -> "Observations":
        """The observations of the contexts where `keep` is true."""
        rows = keep[self.context_index]
        return Observations(
            contexts={name: values[keep] for name, values in self.contexts.items()},
            rows={name: values[rows] for name, values in self.rows.items()},
            context_index=(np.cumsum(keep) - 1)[self.context_index[rows]],
            judged=self.judged.select(rows),
            reward=self.reward[rows],
            is_open=self.is_open[keep],
            skipped=self.skipped,
        )


def observe(
    store: Store,
    *,
    rule: AdequacyRule,
    tenant: str | None = None,
    until_ms: int | None = None,
    more: str = "",
) -> Observations:
    """What can be learned from of what was written before `until_ms`, of one tenant or all.

    `more` names further columns of decisions, each expression after a comma; `options` are the
    parsed candidates.
    """
    sql = _CONTEXTS.format(more=more, parsed=_PARSED if more else "")
    contexts = store.arrays(sql, (until_ms, tenant, tenant))
    rows = store.arrays(_ROWS, (until_ms, tenant, tenant))
    quarantine = read_quarantine(store, tenant=tenant, until_ms=until_ms)
    keep = quarantine.keeps_decisions(contexts)
    contexts = {name: values[keep] for name, values in contexts.items()}
    index = _row_contexts(contexts, rows)
    kept = (index >= 0) & quarantine.keeps_outcomes(rows)
    rows = {name: values[kept] for name, values in rows.items()}
    newest_ms = _newest(contexts, rows) if until_ms is None else until_ms
    rows, index = _with_unobserved(contexts, rows, index[kept])
    judged, is_open = _judge(contexts, rows, index, rule=rule, newest_ms=newest_ms)
    return Observations(
        contexts=contexts,
        rows=rows,
        context_index=index,
        judged=judged,
        reward=rewards(judged.adequate, reward=numbers(rows, "reward")),
        is_open=is_open,
        skipped=Counter(quarantine.counts),
    )


def numbers(columns: Columns, name: str) -> Floats:
    """A column as floats."""
    return columns[name].astype(np.float64)


def matching(observations: Observations, *, schema: str, encoder: str | None) -> Observations:
    """The observations with features of `schema` and embeddings of `encoder`.

    The most frequent encoder when None is given. What is left out is counted in `skipped`.
    """
    contexts = observations.contexts
    has_row = np.zeros(len(contexts["decision_id"]), dtype=bool)
    has_row[observations.context_index] = True
    has_features = contexts["features"] != None  # noqa: E711
    has_schema = (contexts["feature_schema"] == schema) & has_features
    has_vector = contexts["embedding"] != None  # noqa: E711
    usable = has_schema & has_vector & has_row
    if encoder is None and usable.any():
        names, counts = np.unique(contexts["encoder"][usable].astype(str), return_counts=True)
        encoder = str(names[counts.argmax()])
    has_encoder = has_schema & has_vector & (contexts["encoder"] == encoder)
    is_broken = _is_unreadable(contexts["features"], has_encoder)
    is_broken |= _is_unreadable(contexts["embedding"], has_encoder)
    keep = has_encoder & ~is_broken & has_row
    reasons = {
        "decision: logged without its request": ~has_features,
        "decision: features of another schema": has_features & ~has_schema,
        "decision: embedding of another encoder": has_schema & ~has_encoder,
        "decision: features or embedding unreadable": is_broken,
        "decision: no outcome": has_encoder & ~is_broken & ~has_row,
        STILL_OPEN: keep & observations.is_open,
    }
    found = {reason: int(mask.sum()) for reason, mask in reasons.items() if mask.any()}
    observations.skipped.update(found)
    return observations.of_contexts(keep)


def _is_unreadable(texts: NDArray[Any], among: Bools) -> Bools:
    """True for texts that are no base64 or not as long as most of `among`; False outside of it."""
    lengths = np.array(
        [
            len(text) if used and _BASE64.fullmatch(text) else 0
            for text, used in zip(texts, among, strict=True)
        ]
    )
    if not among.any():
        return among.copy()
    sizes, counts = np.unique(lengths[among], return_counts=True)
    odd: Bools = among & (lengths != sizes[counts.argmax()])
    return odd


def _newest(contexts: Columns, rows: Columns) -> float:
    times = np.concatenate([numbers(contexts, "ts_ms"), numbers(rows, "outcome_ts_ms"), [0.0]])
    return float(np.nanmax(times))


def _row_contexts(contexts: Columns, rows: Columns) -> Ints:
    """Each row's context; -1 where the context is left out or came in later."""
    pairs = zip(contexts["tenant"], contexts["decision_id"], strict=True)
    position = {pair: index for index, pair in enumerate(pairs)}
    keys = zip(rows["tenant"], rows["decision_id"], strict=True)
    return np.array([position.get(key, -1) for key in keys], dtype=np.int64)


def _with_unobserved(contexts: Columns, rows: Columns, index: Ints) -> tuple[Columns, Ints]:
    """The rows, and one more for each drawn action without any, where nothing was observed."""
    is_missing = contexts["feedback"] == "bandit"
    is_missing[index] = False
    added = np.flatnonzero(is_missing)
    n = len(added)
    filled: dict[str, Any] = {name: np.full(n, np.nan) for name in rows}
    for name in ("tenant", "decision_id", "model"):
        filled[name] = contexts[name][added]
    filled |= {"attempt": np.zeros(n, dtype=np.int64), "is_error": np.zeros(n, dtype=bool)}
    filled["propensity"] = contexts["propensity"][added]
    every = np.concatenate([index, added])
    joined = {name: np.concatenate([values, filled[name]]) for name, values in rows.items()}
    order = np.lexsort((joined["attempt"].astype(np.int64), every))
    return {name: values[order] for name, values in joined.items()}, every[order]


def _judge(
    contexts: Columns, rows: Columns, index: Ints, *, rule: AdequacyRule, newest_ms: float
) -> tuple[Judged, Bools]:
    """Labels of the rows by all evidence there is, and which contexts have to wait for more."""
    judged = judge(
        numbers(rows, "verdict"),
        reward=numbers(rows, "reward"),
        is_error=rows["is_error"].astype(bool),
        tool_call_valid=numbers(rows, "tool_call_valid"),
        signals={name: numbers(rows, name) for name in STEP_SIGNALS},
        rule=rule,
    )
    succeeded = numbers(rows, SESSION_SIGNAL)
    is_live = contexts["feedback"] != "full"
    if rule.session_succeeded > 0 and not np.isnan(succeeded).all():
        session = _sessions(contexts)
        end = session_ends(
            session[index],
            succeeded=succeeded,
            ts_ms=numbers(rows, "outcome_ts_ms"),
            n_sessions=len(session),
        )
        steps = steps_from_end(
            session,
            ts_ms=contexts["ts_ms"].astype(np.int64),
            is_side_call=np.isin(contexts["step_type"].astype(str), SIDE_CALLS) | ~is_live,
        )
        judged = with_session_credit(
            judged, end=end[session[index]], steps_left=steps[index], rule=rule
        )
    is_young = is_live & (numbers(contexts, "ts_ms") > newest_ms - 1000 * rule.outcome_window_s)
    if rule.outcome_window_s <= 0:
        is_young[:] = False
    return _censored(judged, index, is_young)


def _sessions(contexts: Columns) -> Ints:
    """The number of each context's session; tenants share none."""
    known: dict[tuple[str, str], int] = {}
    pairs = zip(contexts["tenant"], contexts["session"], strict=True)
    return np.array([known.setdefault(pair, len(known)) for pair in pairs], dtype=np.int64)


def _censored(judged: Judged, index: Ints, is_young: Bools) -> tuple[Judged, Bools]:
    """The labels without those of young contexts that have no verdict or reward."""
    is_explicit = np.zeros(len(is_young), dtype=bool)
    is_explicit[index[judged.is_explicit]] = True
    is_open = is_young & ~is_explicit
    waits = is_open[index]
    adequate = np.where(waits, np.nan, judged.adequate)
    weight = np.where(waits, np.nan, judged.weight)
    return judged._replace(
        adequate=adequate, weight=weight, is_fact=judged.is_fact & ~waits
    ), is_open
