"""Builds the ledger that the settings ask for, with those that watch it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from router_serving.ledger.gauges import LedgerMetrics
from router_serving.ledger.ledger import Ledger
from router_serving.ledger.notices import Notices
from router_serving.ledger.opening import open_store
from router_serving.ledger.pace_alarm import PaceAlarm, rule_of
from router_serving.ledger.paces import Paces
from router_serving.ledger.webhook import Webhook
from router_serving.settings import Settings


def check_ledger(settings: Settings) -> None:
    """Raise LedgerError or StartError where `kept_ledger` would: before anything is served."""
    _webhook_of(settings)
    open_store(settings).close()


@asynccontextmanager
async def kept_ledger(settings: Settings, *, registry: CollectorRegistry) -> AsyncIterator[Ledger]:
    """The ledger at work: holds are written and leases kept until the end, then all is returned.

    Raises LedgerError where the store can't be opened.
    """
    webhook = _webhook_of(settings)
    store, claims = open_store(settings), open_store(settings)
    notices = Notices(
        claims,
        registry=registry,
        webhook=webhook,
    )
    paces = Paces()
    ledger = Ledger(
        store,
        hold_s=settings.hold_s,
        lease_share=settings.lease_share,
        is_shared=settings.workers > 1 or settings.ledger_url is not None,
        metrics=LedgerMetrics(registry),
        notices=notices,
        alarm=PaceAlarm(
            store, active=paces.active, notices=notices, registry=registry, rule=rule_of(settings)
        ),
        paces=paces,
    )
    notices.start()
    try:
        async with ledger.running():
            yield ledger
    finally:
        notices.close()
        claims.close()


def _webhook_of(settings: Settings) -> Webhook | None:
    url = settings.webhook_url
    return None if url is None else Webhook(url)
