"""What this process may give away from memory: amounts that it leased before.

A lease is asked for in pieces of the cap, so that most calls need no question, and what lies idle
or is wanted by others goes back. All of it happens in the event loop, so nothing is locked.
"""

from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import Final

from router_serving.ledger.types import Account, Charge, Grant

# Longer than the pause between two calls of a busy tenant.
IDLE_S: Final = 2.0
# For so long after a short answer nothing more is asked for: others may have to give back first.
DRY_S: Final = 1.0
# Pieces of fewer units are not fetched ahead: with a small cap others would miss them.
_LEAST_AHEAD: Final = 4


class _Lease:
    """Free units of one account, when they were used last, and until when more is not asked.

    `is_asked` while more was asked for ahead.
    """

    __slots__ = ("account", "dry_until_s", "free", "is_asked", "used_s")

    def __init__(self, account: Account, now_s: float) -> None:
        self.account = account
        self.free = 0
        self.used_s = now_s
        self.dry_until_s = 0.0
        self.is_asked = False


class Escrow:
    """The free units of this process by account; `share` of a cap is leased at once.

    `clock` gives seconds that never go back, `wall` those by which leases lapse in the ledger.
    """

    def __init__(
        self, *, share: float, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._share = share
        self._clock = clock
        self._wall = wall
        self._lapses_s = 0.0
        self._leases: dict[str, _Lease] = {}
        self._outdated: list[Charge] = []

    def __len__(self) -> int:
        return len(self._leases)

    def take(self, charges: Sequence[Charge]) -> bool:
        """Take every charge, or none of them when one exceeds what is free."""
        if self._wall() >= self._lapses_s:  # others may have got it meanwhile
            self.forget()
        now_s = self._clock()
        leases = [self._present_lease(charge.account, now_s) for charge in charges]
        if any(lease.free < c.amount for lease, c in zip(leases, charges, strict=True)):
            return False
        for lease, charge in zip(leases, charges, strict=True):
            lease.free -= charge.amount
            lease.used_s = now_s
        return True

    def put_back(self, charges: Iterable[Charge]) -> None:
        """Take note of units that are free again: kept, or of a call that came to nothing."""
        now_s = self._clock()
        for charge in charges:
            self._add(self._lease(charge.account, now_s), charge)

    def free(self, account: Account) -> int:
        """The free units of an account, of those leased under its present cap."""
        lease = self._leases.get(account.key)
        return 0 if lease is None or lease.account.cap != account.cap else lease.free

    def is_dry(self, account: Account) -> bool:
        """True while the account is known to have nothing more than is free here."""
        lease = self._leases.get(account.key)
        if lease is None or lease.account.cap != account.cap:
            return False
        return self._clock() < lease.dry_until_s

    def missing(self, charges: Sequence[Charge]) -> tuple[Grant, ...]:
        """What to ask for before the charges can be taken, a piece more than that."""
        return tuple(
            Grant(account=c.account, amount=max(c.amount - free, self._piece(c.account)))
            for c in charges
            if (free := self.free(c.account)) < c.amount
        )

    def ahead(self, charges: Sequence[Charge]) -> tuple[Grant, ...]:
        """What to ask for before it is missing: where less than half a piece is free.

        Asked for an account once at a time: until `granted` is told the answer.
        """
        now_s, grants = self._clock(), []
        for charge in charges:
            lease, piece = self._lease(charge.account, now_s), self._piece(charge.account)
            is_known = lease.is_asked or now_s < lease.dry_until_s
            if piece >= _LEAST_AHEAD and lease.free * 2 < piece and not is_known:
                lease.is_asked = True
                grants.append(Grant(account=charge.account, amount=piece))
        return tuple(grants)

    def granted(self, grants: Sequence[Grant], amounts: Sequence[int]) -> None:
        """Take in the answers; an account that gave less than was asked is dry for a moment."""
        now_s = self._clock()
        for grant, amount in zip(grants, amounts, strict=True):
            lease = self._lease(grant.account, now_s)
            self._add(lease, Charge(grant.account, amount))
            lease.is_asked = False
            lease.dry_until_s = now_s + DRY_S if amount < grant.amount else 0.0

    def alive(self, *, until_s: float) -> None:
        """Take note that what is leased stays so until a time of the wall clock."""
        self._lapses_s = until_s

    def refilled(self) -> None:
        """Take note that somebody gave something back: every account may be asked for again."""
        for lease in self._leases.values():
            lease.dry_until_s = 0.0

    def outdated(self) -> list[Charge]:
        """What to return: units leased under another cap; they are told once."""
        found, self._outdated = self._outdated, []
        return found

    def failed(self) -> None:
        """Take note that questions may have been lost: all may be asked for ahead again."""
        for lease in self._leases.values():
            lease.is_asked = False

    def surplus(
        self, *, wanted: frozenset[str] = frozenset(), all_of_it: bool = False
    ) -> list[Charge]:
        """What to return: idle, wanted or outdated units; they are not free here from now on.

        Leases without any are forgotten when they are idle.
        """
        now_s, found = self._clock(), self.outdated()
        for key, lease in list(self._leases.items()):
            is_idle = now_s - lease.used_s > IDLE_S
            if lease.free > 0 and (all_of_it or is_idle or key in wanted):
                found.append(Charge(lease.account, lease.free))
                lease.free = 0
            if is_idle and lease.free == 0 and now_s >= lease.dry_until_s and not lease.is_asked:
                del self._leases[key]
        return found

    def forget(self) -> None:
        """Give up every lease without returning it: it lapses in the ledger by itself."""
        self._leases.clear()
        self._outdated.clear()

    def _piece(self, account: Account) -> int:
        return ceil(account.cap * self._share)

    def _add(self, lease: _Lease, charge: Charge) -> None:
        if charge.account.cap == lease.account.cap:
            lease.free += charge.amount
        elif charge.amount:
            self._outdated.append(charge)

    def _present_lease(self, account: Account, now_s: float) -> _Lease:
        """The lease, with nothing free of what was leased under another cap."""
        lease = self._lease(account, now_s)
        if lease.account.cap == account.cap:
            return lease
        if lease.free:
            self._outdated.append(Charge(lease.account, lease.free))
        lease = self._leases[account.key] = _Lease(account, now_s)
        return lease

    def _lease(self, account: Account, now_s: float) -> _Lease:
        lease = self._leases.get(account.key)
        if lease is None:
            lease = self._leases[account.key] = _Lease(account, now_s)
        return lease
