"""Live decisions as off-policy evaluation needs them: what was offered, drawn and observed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data.bills import with_bills
from router_data.observations import SIDE_CALLS, Observations, matching, numbers, observe
from router_data.rewards import DEFAULT_RULE, AdequacyRule
from router_data.rows import decode_embeddings, decode_features
from router_data.store import Columns, Store
from router_model import features
from router_model.catalog import Catalog
from router_model.errors import DatasetError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Texts = NDArray[np.object_]

_SEPARATOR = "\x1f"
_OPTIONS = f"""
    , coalesce(client, '') as client, min_adequacy, coalesce(versions.artifact, '') as artifact,
    array_to_string(list_transform(options, lambda x: x.model), '{_SEPARATOR}') as option_models,
    {
    ", ".join(
        f"list_transform(options, lambda x: coalesce(x.{name}, 'nan'::double)) as option_{name}"
        for name in ("probability", "p_adequate", "expected_cost", "tool_call_latency_ms")
    )
}
"""
_SHARED = ("models", "feature_schema", "encoder", "skipped")


class Evidence(IntEnum):
    """What is known of a decision's adequacy, from nothing at all to a verdict or reward.

    A fact is an error or an invalid tool call: every report would show it.
    """

    NOTHING = 0
    REPORTED = 1
    SIGNAL = 2
    FACT = 3
    VERDICT = 4


@dataclass(frozen=True)
class LoggedDecisions:
    """Decisions whose action was drawn with a known probability, one row for each.

    Columns of the (n, m) arrays follow `models`, the sorted names of all candidates. `candidates`
    says which were admissible; predictions (`p_adequate`, `expected_cost` in US dollars,
    `tool_call_latency_ms`) are those of the moment, NaN where a model was no candidate, and
    `distribution` holds the logged probabilities, 0 there. `action` is the column of the drawn
    model and `propensity` its probability. `min_adequacy` is the threshold in effect, NaN if none
    was logged. The outcome (`adequate`, `reward`, `cost_usd`, `latency_ms`,
    `tool_call_latency_ms_observed`) is that of the drawn model's first attempt, NaN where it was
    not observed; `weight` says how sure the label is, NaN where there is none, `evidence` (of
    `Evidence`) what it rests on, and `signal` what weak signals say, whether or not they decided:
    their weight, negative where they speak against. `skipped` counts what was left out, by reason.
    Rows are ordered by (tenant, decision_id).
    """

    models: tuple[str, ...]
    feature_schema: str
    encoder: str
    decision_id: Texts
    tenant: Texts
    key: Texts
    session: Texts
    step_type: Texts
    client: Texts
    dataset: Texts
    task: Texts
    ts_ms: Ints
    artifact: Texts
    features: NDArray[np.float32]
    embedding: NDArray[np.float32]
    is_side_call: Bools
    min_adequacy: Floats
    candidates: Bools
    p_adequate: Floats
    expected_cost: Floats
    tool_call_latency_ms: Floats
    distribution: Floats
    action: Ints
    propensity: Floats
    adequate: Floats
    reward: Floats
    cost_usd: Floats
    latency_ms: Floats
    tool_call_latency_ms_observed: Floats
    weight: Floats
    signal: Floats
    evidence: Ints
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self._columns():
            length = len(getattr(self, name))
            if length != self.n:
                raise DatasetError(f"{name}: got {length} entries, expected {self.n}")

    @property
    def n(self) -> int:
        """How many decisions there are."""
        return len(self.decision_id)

    @property
    def n_observed(self) -> int:
        """How many of them have an observed reward."""
        return int(np.isfinite(self.reward).sum())

    def select(self, mask: Bools) -> "LoggedDecisions":
        """The decisions where `mask` is true; `models` stays the same."""
        if mask.shape != (self.n,) or mask.dtype != np.bool_:
            raise DatasetError(
                f"mask: got {mask.dtype} of shape {mask.shape}, expected bool of ({self.n},)"
            )
        chosen: dict[str, Any] = {name: getattr(self, name)[mask] for name in self._columns()}
        return replace(self, **chosen)

    @classmethod
    def _columns(cls) -> list[str]:
        return [field.name for field in fields(cls) if field.name not in _SHARED]


def load_logged(
    state: Path,
    *,
    rule: AdequacyRule = DEFAULT_RULE,
    tenant: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    feature_schema: str | None = None,
    encoder: str | None = None,
    catalog: Catalog | None = None,
) -> LoggedDecisions:
    """Decisions of a state or log folder with known propensities, made from `since_ms` on.

    Only rows written before `until_ms` are read. What is in quarantine, decisions without a
    draw (full and observational feedback), and those with features of another schema or
    embeddings of another encoder (see `load_rounds`) are left out and counted in `skipped`.
    Costs are the reported ones, with a `catalog` all that `router_data.bills` makes out.
    Raises DatasetError when nothing is left.
    """
    with Store(state) as store:
        found = observe(store, rule=rule, tenant=tenant, until_ms=until_ms, more=_OPTIONS)
        if catalog is not None:
            found = with_bills(found, store, catalog)
    feedback = found.contexts["feedback"].astype(str)
    in_time = found.contexts["ts_ms"].astype(np.int64) >= (since_ms or 0)
    for name in sorted(set(feedback[in_time].tolist()) - {"bandit"}):
        found.skipped[f"decision: feedback {name}"] = int((feedback[in_time] == name).sum())
    live = found.of_contexts((feedback == "bandit") & in_time)
    used = matching(live, schema=feature_schema or features.SCHEMA.hash, encoder=encoder)
    if not len(used.contexts["decision_id"]):
        reasons = dict(used.skipped) or _nothing_of(tenant, since_ms)
        raise DatasetError(f"{state}: no decision with a known propensity: {reasons}")
    return _logged(used)


def _nothing_of(tenant: str | None, since_ms: int | None) -> str:
    """What there is nothing of, in words."""
    asked = [] if tenant is None else [f"none of tenant {tenant!r}"]
    if since_ms is not None:
        since = datetime.fromtimestamp(since_ms / 1000, UTC).isoformat()
        asked.append(f"none made from {since} on")
    return ", ".join(asked) or "empty log"


def _logged(used: Observations) -> LoggedDecisions:
    contexts = used.contexts
    options = _Options(contexts)
    chosen = contexts["model"].tolist()
    names = ("decision_id", "tenant", "key", "session", "step_type", "client", "dataset", "task")
    texts: dict[str, Any] = {name: contexts[name].astype(object) for name in names}
    observed: dict[str, Any] = _drawn_outcomes(used)
    return LoggedDecisions(
        models=options.models,
        feature_schema=str(contexts["feature_schema"][0]),
        encoder=str(contexts["encoder"][0]),
        **texts,
        ts_ms=contexts["ts_ms"].astype(np.int64),
        artifact=contexts["artifact"].astype(object),
        features=decode_features(contexts["features"].tolist()),
        embedding=decode_embeddings(contexts["embedding"].tolist()),
        is_side_call=np.isin(contexts["step_type"].astype(str), SIDE_CALLS),
        min_adequacy=numbers(contexts, "min_adequacy"),
        candidates=options.table("probability", missing=-1.0) >= 0,
        p_adequate=options.table("p_adequate", missing=np.nan),
        expected_cost=options.table("expected_cost", missing=np.nan),
        tool_call_latency_ms=options.table("tool_call_latency_ms", missing=np.nan),
        distribution=options.table("probability", missing=0.0),
        action=np.array([options.models.index(model) for model in chosen], dtype=np.int64),
        propensity=numbers(contexts, "propensity"),
        skipped=dict(used.skipped),
        **observed,
    )


class _Options:
    """The candidates of many decisions, as places (row, column) of a table."""

    def __init__(self, contexts: Columns) -> None:
        self.contexts = contexts
        lists = contexts["option_models"].tolist()
        distinct = {text: text.split(_SEPARATOR) for text in set(lists)}
        self.models = tuple(sorted({name for names in distinct.values() for name in names}))
        place = {name: index for index, name in enumerate(self.models)}
        places = {
            text: np.array([place[name] for name in names], dtype=np.int64)
            for text, names in distinct.items()
        }
        self._columns = np.concatenate([places[text] for text in lists])
        self._rows = np.repeat(np.arange(len(lists)), [len(places[text]) for text in lists])

    def table(self, name: str, *, missing: float) -> Floats:
        """One number of each candidate as (decision, model), `missing` where there is none."""
        table = np.full((len(self.contexts["option_models"]), len(self.models)), missing)
        table[self._rows, self._columns] = np.concatenate(self.contexts[f"option_{name}"].tolist())
        return table


def _drawn_outcomes(used: Observations) -> dict[str, Any]:
    """The outcome of the first attempt with the drawn model, NaN where there is none."""
    rows = used.rows
    is_drawn = rows["model"] == used.contexts["model"][used.context_index]
    drawn = np.flatnonzero(is_drawn)
    contexts, first = np.unique(used.context_index[drawn], return_index=True)
    values = {
        "adequate": used.judged.adequate,
        "reward": used.reward,
        "weight": used.judged.weight,
        "cost_usd": numbers(rows, "cost_usd"),
        "latency_ms": numbers(rows, "latency_ms"),
        "tool_call_latency_ms_observed": numbers(rows, "tool_call_latency_ms"),
        "signal": used.judged.signal,
        "evidence": _evidence(used).astype(np.float64),
    }
    result = {}
    for name, of_rows in values.items():
        of_contexts = np.full(len(used.contexts["decision_id"]), np.nan)
        of_contexts[contexts] = of_rows[drawn[first]]
        result[name] = of_contexts
    signal, evidence = result.pop("signal"), result.pop("evidence")
    whole = np.nan_to_num(evidence, nan=float(Evidence.NOTHING)).astype(np.int64)
    return {**result, "signal": np.nan_to_num(signal), "evidence": whole}


def _evidence(used: Observations) -> Ints:
    """What the label of each row rests on; a row without a report has no time of one."""
    judged, is_open = used.judged, used.is_open[used.context_index]
    is_reported = np.isfinite(numbers(used.rows, "outcome_ts_ms")) & ~is_open
    evidence = np.where(is_reported, Evidence.REPORTED, Evidence.NOTHING)
    evidence[np.isfinite(judged.adequate)] = Evidence.SIGNAL
    evidence[judged.is_fact] = Evidence.FACT
    evidence[judged.is_explicit] = Evidence.VERDICT
    return evidence.astype(np.int64)
