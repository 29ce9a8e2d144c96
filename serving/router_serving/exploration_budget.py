"""What each tenant has spent on exploration today, in expected regret.

Kept in memory by one process, for the present UTC day: a restart forgets what was spent, and
several workers share a budget evenly. Decisions are charged when they are made, whatever was
drawn.
"""

import time
from typing import Final

from router_model.exploration import MICRO, microusd

SECONDS_A_DAY: Final = 86_400
# About 0.1 kB each. A tenant beyond them is not explored on that day.
MAX_TENANTS: Final = 50_000


def utc_day() -> int:
    """The present UTC day, counted from 1970."""
    return int(time.time() // SECONDS_A_DAY)


class ExplorationBudgets:
    """Micro-dollars of expected regret by tenant, all of one day.

    `n_workers` processes are given an equal part of each budget, so that together they keep it.
    """

    def __init__(self, *, n_workers: int = 1, max_tenants: int = MAX_TENANTS) -> None:
        self._n_workers = n_workers
        self._max_tenants = max_tenants
        self._day = 0
        self._spent_microusd: dict[str, int] = {}

    def left_usd(self, tenant: str, *, budget_microusd: int, day: int) -> float:
        """What the tenant may still spend today, never negative."""
        self._turn(day)
        spent = self._spent_microusd.get(tenant)
        if spent is None:
            if len(self._spent_microusd) >= self._max_tenants:
                return 0.0
            spent = 0
        return max(0, budget_microusd // self._n_workers - spent) / MICRO

    def charge(self, tenant: str, regret_usd: float, *, day: int) -> None:
        """Take note of what one decision is expected to cost, rounded up."""
        self._turn(day)
        if regret_usd > 0.0:
            spent = self._spent_microusd.get(tenant, 0)
            self._spent_microusd[tenant] = spent + microusd(regret_usd)

    def _turn(self, day: int) -> None:
        if day != self._day:
            self._day = day
            self._spent_microusd.clear()
