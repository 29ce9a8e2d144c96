"""In which order thresholds are tested: fixed before outcomes are looked at."""

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from router_training.downgrades import downgrades
from router_training.intervals import group_index
from router_training.matrix import Floats

_N_STRICT, _N_EVEN = 25, 35
_STARTS = (1 / 4, 1 / 2, 3 / 4)
_FEWEST = 20
_SINGLE = 0.98


class ThresholdPlan(Struct, frozen=True, kw_only=True):
    """What is fixed before outcomes are looked at.

    `thresholds` fall from strict to lax; `shares` is the part of delta that starts at each, zero
    at most of them. Of a group `largest_group` requests are looked at, further ones count as
    inadequate; a model that can be drawn has at least the propensity `floor`.

    Made from other requests than those that are tested, the guarantee is exact. Made from the
    same (that is allowed, outcomes play no part), it is exact given the requests as far as
    outcomes are independent given them.
    """

    thresholds: Floats
    shares: Floats
    largest_group: int = 1
    floor: float = 1.0


def plan_of(
    p: ArrayLike,
    cost: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    propensity: ArrayLike | None = None,
) -> ThresholdPlan:
    """A plan from predictions, prices and what is known of the logging; outcomes play no part.

    The thresholds are those that downgrade geometrically and evenly rising numbers. Testing starts
    at three of them, evenly (on a logarithmic scale) between the fewest downgraded that could
    certify anything, 20 x `largest_group` / `floor`, and all that can be. The starts do not
    depend on alpha: therefore a stricter alpha never gives a laxer threshold. Where all but one in
    fifty requests would be left, only the first of each group is looked at, which makes them
    independent and the test exact.
    """
    entry = downgrades(p, cost).entry
    entry = np.sort(entry[np.isfinite(entry)])[::-1]
    if not len(entry):
        return ThresholdPlan(thresholds=np.ones(1), shares=np.ones(1))
    q = np.ones(1) if propensity is None else np.asarray(propensity, dtype=np.float64)
    largest_group, floor = _largest_group(groups), float(q[q > 0].min())
    thresholds, n_downgraded = _thresholds(entry)
    fewest = min(_FEWEST * largest_group / floor, len(entry))
    shares = np.zeros(len(thresholds))
    for start in _STARTS:
        n_first = int(fewest * (len(entry) / fewest) ** start)
        shares[int(np.argmax(n_downgraded >= n_first))] += 1 / len(_STARTS)
    return ThresholdPlan(
        thresholds=thresholds, shares=shares, largest_group=largest_group, floor=floor
    )


def _largest_group(groups: ArrayLike | None) -> int:
    if groups is None:
        return 1
    sizes = np.bincount(group_index(groups)[0])
    return 1 if len(sizes) >= _SINGLE * sizes.sum() else int(sizes.max())


def _thresholds(entry: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Falling thresholds and how many requests each downgrades; `entry` falls."""
    n, first = len(entry), min(_FEWEST, len(entry))
    counts = np.geomspace(first, n, _N_STRICT), np.linspace(first, n, _N_EVEN)
    at = np.unique(np.concatenate(counts).round().astype(np.int64))
    thresholds = np.unique(np.append(entry[at - 1], 0.0))[::-1]
    return thresholds, np.searchsorted(-entry, -thresholds, side="right").astype(np.int64)
