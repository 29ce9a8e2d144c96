"""Ledgers at work on a real file, for the tests of admission and settlement."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from router_model.types import Caller
from router_serving.ledger.building import kept_ledger
from router_serving.ledger.ledger import Ledger
from router_serving.ledger.limits import Limits
from router_serving.ledger.types import Balance
from router_serving.settings import Settings

DAY = Limits(microusd_per_day=1_000_000)


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
    found = await ledger.balances(Caller(tenant="acme", key="ci", user="kim"), limits)
    return next(balance for limited, balance in found if limited.rule.limit == limit)
