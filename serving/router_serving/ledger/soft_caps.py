"""Which users are beyond their soft budget, as of the last refresh."""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from router_model.exploration import MICRO
from router_serving.ledger.limits import Limited
from router_serving.ledger.notices import Notices
from router_serving.ledger.types import Balance, LedgerStore

# Whoever did not call for so long is looked up anew, and is within the cap for his first call.
FORGET_S: Final = 600.0
REFRESH_S: Final = 1.0
MAX_WATCHED: Final = 5_000


class _Watched(Struct):
    limited: Limited
    seen_s: float
    used: int = 0


class SoftCaps:
    """Watches the soft accounts of the users that call.

    The event loop asks, the ledger's thread refreshes: a look lags by about a second.
    """

    def __init__(self, notices: Notices, *, clock: Callable[[], float]) -> None:
        self._notices = notices
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._refreshed_s = 0.0

    def is_over(self, limited: Limited) -> bool:
        """True when the account has used up its cap."""
        key = limited.account.key
        watched = self._watched.get(key)
        if watched is None:
            if len(self._watched) < MAX_WATCHED:
                self._watched[key] = _Watched(limited, time.monotonic())
            return False
        watched.limited, watched.seen_s = limited, time.monotonic()  # its cap may be another now
        return watched.used >= limited.account.cap

    def refresh(self, store: LedgerStore) -> None:
        """Look up everybody who called lately, and tell once who is over."""
        now_s = time.monotonic()
        if now_s - self._refreshed_s < REFRESH_S or not self._watched:
            return
        self._refreshed_s = now_s
        present = {
            key: watched
            for key, watched in list(self._watched.items())
            if now_s - watched.seen_s < FORGET_S and watched.limited.account.ends_s > self._clock()
        }
        for key in set(self._watched) - set(present):
            self._watched.pop(key, None)
        balances = store.balances(list(present))
        for key, watched in present.items():
            watched.used = balances.get(key, Balance()).used
            if watched.used >= watched.limited.account.cap:
                self._tell(watched.limited, watched.used)

    def _tell(self, limited: Limited, used: int) -> None:
        account = limited.account
        self._notices.tell(
            "budget.soft_cap_reached",
            subject=limited.subject,
            once=f"soft|{account.key}",
            until_s=account.ends_s,
            cap_usd=account.cap / MICRO,
            used_usd=used / MICRO,
        )
