"""The ledger of one process: what is free to give away, what was said of it, and what it tells.

`admitted` begins a call, `settle` ends it; in between `Admission` allows and reserves.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import structlog

from router_model.catalog import Catalog
from router_model.exploration import MICRO
from router_model.types import Caller, Outcome
from router_serving.errors import LedgerError, LimitExceededError
from router_serving.ledger.admission import Admission, Desk
from router_serving.ledger.escrow import Escrow
from router_serving.ledger.gauges import LedgerMetrics
from router_serving.ledger.keeper import Keeper
from router_serving.ledger.limits import AccountBook, Limited, Limits
from router_serving.ledger.notices import Notices
from router_serving.ledger.pace_alarm import PaceAlarm
from router_serving.ledger.paces import Paces
from router_serving.ledger.settlement import bill_of
from router_serving.ledger.soft_caps import SoftCaps
from router_serving.ledger.subjects import tenant_subject
from router_serving.ledger.switches import Switches
from router_serving.ledger.types import (
    GRACE_S,
    Account,
    Balance,
    Batch,
    Bill,
    Billed,
    Committed,
    Hold,
    LedgerStore,
)

T = TypeVar("T")
# How soon others see that something is wanted, and a kill switch or a soft cap is obeyed.
TICK_S: Final = 0.25
LOOK_S: Final = 5.0
# Leases outlast holds: what a killed process gave away last stays covered until a bill that comes
# as its hold would expire has waited for it.
LEASE_LONGER_S: Final = 2 * GRACE_S
_log = structlog.get_logger(__name__)


class Ledger:
    """At work within `running`; everything is called in one event loop."""

    def __init__(
        self,
        store: LedgerStore,
        *,
        hold_s: float,
        lease_share: float,
        is_shared: bool,
        metrics: LedgerMetrics,
        notices: Notices,
        alarm: PaceAlarm,
        paces: Paces,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hold_s = hold_s
        self._metrics = metrics
        self._notices = notices
        self._alarm = alarm
        self._clock = clock
        self._book = AccountBook()
        self._escrow = Escrow(share=lease_share, clock=time.monotonic, wall=clock)
        self._wanted: frozenset[str] = frozenset()
        self._keeper = Keeper(
            store,
            hold_s=hold_s + LEASE_LONGER_S,
            clock=clock,
            committed=self._committed,
            failed=self._failed,
        )
        self.paces = paces
        self.switches = Switches(notices=notices)
        self.soft_caps = SoftCaps(notices, clock=clock)
        self._desk = Desk(
            escrow=self._escrow,
            keeper=self._keeper,
            soft_caps=self.soft_caps,
            hold=self._hold,
            refused=self._refused,
            clock=clock,
            hold_s=hold_s,
            recall_s=2 * TICK_S if is_shared else 0.0,
        )

    @property
    def last_error(self) -> str | None:
        """Why the store could not be used last; None when it could."""
        return self._keeper.last_error

    async def admitted(self, caller: Caller, limits: Limits) -> Admission:
        """The accounts of a call that begins now, and is counted.

        Raises LimitExceededError where a switch stops the caller, or the call is one too many for
        its minute, and LedgerError where that can't be told.
        """
        try:
            self.switches.check(caller)
        except LimitExceededError as error:
            self._metrics.refused(error.limit)
            raise
        limited = self._book.of(caller, limits, now_s=self._clock())
        admission = Admission(caller, limited, self._desk)
        await admission.count()
        return admission

    def called(self, tenant: str) -> None:
        """Count a call that was decided, for the alarm."""
        self.paces.called(tenant_subject(tenant))

    async def settle(
        self,
        outcomes: Sequence[tuple[Outcome, str]],
        *,
        limits_of: Callable[[str], Limits],
        catalog: Catalog,
    ) -> None:
        """Make the bills of outcomes durable, each with its tenant; LedgerError if that fails.

        Saying it again changes nothing. Tenants without limits have no accounts, and no bills.
        """
        bills = []
        for outcome, tenant in outcomes:
            limits = limits_of(tenant)
            bill = bill_of(
                outcome,
                tenant=tenant,
                catalog=catalog,
                unreserved=self._unreserved(tenant, limits),
            )
            if bill is None:
                continue
            if limits.has_accounts:
                bills.append(bill)
            else:
                self.paces.spent(tenant_subject(tenant), bill.amounts["microusd"])
        if bills:
            self._settled(bills, await self._keeper.bill(tuple(bills)))

    async def balances(self, caller: Caller, limits: Limits) -> list[tuple[Limited, Balance]]:
        """The accounts of a caller as they are now, free leases counted as leased."""
        limited = self._book.of(caller, limits, now_s=self._clock())
        await self._keeper.bill(())  # what has expired since the last batch is no longer held
        keys = [one.account.key for one in limited]
        found = await self.ask(lambda store: store.balances(keys))
        return [(one, found.get(one.account.key, Balance())) for one in limited]

    async def ask(self, question: Callable[[LedgerStore], T]) -> T:
        """The answer of a question to the store; LedgerError when it can't be asked."""
        return await self._keeper.off_loop(question)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep leases alive and give back what is idle; at the end write and return everything."""
        await self.ask(self._refresh)  # a switch that is on holds from the first call on
        keeping = asyncio.create_task(self._keeper.run(), name="ledger-keeper")
        tending = asyncio.create_task(self._tend(), name="ledger-tending")
        try:
            yield
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)
            self._keeper.close()
            await keeping  # what was asked for ahead has come by then, and goes back as well
            self._keeper.give_back(self._escrow.surplus(all_of_it=True))
            await self._keeper.shut()

    async def _tend(self) -> None:
        looked_s = 0.0
        while True:
            self._give_back()
            try:
                await self.ask(self._refresh)
                if time.monotonic() - looked_s >= LOOK_S:
                    looked_s = time.monotonic()
                    await self.ask(lambda _: self._alarm.look(self._clock()))
            except LedgerError as error:
                self._metrics.failed()
                _log.error("ledger.unread", error=str(error))
            except Exception:  # noqa: BLE001  # switches are obeyed after a look nobody foresaw
                self._metrics.failed()
                _log.exception("ledger.unread")
            await asyncio.sleep(TICK_S)

    def _hold(self, hold: Hold) -> None:
        self._metrics.held()
        self._keeper.hold(hold)

    def _refused(self, limited: Limited) -> None:
        """Count a refusal, and tell of a budget that is used up once in its window."""
        self._metrics.refused(limited.rule.limit)
        account = limited.account
        if account.unit != "microusd":
            return
        self._notices.tell(
            "budget.exhausted",
            subject=limited.subject,
            once=f"exhausted|{account.key}",
            until_s=account.ends_s,
            limit=limited.rule.limit,
            cap_usd=account.cap / MICRO,
        )

    def _settled(self, bills: Sequence[Bill], billed: Sequence[Billed]) -> None:
        """Count what was spent; a bill that was sent again was counted before."""
        new = [bill for bill, one in zip(bills, billed, strict=True) if one.status != "repeated"]
        self._metrics.settled(new)
        for bill in new:
            self.paces.spent(tenant_subject(bill.tenant), bill.amounts["microusd"])

    def _unreserved(self, tenant: str, limits: Limits) -> tuple[Account, ...]:
        """The accounts of a bill whose hold is nowhere found: those of its tenant, as of now."""
        limited = self._book.of(Caller(tenant=tenant), limits, now_s=self._clock())
        return tuple(
            one.account
            for one in limited
            if one.rule.whose == "tenant" and one.rule.unit == "microusd"
        )

    def _refresh(self, store: LedgerStore) -> None:
        """Read what may have changed; runs in the ledger's thread."""
        self.switches.refresh(store)
        self.soft_caps.refresh(store)

    def _give_back(self) -> None:
        """Return what is idle or wanted, and have leases kept alive while there are any."""
        self._keeper.give_back(self._escrow.surplus(wanted=self._wanted))
        self._wanted = frozenset()
        self._keeper.count(self.paces.drain(self._clock()))
        if len(self._escrow) or self._keeper.has_something_to_say:
            self._keeper.look()

    def _committed(self, batch: Batch, committed: Committed) -> None:
        if committed.is_new:
            self._escrow.forget()
        else:
            self._escrow.put_back(committed.kept)
        self._escrow.alive(until_s=batch.now_s + batch.hold_s)
        if committed.billed or committed.n_expired:
            self._escrow.refilled()  # what a grant says comes after: bills are settled before it
        self._escrow.granted(batch.grants, committed.granted)
        self._wanted |= committed.wanted
        self._metrics.committed(committed)
        for billed in committed.billed:
            if billed.overrun_microusd > 0:
                self._overran(billed)

    def _overran(self, billed: Billed) -> None:
        place = (billed.tenant, billed.decision_id, str(billed.attempt))
        self._notices.tell(
            "budget.overrun",
            subject=tenant_subject(billed.tenant),
            once="|".join(("overrun", *place)),
            until_s=self._clock() + self._hold_s,
            decision_id=billed.decision_id,
            attempt=billed.attempt,
            overrun_usd=billed.overrun_microusd / MICRO,
            disputed_usd=billed.disputed_microusd / MICRO,
        )

    def _failed(self, error: LedgerError) -> None:
        self._escrow.failed()
        self._metrics.failed()
        _log.error("ledger.failed", error=str(error))
