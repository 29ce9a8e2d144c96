"""Outcome matrices for tests, from plain lists."""

import numpy as np
from numpy.typing import ArrayLike

from router_training.matrix import OutcomeMatrix


def matrix(
    *, score: ArrayLike, cost: ArrayLike | None = None, group: ArrayLike | None = None
) -> OutcomeMatrix:
    """Models m0, m1, ... ; adequate at 0.5 and above; a group for each context by default."""
    scores = np.asarray(score, dtype=np.float64)
    n, m = scores.shape
    costs = np.full((n, m), np.nan) if cost is None else np.asarray(cost, dtype=np.float64)
    groups = np.arange(n) if group is None else np.asarray(group)
    return OutcomeMatrix(
        models=tuple(f"m{i}" for i in range(m)),
        score=scores,
        adequate=(scores >= 0.5).astype(np.float64),
        cost=costs,
        group=groups.astype(str),
        task=np.full(n, "task"),
        context=np.arange(n),
    )
