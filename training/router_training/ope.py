"""Off-policy estimators: what another policy would have yielded on logged decisions.

w = pi(a|x) / mu(a|x) is the weight of a logged action (times 1 / P(observed), where rewards are
missing), q the reward model, v(x) = sum_a pi(a|x) q(x, a). Means are over all logged decisions.

| function       | estimate                                         | unbiased when                |
| -------------- | ------------------------------------------------ | ---------------------------- |
| `ips`          | mean(w r)                                        | propensities are right       |
| `clipped_ips`  | mean(min(w, M) r)                                | never; bias is bounded       |
| `snips`        | sum(w r) / sum(w)                                | propensities right, n large  |
| `dm`           | mean(v)                                          | the reward model is right    |
| `dr`           | mean(v + w (r - q))                              | either of the two is right   |
| `switch_dr`    | mean(v + w 1[w <= tau] (r - q))                  | the reward model is right    |
| `dr_shrinkage` | mean(v + lambda w / (w^2 + lambda) (r - q))      | the reward model is right    |

All of them assume that the policy takes no action the log could never have shown; what they
can't know is told by `unsupported`. Where the clip M, threshold tau or shrinkage lambda is not
given, it is the one with the least (bias bound)^2 + (standard error)^2, as Wang et al. (2017)
choose tau (see `router_training.ope_tuning`); the bound is part of the answer.

Papers: Horvitz and Thompson 1952 (IPS); Ionides 2008, Bottou et al. 2013 (clipping); Swaminathan
and Joachims 2015 (SNIPS); Dudik, Langford and Li 2011 (DR); Wang, Agarwal and Dudik 2017
(SWITCH); Su, Dimakopoulou, Krishnamurthy and Dudik 2020 (DR with optimistic shrinkage).
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_training.bandit_sample import (
    BanditSample,
    OverlapError,
    PropensityError,
    effective_sample_size,
)
from router_training.intervals import Resampling
from router_training.ope_intervals import (
    Estimate,
    Spread,
    mean_spread,
    ratio_spread,
)
from router_training.ope_tuning import (
    Choice,
    choose_clip,
    choose_correction,
    extent,
    shrink,
    switch,
)

__all__ = [
    "ESTIMATORS",
    "BanditSample",
    "Estimate",
    "Estimator",
    "OverlapError",
    "PropensityError",
    "clipped_ips",
    "dm",
    "dr",
    "dr_shrinkage",
    "dr_terms",
    "effective_sample_size",
    "ips",
    "snips",
    "switch_dr",
]

Floats = NDArray[np.float64]


def ips(sample: BanditSample) -> Estimate:
    """mean(w r): inverse propensity scoring (Horvitz and Thompson 1952).

    Unbiased when the propensities are right, whatever the rewards; its variance grows with the
    weights, and a constant added to the rewards changes its error.

    >>> sample = BanditSample(reward=np.array([1.0, 0.0]), propensity=np.array([0.5, 0.5]),
    ...                       target=np.array([0.8, 0.2]))
    >>> ips(sample).value
    0.8
    """
    low, high = _ips_bounds(sample, sample.weight_bound)
    return _mean(sample, sample.weight * sample.observed_reward, bounds=(low, high))


def clipped_ips(sample: BanditSample, *, clip: float | None = None) -> Estimate:
    """mean(min(w, M) r): weights above M count as M (Ionides 2008, Bottou et al. 2013).

    Less variance for a bias of at most max|r| mean((w - M)+), which is `bias_bound`. For rewards
    of at least 0 it is too low, never too high.
    """
    chosen = choose_clip(sample, clip)
    bounds = _ips_bounds(sample, min(chosen.parameter, sample.weight_bound))
    return _mean(sample, chosen.weight * sample.observed_reward, bounds=bounds, choice=chosen)


def snips(sample: BanditSample, *, resampling: Resampling | None = None) -> Estimate:
    """sum(w r) / sum(w): self-normalised IPS (Swaminathan and Joachims 2015).

    Consistent when the propensities are right. Never leaves the range of the rewards, and shifts
    with them; its bias falls like 1 / n. The intervals are linearised and bootstrap-t.
    Raises OverlapError when every weight is 0.

    >>> sample = BanditSample(reward=np.array([1.0, 0.0]), propensity=np.array([0.5, 0.25]),
    ...                       target=np.array([0.5, 0.75]))
    >>> snips(sample).value
    0.25
    """
    weight = sample.weight
    if not weight.sum() > 0:
        raise OverlapError(
            f"target: got probability 0 for all {sample.n} logged actions, expected some above 0"
        )
    value = float(weight @ sample.observed_reward / weight.sum())
    spread = ratio_spread(
        weight * sample.observed_reward,
        weight,
        sample.groups,
        resampling=resampling or Resampling(),
    )
    return _estimate(sample, value, spread)


def dm(sample: BanditSample) -> Estimate:
    """mean(v): the direct method, what the reward model says of the policy.

    Unbiased only when the model is; the interval knows nothing of the model's own error.
    """
    _, v = sample.model()
    return _mean(sample, v, bounds=extent(v, sample.reward_bounds))


def dr(sample: BanditSample) -> Estimate:
    """mean(v + w (r - q)): doubly robust (Dudik, Langford and Li 2011).

    Unbiased if either the propensities or the reward model are right; the better the model, the
    less the weights matter.

    >>> sample = BanditSample(reward=np.array([1.0, 0.0]), propensity=np.array([0.5, 0.5]),
    ...                       target=np.array([0.8, 0.2]), reward_model=np.array([0.5, 0.5]),
    ...                       value_model=np.array([0.5, 0.5]))
    >>> dr(sample).value  # 0.5 + (1.6 x 0.5 - 0.4 x 0.5) / 2
    0.8
    """
    return _corrected(sample, Choice(float("nan"), sample.weight, 0.0), sample.weight_bound)


def switch_dr(sample: BanditSample, *, threshold: float | None = None) -> Estimate:
    """mean(v + w 1[w <= tau] (r - q)): SWITCH-DR (Wang, Agarwal and Dudik 2017).

    Where a weight exceeds tau the reward model is trusted alone, for a bias of at most
    max|r - q| mean(w 1[w > tau]). Infinity is DR, and 0 the direct method.
    """
    chosen = choose_correction(sample, threshold, switch)
    return _corrected(sample, chosen, min(chosen.parameter, sample.weight_bound))


def dr_shrinkage(sample: BanditSample, *, shrinkage: float | None = None) -> Estimate:
    """mean(v + lambda w / (w^2 + lambda) (r - q)): optimistic shrinkage (Su et al. 2020).

    Large weights are pulled towards 0, for a bias of at most max|r - q| mean(w^3 / (w^2 + lambda)).
    Infinity is DR, and 0 the direct method.
    """
    chosen = choose_correction(sample, shrinkage, shrink)
    greatest = float(np.sqrt(chosen.parameter)) / 2  # of lambda w / (w^2 + lambda), at sqrt(lambda)
    return _corrected(sample, chosen, min(greatest, sample.weight_bound))


class EstimatorFunction(Protocol):
    """An estimator with its defaults."""

    def __call__(self, sample: BanditSample, /) -> Estimate:
        """The estimate of a sample."""
        ...


class Estimator(Struct, frozen=True, kw_only=True):
    """An estimator, and what it leans on."""

    function: EstimatorFunction
    label: str
    needs_reward_model: bool = False
    is_consistent: bool = False
    """Tends to the truth as the log grows, as long as the propensities are right."""


ESTIMATORS: Mapping[str, Estimator] = {
    "ips": Estimator(function=ips, label="IPS", is_consistent=True),
    "clipped_ips": Estimator(function=clipped_ips, label="clipped IPS"),
    "snips": Estimator(function=snips, label="SNIPS", is_consistent=True),
    "dm": Estimator(function=dm, label="DM", needs_reward_model=True),
    "dr": Estimator(function=dr, label="DR", needs_reward_model=True, is_consistent=True),
    "switch_dr": Estimator(function=switch_dr, label="SWITCH-DR", needs_reward_model=True),
    "dr_shrinkage": Estimator(function=dr_shrinkage, label="DR-shrinkage", needs_reward_model=True),
}


def dr_terms(sample: BanditSample) -> tuple[Floats, tuple[float, float]]:
    """The terms v + w (r - q) of `dr`, for paired differences, and the bounds they lie within."""
    return _corrected_terms(sample, sample.weight, sample.weight_bound)


def _corrected(sample: BanditSample, choice: Choice, greatest: float) -> Estimate:
    terms, bounds = _corrected_terms(sample, choice.weight, greatest)
    return _mean(sample, terms, bounds=bounds, choice=choice)


def _corrected_terms(
    sample: BanditSample, weight: Floats, greatest: float
) -> tuple[Floats, tuple[float, float]]:
    """v + weight (r - q) and its bounds, with weights of at most `greatest`."""
    q, v = sample.model()
    (least_r, most_r), (least_v, most_v) = sample.reward_bounds, extent(v, sample.reward_bounds)
    least_q, most_q = extent(q, sample.reward_bounds)
    bounds = (
        least_v + greatest * min(0.0, least_r - most_q),
        most_v + greatest * max(0.0, most_r - least_q),
    )
    return v + weight * (sample.observed_reward - q), bounds


def _ips_bounds(sample: BanditSample, greatest: float) -> tuple[float, float]:
    low, high = sample.reward_bounds
    return greatest * min(0.0, low), greatest * max(0.0, high)


def _mean(
    sample: BanditSample,
    terms: Floats,
    *,
    bounds: tuple[float, float],
    choice: Choice | None = None,
) -> Estimate:
    spread = mean_spread(terms, sample.groups, bounds=bounds)
    return _estimate(sample, float(terms.mean()), spread, choice)


def _estimate(
    sample: BanditSample, value: float, spread: Spread, choice: Choice | None = None
) -> Estimate:
    return Estimate(
        value=value,
        **spread._asdict(),
        n=sample.n,
        effective_sample_size=sample.effective_sample_size,
        unsupported=sample.unsupported,
        parameter=float("nan") if choice is None else choice.parameter,
        bias_bound=0.0 if choice is None else choice.bias_bound,
    )
