"""From what was reported of a call to the bill that the ledger settles."""

from collections.abc import Mapping
from typing import Final

from router_model.catalog import Catalog
from router_model.exploration import microusd
from router_model.pricing import call_cost_microusd
from router_model.types import Outcome
from router_serving.ledger.types import Account, Bill, Unit

# Far above any bill, and small enough for every store's integers.
MAX_BILL_USD: Final = 1e9


def bill_of(
    outcome: Outcome, *, tenant: str, catalog: Catalog, unreserved: tuple[Account, ...]
) -> Bill | None:
    """The bill of one attempt, None where the outcome says nothing of what it cost.

    The reported cost counts, rounded up to whole micro-dollars; without one it is worked out from
    the usage and the catalog's prices. A failed attempt of which neither is known cost nothing.
    It leaves the reservation to the next attempt.
    """
    cost = _cost(outcome, catalog)
    if cost is None:
        return None
    amounts: Mapping[Unit, int] = {"microusd": cost}
    if (usage := outcome.usage) is not None:
        amounts = {**amounts, "tokens": usage.input_tokens + usage.output_tokens}
    elif outcome.error is not None:
        amounts = {**amounts, "tokens": 0}
    return Bill(
        tenant=tenant,
        decision_id=outcome.decision_id,
        attempt=outcome.attempt,
        amounts=amounts,
        is_final=outcome.error is None,
        unreserved=unreserved,
    )


def _cost(outcome: Outcome, catalog: Catalog) -> int | None:
    if outcome.cost_usd is not None:
        return microusd(min(outcome.cost_usd, MAX_BILL_USD))
    card = catalog.resolve(outcome.model)
    if outcome.usage is not None and card is not None and card.price is not None:
        return min(call_cost_microusd(card.price, outcome.usage), microusd(MAX_BILL_USD))
    return None if outcome.error is None else 0
