"""How far an estimator goes in making large weights smaller.

Less weight is less variance and more bias. The bias of replacing w by a smaller w' in mean(w y),
|y| <= Y, is at most Y mean(w - w'), which can be read off the log; so the parameter with the least
(bias bound)^2 + (standard error)^2 is taken. The bound is the worst case, so that the choice leans
to little clipping, and tends to none as the log grows.
"""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_training.bandit_sample import BanditSample
from router_training.ope_intervals import clustered_standard_error

Floats = NDArray[np.float64]
_N_POINTS = 41


class Choice(Struct, frozen=True):
    """Weights made smaller by a parameter, and how far that can shift the estimate."""

    parameter: float
    weight: Floats
    bias_bound: float


Lower = Callable[[Floats, float], Floats]


def clip(weight: Floats, greatest: float) -> Floats:
    """Weights above `greatest` count as `greatest`."""
    return np.minimum(weight, greatest)


def switch(weight: Floats, threshold: float) -> Floats:
    """Weights above the threshold count as 0."""
    return np.where(weight <= threshold, weight, 0.0)


def shrink(weight: Floats, shrinkage: float) -> Floats:
    """lambda w / (w^2 + lambda): small weights hardly change, large ones tend to 0.

    >>> shrink(np.array([0.1, 1.0, 10.0]), 1.0).round(3)
    array([0.099, 0.5  , 0.099])
    """
    if np.isinf(shrinkage):
        return weight
    square = np.square(weight) + shrinkage
    return np.divide(shrinkage * weight, square, out=np.zeros_like(weight), where=square > 0)


def choose_clip(sample: BanditSample, given: float | None) -> Choice:
    """The clip of mean(min(w, M) r), where a weight's excess is multiplied by at most max|r|."""
    size = max(abs(end) for end in sample.reward_bounds)

    def terms(weight: Floats) -> Floats:
        return weight * sample.observed_reward

    return _choose(sample, given, clip, terms=terms, size=size)


def choose_correction(sample: BanditSample, given: float | None, lower: Lower) -> Choice:
    """The parameter of mean(v + w' (r - q)), where r - q is at most as wide as rewards are."""
    q, v = sample.model()
    low, high = extent(q, sample.reward_bounds)

    def terms(weight: Floats) -> Floats:
        return v + weight * (sample.observed_reward - q)

    return _choose(sample, given, lower, terms=terms, size=high - low)


def extent(values: Floats, bounds: tuple[float, float]) -> tuple[float, float]:
    """The least and greatest of values and bounds."""
    return min(float(values.min()), bounds[0]), max(float(values.max()), bounds[1])


def _choose(
    sample: BanditSample,
    given: float | None,
    lower: Lower,
    *,
    terms: Callable[[Floats], Floats],
    size: float,
) -> Choice:
    weight = sample.weight

    def choice(parameter: float) -> Choice:
        smaller = lower(weight, parameter)
        return Choice(parameter, smaller, size * float((weight - smaller).mean()))

    if given is not None:
        return choice(given)

    def risk(option: Choice) -> float:
        error = clustered_standard_error(terms(option.weight), sample.groups)
        return option.bias_bound**2 + float(np.nan_to_num(error)) ** 2

    points = _squares(weight) if lower is shrink else _quantiles(weight)
    return min((choice(point) for point in (float("inf"), *points)), key=risk)


def _quantiles(weight: Floats) -> list[float]:
    """Quantiles of the positive weights, denser in the tail."""
    positive = weight[weight > 0]
    if not positive.size:
        return []
    shares = 1.0 - np.geomspace(1.0, 1e-4, _N_POINTS)
    return [float(point) for point in np.unique(np.quantile(positive, shares))]


def _squares(weight: Floats) -> list[float]:
    """Multiples of the mean squared weight, from a hundredth to a million."""
    mean = float(np.square(weight).mean())
    return [mean * float(factor) for factor in np.geomspace(1e-2, 1e6, _N_POINTS)]
