"""Reads the log as drift needs it, and says which part is the reference and which the window."""

from pathlib import Path

import numpy as np

from router_data.logged import LoggedDecisions, load_logged
from router_data.rewards import DEFAULT_RULE, AdequacyRule
from router_data.store import Columns, Store
from router_model import features
from router_model.catalog import Catalog
from router_model.errors import DatasetError
from router_training.catalog_in_use import current_catalog
from router_training.changes import Floats, Ints
from router_training.drift_report import Span, iso
from router_training.drift_traffic import Traffic
from router_training.log_columns import aligned, session_numbers
from router_training.repricing import repriced

OLDER_SHARE = 0.75
"""Share of the log, the older one, that is the reference where no champion's training is known."""
_DAY_MS = 86_400_000
# The drawn candidate's tokens, and the catalog that it was priced with.
_DRAWN = """
    with rows as (
        select tenant, decision_id, coalesce(versions."catalog", '') as "catalog",
               list_filter(
                   from_json(candidates, '[{"model": "VARCHAR", "input_tokens": "DOUBLE",
                       "cached_tokens": "DOUBLE", "output_tokens": "DOUBLE"}]'),
                   lambda x: x.model = decisions.model
               )[1] as drawn
        from decisions
        where (? is null or tenant = ?) and coalesce(feedback, 'bandit') = 'bandit'
    )
    select tenant, decision_id, "catalog", drawn.input_tokens as input_tokens,
           drawn.cached_tokens as cached_tokens, drawn.output_tokens as output_tokens
    from rows
"""
_QUARANTINED = """
    select coalesce(d.ts_ms, o.ts_ms, 0) as ts_ms
    from quarantine q
    left join decisions d on d.tenant is not distinct from q.tenant
        and d.decision_id = q.decision_id
    left join outcomes o on q.kind = 'outcome' and o.tenant = q.tenant
        and o.decision_id = q.decision_id and o.attempt = q.attempt
    where ? is null or q.tenant = ?
"""


def read_traffic(
    state: Path,
    *,
    rule: AdequacyRule = DEFAULT_RULE,
    tenant: str | None = None,
    catalog: Catalog | None = None,
    feature_schema: str | None = None,
) -> Traffic:
    """The live decisions of a log in order of time; DatasetError when there is none.

    `catalog` has today's prices; the service's own is taken when not given.
    """
    chosen = catalog or current_catalog(state)
    logged = load_logged(
        state, rule=rule, tenant=tenant, feature_schema=feature_schema, catalog=chosen
    )
    with Store(state) as store:
        drawn = store.arrays(_DRAWN, (tenant, tenant))
        quarantined = store.arrays(_QUARANTINED, (tenant, tenant))["ts_ms"]
    traffic = _traffic(
        logged,
        aligned(drawn, logged),
        catalog=chosen,
        quarantined_ms=quarantined.astype(np.int64),
        settled_before_ms=int(logged.ts_ms.max()) - int(1000 * rule.outcome_window_s),
    )
    return traffic.select(np.argsort(traffic.ts_ms, kind="stable"))


def spans_of(
    traffic: Traffic, *, trained_until_ms: int | None, since_ms: int | None
) -> tuple[Span, Span]:
    """Reference and window: what the champion learned from, and what came after.

    Where it learned from no live decision, or nobody knows from which, the reference is the older
    part of the log. `since_ms` begins the window later, or, when it lies before the end of the
    training, cuts the reference off there.
    """
    first, end = int(traffic.ts_ms[0]), int(traffic.ts_ms[-1]) + 1
    cut = trained_until_ms
    if cut is None or cut <= first:
        cut = since_ms or int(traffic.ts_ms[min(traffic.n - 1, int(traffic.n * OLDER_SHARE))])
    start = max(cut, since_ms or cut)
    if since_ms is not None and since_ms < cut:
        cut = start = since_ms
    if not first < cut or not start < end:
        raise DatasetError(
            f"drift: the log has live decisions from {iso(first)} to {iso(end - 1)}, expected some "
            f"before {iso(cut)} (reference) and some from {iso(start)} on (window)"
        )
    return Span(since_ms=first, until_ms=cut), Span(since_ms=start, until_ms=end)


def days_before(traffic: Traffic, days: float) -> int:
    """The time that lies so many days before the latest decision."""
    return int(traffic.ts_ms[-1] - days * _DAY_MS)


def _traffic(
    logged: LoggedDecisions,
    drawn: Columns,
    *,
    catalog: Catalog,
    quarantined_ms: Ints,
    settled_before_ms: int,
) -> Traffic:
    rows = np.arange(logged.n)
    model = np.array(logged.models, dtype=object)[logged.action]
    is_schema = logged.feature_schema == features.SCHEMA.hash
    n_features = logged.features.shape[1]
    return Traffic(
        feature_names=features.SCHEMA.names
        if is_schema
        else tuple(f"feature {index}" for index in range(n_features)),
        features=logged.features,
        ts_ms=logged.ts_ms,
        session=session_numbers(logged),
        tenant=logged.tenant,
        client=logged.client,
        model=model,
        catalog=drawn["catalog"],
        p_adequate=logged.p_adequate[rows, logged.action],
        propensity=logged.propensity,
        adequate=logged.adequate,
        expected_cost=logged.expected_cost[rows, logged.action],
        repriced_cost=repriced(
            catalog,
            model.tolist(),
            input_tokens=_numbers(drawn, "input_tokens"),
            cached_tokens=_numbers(drawn, "cached_tokens"),
            output_tokens=_numbers(drawn, "output_tokens"),
        ),
        cost_usd=logged.cost_usd,
        is_settled=logged.ts_ms <= settled_before_ms,
        quarantined_ms=quarantined_ms,
    )


def _numbers(columns: Columns, name: str) -> Floats:
    return columns[name].astype(np.float64)
