"""Which requests a threshold on p downgrades, and to which model.

With models ordered by price, a threshold tau takes the first with p >= tau; `top` is the model of
highest p, the cheaper one in a tie, which is taken when none reaches tau. A request is downgraded
when another than `top` is taken. As tau falls a downgraded request stays downgraded, because the
cheaper model still reaches tau; the model it goes to may change.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from router_training.matrix import Bools, Floats, Ints


class Downgrades(Struct, frozen=True, kw_only=True):
    """Choices by price among the admissible models.

    `order` (n, m) holds the columns from cheap to dear, `reach` (n, m) the highest p up to there,
    `place` (n,) where `top` stands in the order. `entry` is the highest threshold at which a
    request is downgraded, minus infinity for those whose `top` is the cheapest.
    """

    order: Ints
    reach: Floats
    place: Ints
    entry: Floats

    @property
    def top(self) -> Ints:
        """Column of the highest p of every request."""
        return np.asarray(np.take_along_axis(self.order, self.place[:, None], axis=1)[:, 0])

    def choice(self, thresholds: ArrayLike) -> Ints:
        """Column taken (n, thresholds)."""
        taus = np.asarray(thresholds, dtype=np.float64)
        at = np.empty((len(self.place), len(taus)), dtype=np.int64)
        for i, tau in enumerate(taus):
            at[:, i] = np.minimum((self.reach < tau).sum(axis=1), self.place)
        return np.asarray(np.take_along_axis(self.order, at, axis=1))

    def is_downgraded(self, thresholds: ArrayLike) -> Bools:
        """Whether each request is downgraded (n, thresholds)."""
        return np.asarray(self.entry[:, None] >= np.asarray(thresholds, dtype=np.float64))


def downgrades(p: ArrayLike, cost: ArrayLike) -> Downgrades:
    """What thresholds do to requests (rows) with predicted p and cost of models (columns).

    NaN in `p` marks a model that is not admissible; a cost that is NaN counts as the highest.

    >>> found = downgrades([[0.7, 0.8, 0.9]], [[1.0, 2.0, 5.0]])
    >>> found.choice([0.95, 0.85, 0.75, 0.6]).tolist(), found.entry.tolist()
    ([[2, 2, 1, 0]], [0.8])
    """
    ps = np.asarray(p, dtype=np.float64)
    is_admissible = np.isfinite(ps)
    ps = np.where(is_admissible, ps, -np.inf)
    costs = np.nan_to_num(np.asarray(cost, dtype=np.float64), nan=np.inf, posinf=np.inf)
    order = np.lexsort((-ps, np.where(is_admissible, costs, np.inf), ~is_admissible), axis=1)
    reach = np.maximum.accumulate(np.take_along_axis(ps, order, axis=1), axis=1)
    place = np.argmax(reach >= reach[:, -1:], axis=1)
    before = np.take_along_axis(reach, np.maximum(place - 1, 0)[:, None], axis=1)[:, 0]
    return Downgrades(
        order=order, reach=reach, place=place, entry=np.where(place > 0, before, -np.inf)
    )
