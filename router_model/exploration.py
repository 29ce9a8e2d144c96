"""Gives near-ties a chance, so that the log shows outcomes of more than the first choice.

The distribution is fixed before the draw: settings, locks and the budget switch exploration on
or off, and the propensity of whatever is drawn is exact. Models that the policy would never take
for adequate are never explored.
"""

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, structs

from router_model.terms import Exploration

NOT_SET, LOCKED, PINNED = "not_set", "locked", "pinned"
LATENCY, OVER_SOFT_CAP = "latency_objective", "over_soft_cap"
BUDGET_SPENT, NO_NEAR_TIE, FALLBACK = "budget_spent", "no_near_tie", "fallback"
# Decided before candidates are compared, from what the log does not keep.
BEFOREHAND: Final = frozenset({NOT_SET, LOCKED, PINNED, LATENCY, OVER_SOFT_CAP})
MICRO: Final = 1_000_000


class Explored(Struct, frozen=True):
    """Probabilities of the near-ties, what they are expected to cost, and the terms in effect."""

    probabilities: Sequence[float]
    regret_usd: float
    exploration: Exploration


def explore(
    total_costs: Sequence[float], *, exploration: Exploration, near_tie: float, n_most: int
) -> Explored:
    """Probabilities of the runners-up of `total_costs`, which rises from the first choice on.

    A near-tie costs at most `near_tie` times the first choice's total cost c_0. The nearest k of
    them, at most `n_most` and as many as the floor f leaves room for in the share s, get

        p_i = f + (s - k f) (1 / c_i) / sum_j (1 / c_j),

    evenly where costs are 0. Expected regret = sum_i p_i (c_i - c_0); where it exceeds the budget
    that is left, there is no exploration.

    >>> explored = explore([2.0, 2.0, 3.0, 9.0], exploration=Exploration(share=0.1), near_tie=1.5,
    ...                    n_most=2)
    >>> [round(p, 3) for p in explored.probabilities], round(explored.regret_usd, 3)
    ([0.06, 0.04], 0.04)
    """
    if exploration.off is None and exploration.share <= 0.0:
        exploration = structs.replace(exploration, off=NOT_SET)
    if exploration.off is not None:
        return Explored((), 0.0, exploration)
    costs = _near_ties(total_costs, exploration, near_tie=near_tie, n_most=n_most)
    if not costs:
        return Explored((), 0.0, structs.replace(exploration, off=NO_NEAR_TIE))
    probabilities = _spread(costs, exploration)
    regret = math.fsum(
        p * (cost - total_costs[0]) for p, cost in zip(probabilities, costs, strict=True)
    )
    left = exploration.budget_left_usd
    if left is not None and microusd(regret) > round(left * MICRO):
        return Explored((), 0.0, structs.replace(exploration, off=BUDGET_SPENT))
    return Explored(probabilities, regret, exploration)


def microusd(usd: float) -> int:
    """Whole micro-dollars, rounded up: what costs anything is never free.

    >>> microusd(0.0000012), microusd(0.25)
    (2, 250000)
    """
    return math.ceil(round(usd * MICRO, 6))


def _near_ties(
    total_costs: Sequence[float], exploration: Exploration, *, near_tie: float, n_most: int
) -> Sequence[float]:
    if exploration.floor > 0.0:
        # A share of 0.3 has room for three floors of 0.1, though 0.3 / 0.1 is below 3 in floats.
        n_most = int(min(n_most, exploration.share / exploration.floor + 1e-9))
    limit = near_tie * total_costs[0] if total_costs else 0.0
    return [cost for cost in total_costs[1 : 1 + n_most] if cost <= limit]


def _spread(costs: Sequence[float], exploration: Exploration) -> list[float]:
    # All are within near_tie of the least: either none of them is 0 or all are. The ratio, since
    # one over a tiny cost is infinite.
    weights = [costs[0] / cost if costs[0] > 0.0 else 1.0 for cost in costs]
    rest = max(0.0, exploration.share - len(costs) * exploration.floor)
    return [exploration.floor + rest * weight / sum(weights) for weight in weights]
