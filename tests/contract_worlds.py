"""Simulated requests with known truth, for tests of quality contracts."""

from typing import NamedTuple

import numpy as np

from router_training.matrix import Floats, Ints

COSTS = np.array([1.0, 3.0, 10.0])


class World(NamedTuple):
    """Predictions, prices, outcomes of every model, groups."""

    p: Floats
    cost: Floats
    adequate: Floats
    group: Ints


def flat_world(rng: np.random.Generator, *, n: int, risk: float, group_size: int = 1) -> World:
    """The hardest case: every downgrade is inadequate with the same chance, whatever p says.

    In a group all outcomes are the same, so that groups are as unlike requests as can be.
    """
    n_groups = -(-n // group_size)
    p = np.sort(rng.uniform(0.5, 1.0, size=(n, 3)), axis=1)
    fails = np.repeat(rng.random((n_groups, 1)) < risk, group_size, axis=0)[:n]
    adequate = np.broadcast_to(~fails, (n, 3)).astype(np.float64)
    group = np.repeat(np.arange(n_groups), group_size)[:n]
    return World(p, np.tile(COSTS, (n, 1)), adequate, group)


def good_world(rng: np.random.Generator, *, n: int) -> World:
    """A predictor that knows the true chances: many requests are easy for the cheapest model."""
    easy = rng.random(n) < 0.6
    p = np.where(easy[:, None], [0.985, 0.99, 0.995], [0.4, 0.7, 0.95])
    p = np.clip(p + rng.normal(0.0, 0.002, size=(n, 3)), 0.0, 1.0)
    adequate = (rng.random((n, 3)) < p).astype(np.float64)
    return World(p, np.tile(COSTS, (n, 1)), adequate, np.arange(n))


def shown(rng: np.random.Generator, adequate: Floats, propensity: Floats) -> tuple[Floats, Ints]:
    """What a log shows when one model is drawn for each request, and which."""
    total = np.cumsum(propensity, axis=1)
    action = (rng.random((len(total), 1)) * total[:, -1:] > total).sum(axis=1)
    seen = np.full(adequate.shape, np.nan)
    rows = np.arange(len(action))
    seen[rows, action] = adequate[rows, action]
    return seen, action.astype(np.int64)
