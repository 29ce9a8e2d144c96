"""Ledgers at work on a real file, for the tests of admission and settlement."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry
from routers import ask, router

from router_model.outline import outline_of
from router_model.reservation import reserved_microusd
from router_model.scoring import asking_of
from router_model.terms import Allowance, Terms
from router_model.types import Caller, Decision, PolicyOverrides
from router_serving.ledger.building import kept_ledger
from router_serving.ledger.ledger import Ledger
from router_serving.ledger.limits import Limits
from router_serving.ledger.types import Balance
from router_serving.settings import Settings

DAY = Limits(microusd_per_day=1_000_000)
ROUTER = router()
REQUEST = ask(max_output_tokens=1_000)
ACME = Caller(tenant="acme", key="ci", user="kim")


@asynccontextmanager
async def ledger_in(
    folder: Path, *, workers: int = 1, hold_s: float = 60.0
) -> AsyncIterator[Ledger]:
    """The ledger of one of `workers` processes in a state folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(state_dir=folder, workers=workers, hold_s=hold_s)
    async with kept_ledger(settings, registry=CollectorRegistry()) as ledger:
        yield ledger


async def balance_of(ledger: Ledger, limit: str, *, limits: Limits = DAY) -> Balance:
    """The balance of one limit of the tenant "acme"."""
    found = await ledger.balances(ACME, limits)
    return next(balance for limited, balance in found if limited.rule.limit == limit)


def deciding(decision_id: str) -> Callable[[Allowance | None], Decision]:
    """What makes the decision for an allowance."""

    def decide(allowance: Allowance | None) -> Decision:
        return ROUTER.decide(
            REQUEST,
            caller=ACME,
            overrides=PolicyOverrides(),
            decision_id=decision_id,
            terms=Terms(allowance=allowance),
        )

    return decide


async def call(ledger: Ledger, decision_id: str, *, limits: Limits = DAY) -> Decision:
    """A call that is admitted and decided."""
    admission = await ledger.admitted(ACME, limits)
    return await admission.decided(deciding(decision_id))


def worst(decision: Decision) -> int:
    """What is reserved for a decision."""
    chosen = next(c for c in decision.candidates if c.model == decision.model)
    return reserved_microusd(
        ROUTER.catalog.models[decision.model],
        chosen,
        asking=asking_of(outline_of(REQUEST)),
        max_output_tokens=REQUEST.max_output_tokens,
    )
