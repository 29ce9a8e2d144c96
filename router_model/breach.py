"""Says when one stream of failures is worse than another by more than a margin, at any time.

Failures of two streams are Bernoulli with rates p (the canary's) and q (the champion's), whatever
came before and however calls are shared out between the two. For every pair of rates

    M(p, q) = [B(s + 1/2, f + 1/2) / B(1/2, 1/2)] / [p^s (1 - p)^f]  times the same of q,

s failures and f successes so far, is a martingale that starts at 1: the likelihood averaged over
Beta(1/2, 1/2), divided by the likelihood (Robbins, 1970, Annals of Mathematical Statistics 41).
The evidence against "p <= q + margin" is the least M over all such pairs, so if that claim holds,
it ever reaches 1 / delta with probability at most delta (Ville's inequality); it may be looked at
after every outcome. Dividing by the largest likelihood under the claim is universal inference
(Wasserman, Ramdas and Balakrishnan, 2020, PNAS 117).
"""

import math
from typing import Final

_STEPS: Final = 50
_HALF: Final = math.lgamma(0.5)


def log_evidence(failures: int, n: int, base_failures: int, base_n: int, *, margin: float) -> float:
    """The logarithm of the evidence that the first rate exceeds the second by over `margin`.

    Minus infinity while one of the streams is empty.

    >>> log_evidence(40, 100, 10, 100, margin=0.02) > math.log(1 / 0.05)
    True
    >>> log_evidence(12, 100, 10, 100, margin=0.02) < 0.0
    True
    """
    if n == 0 or base_n == 0:
        return -math.inf
    rate, base = _constrained(failures, n, base_failures, base_n, margin)
    largest = _log_likelihood(failures, n, rate) + _log_likelihood(base_failures, base_n, base)
    return _log_average(failures, n) + _log_average(base_failures, base_n) - largest


def log_evidence_above(failures: int, n: int, *, limit: float) -> float:
    """The logarithm of the evidence that the rate of one stream exceeds a limit.

    The same test with one stream: the averaged likelihood over the largest with a rate of at most
    `limit`. Minus infinity while the stream is empty.

    >>> log_evidence_above(20, 100, limit=0.05) > math.log(1 / 0.05)
    True
    >>> log_evidence_above(5, 100, limit=0.05) < 0.0
    True
    """
    if n == 0:
        return -math.inf
    return _log_average(failures, n) - _log_likelihood(failures, n, min(failures / n, limit))


def _constrained(s: int, n: int, s0: int, n0: int, margin: float) -> tuple[float, float]:
    """The likeliest p and q with p <= q + margin.

    Where the observed rates break that, the likeliest pair lies on p = q + margin with q between
    the observed q and the observed p less the margin: there the slope changes sign.
    """
    rate, base = s / n, s0 / n0
    if rate <= base + margin:
        return rate, base
    low, high = base, rate - margin
    for _ in range(_STEPS):
        q = (low + high) / 2
        slope = _slope(s, n, q + margin) + _slope(s0, n0, q)
        low, high = (q, high) if slope > 0.0 else (low, q)
    q = (low + high) / 2
    return q + margin, q


def _slope(s: int, n: int, p: float) -> float:
    """Derivative of the log-likelihood."""
    up = s / p if s else 0.0
    down = (n - s) / (1.0 - p) if n > s else 0.0
    return up - down


def _log_likelihood(s: int, n: int, p: float) -> float:
    log_s = s * math.log(p) if s else 0.0
    return log_s + ((n - s) * math.log1p(-p) if n > s else 0.0)


def _log_average(s: int, n: int) -> float:
    """Logarithm of the likelihood averaged over Beta(1/2, 1/2)."""
    beta = math.lgamma(s + 0.5) + math.lgamma(n - s + 0.5) - math.lgamma(n + 1.0)
    return beta - 2 * _HALF
