"""What logged attempts were billed: as reported, else by their usage at a catalog's prices."""

from dataclasses import replace

import numpy as np

from router_data.observations import Observations, numbers
from router_data.store import Store
from router_model.catalog import Catalog
from router_model.pricing import call_cost
from router_model.types import Usage

_UNPRICED = """
    select tenant, decision_id, attempt, model, "usage" as used from outcomes
    where cost_usd is null and "usage".input_tokens is not null
"""


def with_bills(found: Observations, store: Store, catalog: Catalog) -> Observations:
    """The observations with `cost_usd` (US dollars) of each row as far as it can be known.

    The reported cost counts, else the reported usage at the catalog's prices, cache reads and
    writes included. An attempt that failed and reports neither has cost nothing. NaN is left where
    no bill is known: whoever needs a number puts what was expected, and says so.
    """
    cost = numbers(found.rows, "cost_usd")
    if unpriced := store.query(_UNPRICED):
        keys = (found.rows[name].tolist() for name in ("tenant", "decision_id", "attempt"))
        place = {key: row for row, key in enumerate(zip(*keys, strict=True))}
        for bill in unpriced:
            row = place.get((bill["tenant"], bill["decision_id"], bill["attempt"] or 0))
            card = catalog.resolve(bill["model"] or "")
            if row is None or card is None or card.price is None:
                continue
            usage = Usage(**{name: n or 0 for name, n in bill["used"].items()})
            cost[row] = call_cost(card.price, usage)
    cost[np.isnan(cost) & found.rows["is_error"].astype(bool)] = 0.0
    return replace(found, rows={**found.rows, "cost_usd": cost})
