"""p-values of "more than alpha of the downgraded are inadequate", exact for every sample size.

`binomial_p` is for independent requests with known outcomes: the dual of the Clopper-Pearson
bound (1934). It is exact for independent draws of requests, and for fixed requests whose chances
differ by Hoeffding (1956, theorem 4) when the number inadequate is at most n alpha - 1; above
that nothing is certified anyway.

`betting_log_e` is for everything else whose mean is to be tested and whose size is bounded:
sessions, and off-policy estimates. The capital of a bet that the mean of X is below zero,
prod(1 - lambda X), is an e-value (Waudby-Smith and Ramdas 2024), also averaged over several
lambdas, and 1 / capital is a p-value (Ville 1939). The lambdas are fixed beforehand, so
neither the order of the requests nor alpha matters to them, and the capital grows with alpha.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, betaincinv, logsumexp

from router_training.matrix import Floats

BETS: Floats = 0.99 * 2.0 ** -np.arange(0.0, 6.0, 0.75)
"""Lambdas as shares of the largest that can't lose everything and more."""


def binomial_p(n_inadequate: ArrayLike, n: ArrayLike, *, alpha: float) -> Floats:
    """P(at most as many inadequate) when each is so with probability alpha; 1 without any.

    >>> binomial_p([0, 1], [45, 45], alpha=0.05).round(3)
    array([0.099, 0.335])
    """
    count, total = np.asarray(n_inadequate, dtype=float), np.asarray(n, dtype=np.int64)
    return np.asarray(np.where(total > 0, bdtr(count, np.maximum(total, 1), alpha), 1.0))


def binomial_bound(n_inadequate: int, n: int, *, level: float) -> float:
    """Upper Clopper-Pearson bound of a share, exceeded with probability at most `level`.

    >>> round(binomial_bound(0, 45, level=0.1), 3)
    0.05
    """
    if n_inadequate >= n:
        return 1.0
    return float(betaincinv(n_inadequate + 1, n - n_inadequate, 1.0 - level))


def bet_logs(loss: Floats, weight: Floats, *, alpha: float, largest: float) -> Floats:
    """log(1 - lambda X), X = loss - alpha weight, for every bet: one more axis, the last.

    `largest` is the upper bound of the loss, known beforehand.
    """
    gain = (alpha * weight - loss) / largest
    return np.asarray(np.log1p(gain[..., None] * BETS))


def betting_p(total: Floats) -> Floats:
    """p-value from the bets' summed logs (last axis): one over the mean capital, at most 1.

    >>> logs = bet_logs(np.zeros(200), np.ones(200), alpha=0.05, largest=1.0)
    >>> float(betting_p(logs.sum(axis=0)).round(4))
    0.0005
    """
    capital = logsumexp(total, axis=-1) - np.log(total.shape[-1])
    return np.asarray(np.exp(-np.maximum(capital, 0.0)))
