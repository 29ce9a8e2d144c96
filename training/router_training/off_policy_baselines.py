"""Fixed models and mixes of two, off-policy: what every router has to beat.

A policy's value is linear in its distribution, and so is its DR estimate. So the hull of the
fixed models' (cost, adequacy) holds every mix of two as well, without further estimates.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_training.bandit_sample import effective_sample_size
from router_training.envelope import envelope_score_at, upper_envelope
from router_training.estimates import NOTHING
from router_training.intervals import Interval, Resampling, grouped_interval
from router_training.off_policy_report import ADEQUATE, COST, FixedModel, Mix
from router_training.off_policy_savings import interval_of
from router_training.off_policy_values import LogValues
from router_training.overlap import OverlapLimits
from router_training.report import HullCorner
from router_training.target_policies import FixedPolicy

Floats = NDArray[np.float64]


class Fixed(Struct, frozen=True, kw_only=True):
    """The fixed models, and the distributions and terms of those with enough support."""

    models: tuple[FixedModel, ...]
    targets: dict[str, Floats]
    adequate: dict[str, Floats]
    cost_usd: dict[str, Floats]

    @property
    def best(self) -> str | None:
        """The supported model of the highest adequacy, the cheaper one in a tie."""
        return max(
            self.targets,
            key=lambda m: (float(self.adequate[m].mean()), -float(self.cost_usd[m].mean())),
            default=None,
        )


def fixed_models(log: LogValues, limits: OverlapLimits) -> Fixed:
    """Every fixed model by DR, those with too little support by name and reason only."""
    models: list[FixedModel] = []
    found = Fixed(models=(), targets={}, adequate={}, cost_usd={})
    for column, model in enumerate(log.logged.models):
        target = FixedPolicy(model).distribution(log.logged)
        sample = log.outcomes[ADEQUATE].sample(target)
        size, unsupported = effective_sample_size(sample.weight), sample.unsupported
        reason = _reason(size, unsupported, limits, n=log.logged.n)
        if not reason:
            found.targets[model] = target
            found.adequate[model] = log.outcomes[ADEQUATE].terms(target)
            found.cost_usd[model] = log.outcomes[COST].terms(target)
        is_used = model in found.targets
        models.append(
            FixedModel(
                model=model,
                admissible=float(log.logged.candidates[:, column].mean()),
                unsupported=unsupported,
                effective_sample_size=size,
                adequate=interval_of(found.adequate[model], log.groups) if is_used else None,
                cost_usd=interval_of(found.cost_usd[model], log.groups) if is_used else None,
                left_out=reason,
            )
        )
    return Fixed(
        models=tuple(models),
        targets=found.targets,
        adequate=found.adequate,
        cost_usd=found.cost_usd,
    )


def hull_of(fixed: Fixed) -> tuple[HullCorner, ...]:
    """Corners of the static hull, cheapest first; none without a supported model."""
    if not fixed.targets:
        return ()
    names = list(fixed.targets)
    costs = [float(fixed.cost_usd[name].mean()) for name in names]
    scores = [float(fixed.adequate[name].mean()) for name in names]
    place = {(costs[i], scores[i]): names[i] for i in range(len(names))}
    return tuple(
        HullCorner(model=place[(float(cost), float(score))], cost=float(cost), score=float(score))
        for cost, score in zip(*upper_envelope(costs, scores), strict=True)
    )


def mix_at(hull: Sequence[HullCorner], cost_usd: float) -> Mix | None:
    """The point of the hull at a mean cost; its ends where the cost lies beyond them.

    >>> corners = [HullCorner(model="a", cost=1.0, score=0.5),
    ...            HullCorner(model="b", cost=3.0, score=0.9)]
    >>> mix_at(corners, 1.5)
    Mix(models=('a', 'b'), share=0.75, cost_usd=1.5, adequate=0.6)
    """
    if not hull:
        return None
    above = [corner for corner in hull if corner.cost >= cost_usd]
    second = above[0] if above else hull[-1]
    first = max((c for c in hull if c.cost < second.cost), key=lambda c: c.cost, default=second)
    if not above or first is second:
        first, share = second, 1.0
    else:
        share = (second.cost - cost_usd) / (second.cost - first.cost)
    return Mix(
        models=(first.model, second.model),
        share=share,
        cost_usd=share * first.cost + (1.0 - share) * second.cost,
        adequate=share * first.score + (1.0 - share) * second.score,
    )


def minus_hull(
    log: LogValues, fixed: Fixed, target: Floats, *, added_cost: float, resampling: Resampling
) -> Interval:
    """Adequacy of the target minus the hull's at the target's cost plus `added_cost`.

    The hull is made anew in every resample, from the same sessions. Without a supported fixed
    model there is none.
    """
    if not fixed.targets:
        return NOTHING
    k = len(fixed.targets)
    columns = np.column_stack(
        [
            np.ones(log.logged.n),
            *fixed.adequate.values(),
            *fixed.cost_usd.values(),
            log.outcomes[ADEQUATE].terms(target),
            log.outcomes[COST].terms(target) + added_cost,
        ]
    )

    def statistic(sums: Floats) -> Floats:
        means = sums[:, 1:] / sums[:, :1]
        return np.array([_above(row, k) for row in means])

    return grouped_interval(columns, log.groups, statistic, resampling=resampling)


def _above(row: Floats, k: int) -> float:
    costs, scores = upper_envelope(row[k : 2 * k], row[:k])
    height = envelope_score_at(row[-1], corner_costs=costs, corner_scores=scores)
    return float(row[-2] - height)


def _reason(size: float, unsupported: float, limits: OverlapLimits, *, n: int) -> str:
    if unsupported > limits.max_unsupported:
        return f"no probability in {unsupported:.0%} of decisions"
    if size < limits.least_for(n):
        return f"effective sample size {size:.0f}, expected {limits.least_for(n):g}"
    return ""
