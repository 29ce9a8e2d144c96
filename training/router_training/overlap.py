"""Whether a log can say anything about a policy, and what it would have to explore to do so.

Weights that are rare and large leave a few rows to decide everything: the effective sample size
(sum w)^2 / sum w^2 says how many. Probability of the policy on models that the log gave none says
nothing at all about what they would yield. When either is out of bounds there is no estimate, but
an OverlapError with the exploration that would give one.

How much that is: give every model that the policy takes at least the probability `floor` on each
decision. A model taken on a share s of the decisions then adds a variance of at most
sigma^2 s / (floor n) to the estimate over n decisions, sigma^2 = 1/4 being the worst of any
reward in [0, 1]; so a half width h at 95% needs n = 1.96^2 sigma^2 s / (floor h^2).
"""

import math
from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.logged import LoggedDecisions
from router_training.bandit_sample import OverlapError, effective_sample_size

Floats = NDArray[np.float64]

_VARIANCE = 0.25
_Z = 1.959964
_FLOORS = (0.01, 0.02, 0.05)
_TAIL = 0.01
_NOTICED = 0.005


class OverlapLimits(Struct, frozen=True, kw_only=True):
    """How little a log may say about a policy before an estimate is refused.

    The effective sample size has to reach both `min_effective_sample_size` and
    `min_effective_share` of the decisions: fewer rows make normal intervals a fiction, whatever
    their number. `max_unsupported` is the largest share of the policy's probability on models
    that the log gave none: with rewards in [0, 1] it is also how far the estimate can be off.
    `half_width` is the precision that the advice in an OverlapError is for.
    """

    min_effective_sample_size: float = 50.0
    min_effective_share: float = 0.005
    max_unsupported: float = 0.05
    half_width: float = 0.02

    def least_for(self, n: int) -> float:
        """The least effective sample size for a log of n decisions."""
        return max(self.min_effective_sample_size, self.min_effective_share * n)


class Overlap(Struct, frozen=True, kw_only=True):
    """How much of a policy a log shows.

    `effective_sample_size` counts decisions with an observed outcome. `max_weight` is the
    greatest weight that was drawn, `weight_p99` its 99th percentile, and `tail_share` what the
    largest hundredth of the weights adds to their sum (0.01 when all are equal). `unsupported`
    is the policy's mean probability on models that the log gave none, also by model.
    """

    n: int
    effective_sample_size: float
    unsupported: float
    unsupported_models: dict[str, float]
    max_weight: float
    weight_p99: float
    tail_share: float


def overlap_of(logged: LoggedDecisions, target: Floats, weight: Floats) -> Overlap:
    """The overlap of a log and a policy's distribution; `weight` is 0 where nothing was seen."""
    outside = np.where(logged.distribution > 0, 0.0, target)
    by_model = outside.mean(axis=0)
    n_tail = max(1, math.ceil(_TAIL * len(weight)))
    tail = float(np.sort(weight)[-n_tail:].sum())
    return Overlap(
        n=logged.n,
        effective_sample_size=effective_sample_size(weight),
        unsupported=float(by_model.sum()),
        unsupported_models={
            logged.models[j]: float(by_model[j]) for j in np.argsort(-by_model) if by_model[j] > 0
        },
        max_weight=float(weight.max()),
        weight_p99=float(np.quantile(weight, 0.99)),
        tail_share=tail / float(weight.sum()) if weight.sum() > 0 else 0.0,
    )


def require_overlap(
    logged: LoggedDecisions, target: Floats, overlap: Overlap, limits: OverlapLimits
) -> None:
    """OverlapError with figures and advice when the log says too little about the policy."""
    faults = []
    least = limits.least_for(overlap.n)
    if overlap.effective_sample_size < least:
        faults.append(
            f"effective sample size: got {overlap.effective_sample_size:.1f} of {overlap.n} "
            f"decisions, expected at least {least:g}"
        )
    if overlap.unsupported > limits.max_unsupported:
        models = ", ".join(f"{m} {share:.1%}" for m, share in overlap.unsupported_models.items())
        faults.append(
            f"unsupported: {overlap.unsupported:.1%} of the policy's probability is on models "
            f"that the log gave none ({models}), expected at most {limits.max_unsupported:.1%}"
        )
    if faults:
        raise OverlapError(f"{'; '.join(faults)}. {advice(logged, target, limits)}")


def advice(logged: LoggedDecisions, target: Floats, limits: OverlapLimits) -> str:
    """Which models need which probability, over how many decisions."""
    lacking = models_lacking(logged, target)
    if not lacking:
        return (
            f"The log is too short: more decisions like these are needed, with outcomes "
            f"({logged.n_observed} of {logged.n} have one)"
        )
    share = max(lacking.values())
    models = ", ".join(f"{model} ({part:.0%} of decisions)" for model, part in lacking.items())
    needed = ", ".join(
        f"{floor:g} over {decisions_needed(floor, share=share, half_width=limits.half_width):,}"
        for floor in _FLOORS
    )
    least = floor_needed(logged.n, share=share, half_width=limits.half_width)
    here = f"{least:.2g}" if least < 1.0 else "more than 1, so this log is too short"
    return (
        f"To know its adequacy within +-{limits.half_width:g}, explore {models}: give each a "
        f"probability of at least {needed} decisions; over {logged.n:,} it would be {here}"
    )


def models_lacking(logged: LoggedDecisions, target: Floats) -> Mapping[str, float]:
    """Models whose lack of probability spoils the estimate, with the policy's share of them.

    Those the log gave no probability where the policy takes them, and those that make up more
    than a tenth of the expected squared weight beyond what the policy itself would.
    """
    is_shown = logged.distribution > 0
    outside = np.where(is_shown, 0.0, target).mean(axis=0)
    square = np.divide(
        np.square(target), logged.distribution, out=np.zeros_like(target), where=is_shown
    ).mean(axis=0)
    shares = target.mean(axis=0)
    excess = square - shares
    is_lacking = (outside > _NOTICED) | (excess > 0.1 * max(float(square.sum()), 1.0))
    return {logged.models[j]: float(shares[j]) for j in np.argsort(-shares) if is_lacking[j]}


def decisions_needed(floor: float, *, share: float, half_width: float) -> int:
    """Decisions that give a half width, with at least `floor` of probability explored.

    >>> decisions_needed(0.05, share=0.5, half_width=0.02)
    24010
    """
    return math.ceil(_Z**2 * _VARIANCE * share / (floor * half_width**2))


def floor_needed(n: int, *, share: float, half_width: float) -> float:
    """The probability to explore with, to get a half width from n decisions.

    >>> round(floor_needed(24_010, share=0.5, half_width=0.02), 4)
    0.05
    """
    return _Z**2 * _VARIANCE * share / (n * half_width**2)
