"""The live calls of a log with what was really paid for each, its arm, and how it went."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data.bills import with_bills
from router_data.observations import Observations, numbers, observe
from router_data.rewards import DEFAULT_RULE, AdequacyRule
from router_data.store import Columns, Store
from router_model.catalog import Catalog
from router_model.errors import DatasetError
from router_model.incumbent import NAME as INCUMBENT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Texts = NDArray[np.object_]

_MORE = """
    , coalesce(policy, '') as policy, coalesce(adoption.arm, 'router') as arm,
    coalesce(adoption."share", 1.0) as routed_share, took_us::double as took_us,
    dataset is null as is_live,
    list_filter(options, lambda x: x.model = model)[1].expected_cost as expected_usd,
    list_sum(list_transform(options, lambda x: x.probability * x.expected_cost))
        - options[1].expected_cost as exploring_usd
"""


@dataclass(frozen=True, kw_only=True)
class PaidCalls:
    """Live calls, one row for each, ordered by session and time.

    `session` is a number. `is_routed`: the router's choice was taken; `share` of the sessions is
    routed then (1: all). `paid_usd` are all attempts of the call as they were billed; where
    `is_billed` is false no bill is known and the expected cost stands for it. `adequate` is that of
    the last attempt, NaN if it was not observed. `input_tokens` and `output_tokens` are as billed,
    NaN where not known. `took_us` is what the decision took, NaN where it was not measured, and
    `exploring_usd` what its exploration was expected to add to the call's cost.
    """

    tenant: Texts
    decision_id: Texts
    session: Ints
    ts_ms: Ints
    is_side_call: Bools
    model: Texts
    is_routed: Bools
    share: Floats
    paid_usd: Floats
    is_billed: Bools
    adequate: Floats
    input_tokens: Floats
    output_tokens: Floats
    took_us: Floats
    exploring_usd: Floats

    @property
    def n(self) -> int:
        """How many calls there are."""
        return len(self.session)

    @property
    def n_sessions(self) -> int:
        """How many sessions there are."""
        return len(np.unique(self.session))

    def select(self, rows: Bools | Ints) -> "PaidCalls":
        """The calls where `rows` is true, or those at these places, in their order."""
        chosen: dict[str, Any] = {one.name: getattr(self, one.name)[rows] for one in fields(self)}
        return replace(self, **chosen)


def load_paid(
    state: Path,
    *,
    catalog: Catalog,
    tenant: str | None = None,
    since_ms: int | None = None,
    rule: AdequacyRule = DEFAULT_RULE,
) -> PaidCalls:
    """The live calls of a state folder, of sessions that began at `since_ms` or later.

    Bills are those of `router_data.bills`, priced by the catalog where needed. Raises
    DatasetError where no such call is in the log.
    """
    with Store(state) as store:
        found = observe(store, rule=rule, tenant=tenant, more=_MORE)
        found = with_bills(found, store, catalog)
    contexts = found.contexts
    is_kept = contexts["policy"] == INCUMBENT
    is_ours = contexts["is_live"].astype(bool) & (is_kept | (contexts["feedback"] == "bandit"))
    found = found.of_contexts(is_ours)
    calls = _calls(found)
    if since_ms is not None and calls.n:
        began = np.full(int(calls.session.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(began, calls.session, calls.ts_ms)
        calls = calls.select(began[calls.session] >= since_ms)
    if not calls.n:
        of = "" if tenant is None else f" of tenant {tenant!r}"
        raise DatasetError(f"{state}: no live decision{of} in the time asked for, expected some")
    return calls


def _calls(found: Observations) -> PaidCalls:
    contexts = found.contexts
    n = len(contexts["decision_id"])
    paid, is_billed = _paid(found, n)
    expected = np.nan_to_num(numbers(contexts, "expected_usd"))
    last = _last_rows(found, n)
    session = _session_numbers(contexts)
    ts_ms = contexts["ts_ms"].astype(np.int64)
    calls = PaidCalls(
        tenant=contexts["tenant"].astype(object),
        decision_id=contexts["decision_id"].astype(object),
        session=session,
        ts_ms=ts_ms,
        is_side_call=~np.isin(contexts["step_type"].astype(str), ("main", "tool_result")),
        model=_served(found, last),
        is_routed=contexts["arm"] == "router",
        share=numbers(contexts, "routed_share"),
        paid_usd=np.where(is_billed, paid, expected),
        is_billed=is_billed,
        adequate=_of_rows(found.judged.adequate, last),
        input_tokens=_of_rows(numbers(found.rows, "input_tokens"), last),
        output_tokens=_of_rows(numbers(found.rows, "output_tokens"), last),
        took_us=numbers(contexts, "took_us"),
        exploring_usd=np.maximum(np.nan_to_num(numbers(contexts, "exploring_usd")), 0.0),
    )
    return calls.select(np.lexsort((ts_ms, session)))


def _paid(found: Observations, n: int) -> tuple[Floats, Bools]:
    """Dollars of all attempts of each call, and whether the bill of each attempt is known."""
    index, cost_usd = found.context_index, numbers(found.rows, "cost_usd")
    paid = np.bincount(index, weights=np.nan_to_num(cost_usd), minlength=n)
    n_rows = np.bincount(index, minlength=n)
    n_known = np.bincount(index, weights=np.isfinite(cost_usd), minlength=n)
    return paid.astype(np.float64), np.asarray((n_rows > 0) & (n_known == n_rows))


def _last_rows(found: Observations, n: int) -> Ints:
    """The row of each call's last attempt; -1 where there is none."""
    last = np.full(n, -1, dtype=np.int64)
    last[found.context_index] = np.arange(len(found.context_index))
    return last


def _served(found: Observations, last: Ints) -> Texts:
    """The model that answered last, the chosen one where nothing came back."""
    served = found.contexts["model"].astype(object).copy()
    has_row = last >= 0
    served[has_row] = found.rows["model"][last[has_row]]
    return served


def _of_rows(values: Floats, last: Ints) -> Floats:
    result = np.full(len(last), np.nan)
    result[last >= 0] = values[last[last >= 0]]
    return result


def _session_numbers(contexts: Columns) -> Ints:
    """The number of each call's session; tenants share none."""
    known: dict[tuple[str, str], int] = {}
    pairs = zip(contexts["tenant"].tolist(), contexts["session"].tolist(), strict=True)
    return np.array([known.setdefault(pair, len(known)) for pair in pairs], dtype=np.int64)
