"""What Prometheus sees of the ledger."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter

from router_serving.ledger.types import Bill, Committed


class LedgerMetrics:
    """Counters of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refusals = Counter(
            "router_ledger_refusals", "Calls over a limit", ["limit"], registry=registry
        )
        self._holds = Counter("router_ledger_holds", "Reservations made", registry=registry)
        self._expired = Counter(
            "router_ledger_expired_holds",
            "Reservations given back because no outcome came",
            registry=registry,
        )
        self._settled = Counter(
            "router_ledger_settled_microusd",
            "Bills of tenants with limits, as reported",
            registry=registry,
        )
        self._bills = Counter(
            "router_ledger_bills", "Bills by what became of them", ["status"], registry=registry
        )
        self._overruns = Counter(
            "router_ledger_overruns", "Bills above their reservation", registry=registry
        )
        self._failures = Counter(
            "router_ledger_failures", "Times the ledger could not be used", registry=registry
        )

    def refused(self, limit: str) -> None:
        """Count a call over a limit."""
        self._refusals.labels(limit).inc()

    def held(self) -> None:
        """Count a reservation."""
        self._holds.inc()

    def committed(self, committed: Committed) -> None:
        """Count what became of bills and old reservations."""
        self._expired.inc(committed.n_expired)
        for billed in committed.billed:
            self._bills.labels(billed.status).inc()
            self._overruns.inc(billed.overrun_microusd > 0)

    def settled(self, bills: Sequence[Bill]) -> None:
        """Count the money of bills that are durable."""
        self._settled.inc(sum(bill.amounts.get("microusd", 0) for bill in bills))

    def failed(self) -> None:
        """Count a failure of the store."""
        self._failures.inc()
