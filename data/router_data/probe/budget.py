"""A limit on what a probe may spend, held by reserving each call's worst case before it is made."""

from router_model.errors import RouterError


class BudgetExhaustedError(RouterError):
    """The next call could cost more than what is left."""

    code = "budget_exhausted"


class Budget:
    """Dollars that may be spent, those that are reserved, and those that are spent.

    >>> budget = Budget(1.0)
    >>> budget.reserve(0.75)
    >>> budget.settle(0.75, spent=0.25)
    >>> budget.left_usd
    0.75
    """

    def __init__(self, max_usd: float) -> None:
        self.max_usd = max_usd
        self.spent_usd = 0.0
        self.reserved_usd = 0.0

    @property
    def left_usd(self) -> float:
        """What may still be reserved."""
        return self.max_usd - self.spent_usd - self.reserved_usd

    def reserve(self, usd: float) -> None:
        """Set the amount aside; raises BudgetExhaustedError where it is more than what is left."""
        if usd > self.left_usd:
            raise BudgetExhaustedError(
                f"the next call may cost ${usd:.4f}, of ${self.max_usd:.2f} are left "
                f"${max(0.0, self.left_usd):.4f}"
            )
        self.reserved_usd += usd

    def settle(self, reserved: float, *, spent: float) -> None:
        """Turn a reservation into what the call cost."""
        self.reserved_usd -= reserved
        self.spent_usd += spent
