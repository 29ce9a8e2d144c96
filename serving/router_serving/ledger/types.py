"""The nouns of the ledger, and what a store of it has to do.

An *account* counts one unit for one subject in one window of time, up to a cap. A *lease* is a
part of an account that one process may give away from memory; a *hold* is what one decision
reserved; a *bill* is what its call cost in the end.

In every account, at every moment: settled + held + leased <= cap, as long as bills do not exceed
their holds and come before those expire. A store keeps that under any number of processes and
when any of them is killed, because what a process gives away was leased, durably, beforehand.

Amounts and caps are whole numbers from 0 to 2**53 - 1. No balance is ever negative: what a
process returns or holds beyond the lease that is written down is cut to what there is.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

Unit = Literal["microusd", "tokens", "requests"]
Period = Literal["minute", "hour", "day", "month"]

# A bill waits this long for its hold, and a process silent for longer is taken for dead as far as
# bills without a hold are concerned: it may have died between deciding and writing.
GRACE_S = 5.0
# How long other processes see that somebody starves for an account.
WANTED_S = 5.0
# All bills of a decision together are charged up to this many times its reservation,
IMPLAUSIBLE_TIMES = 10
# or up to this much where nothing was reserved: 100 US dollars, or that many tokens.
IMPLAUSIBLE_AMOUNT = 100_000_000
# Decisions that are settled are kept as long for replays and corrections.
KEPT_S = 7 * 86_400.0


class Account(Struct, frozen=True, kw_only=True):
    """What one unit of one subject may come to in one window.

    `key` names all three, such as "microusd|tenant:acme|day|2026-11-25T00:00+01:00": a new window
    is a new key, so nothing is ever reset. `ends_s` is the end of the window in Unix seconds.
    A soft account has no cap that stops: nothing is leased from it, holds and bills are counted.
    """

    key: str
    unit: Unit
    cap: int
    ends_s: float
    is_soft: bool = False


class Charge(Struct, frozen=True):
    """An amount of an account's unit."""

    account: Account
    amount: int


class Grant(Struct, frozen=True, kw_only=True):
    """A process asks for a lease: `amount` if there is as much, and whatever is left if not.

    Nothing is granted from a soft account.
    """

    account: Account
    amount: int


class Hold(Struct, frozen=True, kw_only=True):
    """What a decision reserved, moved from the lease of the process that decided.

    A second hold of the same (tenant, decision_id) raises the first to the greater amount in each
    account, the later `expires_s` counts, and an expired hold is open again if that lies ahead;
    what of it is not needed stays in the lease, and is reported as kept. After the final bill
    nothing is needed. The lease gives no more than the charge says; what is needed beyond it, or
    beyond the lease, is held as far as the cap allows. The rest is not held at all, and its bill
    is settled none the less.
    """

    tenant: str
    decision_id: str
    charges: tuple[Charge, ...]
    expires_s: float


class Bill(Struct, frozen=True, kw_only=True):
    """What one attempt cost, by unit; the same (tenant, decision_id, attempt) again corrects it.

    `is_final` ends the hold and gives back what is left of it; an attempt that failed leaves the
    rest for the next one. All accounts of the hold are billed that count a unit in `amounts`; a
    correction replaces all amounts. `unreserved` are the accounts to bill where no hold is found
    for GRACE_S seconds; such a bill is first drawn from the leases of silent processes there.
    """

    tenant: str
    decision_id: str
    attempt: int
    amounts: Mapping[Unit, int]
    is_final: bool
    unreserved: tuple[Account, ...] = ()


class Billed(Struct, frozen=True, kw_only=True):
    """What became of a bill.

    `status` is "settled", "waiting" (for a hold not written yet), "repeated" (nothing new),
    "late" (the hold had expired), or "unmatched" (no hold, billed to `unreserved`).
    `overrun_microusd` is by how much the bill exceeds what earlier attempts left of the
    reservation, `disputed_microusd` what of that was not charged because all bills of the decision
    exceed IMPLAUSIBLE_TIMES its reservation (IMPLAUSIBLE_AMOUNT without one). With R reserved and
    T billed for all attempts, this one's amount a included: min(a, T - R), min(a, T - 10 R), each
    at least 0. Both are 0 where no account counts microusd.
    """

    tenant: str
    decision_id: str
    attempt: int
    status: Literal["settled", "waiting", "repeated", "late", "unmatched"]
    overrun_microusd: int = 0
    disputed_microusd: int = 0


class Count(Struct, frozen=True, kw_only=True):
    """Calls and spending of a subject within one minute (Unix minutes), to be added up."""

    subject: str
    minute: int
    calls: int = 0
    microusd: int = 0


class Batch(Struct, frozen=True, kw_only=True):
    """What one process has to say at one moment; a store makes it durable as a whole.

    Done in this order: what is due by `now_s` (holds expire, leases lapse, bills have waited),
    `returns` to the accounts, `holds` out of the lease, `bills`, `grants`.
    Saying anything, also nothing, keeps the process's leases alive for `hold_s` more seconds.

    `worker` names one process in one life. `number` rises with each of its batches: a batch whose
    answer was lost is sent again unchanged, with its number, and gets the answer of the first time
    without being carried out again; one that comes after a later one is refused. Without a
    number (0) holds and bills are still not done twice, the rest is.
    """

    worker: str
    now_s: float
    hold_s: float
    number: int = 0
    returns: tuple[Charge, ...] = ()
    holds: tuple[Hold, ...] = ()
    bills: tuple[Bill, ...] = ()
    grants: tuple[Grant, ...] = ()
    counts: tuple[Count, ...] = ()


class Committed(Struct, frozen=True, kw_only=True):
    """The answers to a batch: as many as were asked, in their order.

    `kept` are charges of holds that stay in the lease (see Hold). `billed` may hold more than was
    asked, after it: bills that waited and are settled now, of any process. `n_expired` holds were
    given back. `wanted` are keys of accounts that others starve for: return what is free of them.
    `is_new`: the process had no leases before this batch, because it never said anything or was
    silent for too long. Of what it leased earlier, nothing may be given away any more.
    """

    granted: tuple[int, ...] = ()
    kept: tuple[Charge, ...] = ()
    billed: tuple[Billed, ...] = ()
    n_expired: int = 0
    wanted: frozenset[str] = frozenset()
    is_new: bool = False


class Balance(Struct, frozen=True, kw_only=True):
    """An account at one moment; `settled + held + leased <= cap` unless bills exceeded holds."""

    settled: int = 0
    held: int = 0
    leased: int = 0

    @property
    def used(self) -> int:
        """What nobody else can have."""
        return self.settled + self.held + self.leased


class Pace(Struct, frozen=True, kw_only=True):
    """A subject's last minute beside the same hour of earlier weeks, both per minute.

    The minute slides: the minute before counts with the part of it that is less than 60 s ago,
    rounded down. `n_weeks` is how many of the 8 weeks before have that hour (of Unix time) in
    their counts, and the usual is the mean over those; without any there is no baseline.
    """

    calls: int
    microusd: int
    usual_calls: float
    usual_microusd: float
    n_weeks: int


class Switch(Struct, frozen=True, kw_only=True):
    """The kill switch of a subject ("all", "tenant:acme", "key:acme/ci", "user:acme/kim")."""

    subject: str
    reason: str
    since_s: float


class LedgerStore(Protocol):
    """Where the ledger lies; every method may block and raises LedgerError when it can't."""

    def commit(self, batch: Batch) -> Committed:
        """Carry out a batch, durably, or not at all."""

    def balances(self, keys: Sequence[str]) -> Mapping[str, Balance]:
        """The accounts as they are; all zero for one that was never used."""

    def pace(self, subject: str, *, now_s: float) -> Pace:
        """How a subject's last 60 seconds compare with the same hour of the weeks before."""

    def switches(self) -> Sequence[Switch]:
        """The switches that are on."""

    def switch_on(self, switch: Switch) -> None:
        """Stop a subject, for every process, until it is switched off."""

    def switch_off(self, subject: str) -> bool:
        """Let a subject go on; False when it was not stopped."""

    def claim(self, notice: str, *, until_s: float) -> bool:
        """True for the first to claim a notice, until a time of the clock: it is sent once."""

    def close(self) -> None:
        """Give back the connection; leases lapse by themselves."""
