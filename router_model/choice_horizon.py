"""For how many calls to come a choice of model can be expected to hold.

A session goes on for T more calls, but the model that is chosen now stays fit for them only for a
while: the next call may be harder, and ask for another. A choice that leaves its model fit for the
next call with probability k each time holds for T' = min(T, K) calls, K geometric with P(K >= t) =
k^t, so that

    P(T' >= t) = k^t P(T >= t),

and what comes after is decided anew whatever is chosen now. Counting on all of T instead buys
prefixes that are not read any more.
"""

from functools import lru_cache
from typing import Final

from router_model.continuation import Turns, turns_of
from router_model.economics import Horizon

P_STAYS_FIT: Final = 0.6
"""P(the model that suits a call suits the next).

Judged call by call, with what is cached then but without a look ahead, the choice stayed the same
from one call to the next in 57% to 86% of the cases in recorded conversations with tools
(tau-bench, tau2-bench) and in 97% in recorded coding sessions (SWE-bench Verified). Replayed bills
(`router-train replay`, the starter's predictions) hardly change between 0.5 and 0.8; 0.6 was
picked on these same sessions, near the low end, as counting on too many calls is the dearer
mistake. What a log says of its own traffic is better.
"""


# Horizons are few: those of an artifact by step type and turn.
@lru_cache(maxsize=1024)
def choice_horizon(horizon: Horizon, p_stays_fit: float = P_STAYS_FIT) -> Horizon:
    """The horizon of T' for that of T, its two moments by the two values `turns_of` gives T.

    >>> fixed = Horizon(turns=2.0, low=2.0, high=2.0, second=3.0)
    >>> held = choice_horizon(fixed, 0.5)
    >>> held.turns, held.second, held.p_any
    (0.75, 1.0, 0.5)
    >>> choice_horizon(fixed, 1.0) == fixed
    True
    """
    if p_stays_fit >= 1.0:
        return horizon
    expected = turns_of(horizon, horizon.turns)
    ends = [_held(turns_of(horizon, mean), p_stays_fit)[0] for mean in (horizon.low, horizon.high)]
    turns, second = _held(expected, p_stays_fit)
    return Horizon(
        turns=turns,
        low=min(turns, ends[0]),
        high=max(turns, ends[1]),
        second=second,
        n=horizon.n,
        p_any=expected.p_any * p_stays_fit,
    )


def _held(turns: Turns, k: float) -> tuple[float, float]:
    """E[T'] and E[T'(T' + 1) / 2]: the sums of k^t and of t k^t over t = 1 ... T."""
    first = second = 0.0
    for weight, n in turns.points:
        tail = k**n
        first += weight * k * (1.0 - tail) / (1.0 - k)
        second += weight * k * (1.0 - (n + 1.0) * tail + n * tail * k) / (1.0 - k) ** 2
    return first, second
