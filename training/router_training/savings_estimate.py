"""What the router's choices would have cost where they were not carried out: an estimate.

While the router only observes, the log has its choice beside the bill of the caller's own model.
Both are walked through each session with the cost model that the router decides by: what a model
saw last of the session, for how long, and how likely it still has it (`router_model.warmth`). So
each of the two walks has the caches that its own choices leave. Then the bills correct the model:

    estimate = sum over models m of r_m x (walked cost of the calls that would go to m),
    r_m = paid for m's calls / walked cost of m's calls,

with the ratio of all calls where a model has fewer than `MIN_BILLS` bills. What a call would have
billed elsewhere is assumed: input tokens in the proportion of the models' learned token ratios,
output tokens in that of their predicted lengths, and the same calls whoever answers. The interval
covers the luck of which sessions were seen, r_m included, not these assumptions; only a share of
routed sessions can test them.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.router import Router
from router_training.envelope import envelope_score_at, upper_envelope
from router_training.intervals import Interval, Resampling, grouped_interval
from router_training.report import HullCorner
from router_training.savings_log import PaidCalls
from router_training.savings_walk import (
    Choose,
    OwnChoice,
    Progress,
    Walk,
    WalkedCall,
    walk,
    walked_calls,
)

Floats = NDArray[np.float64]
MIN_SESSIONS: Final = 20
MIN_BILLS: Final = 30
"""Bills of a model from which on it is corrected by its own."""
MIN_BILLED_SHARE: Final = 0.8
MIN_ADMISSIBLE: Final = 0.99
"""Share of the calls for which a model has to be admissible to be a fixed choice."""


class Fixed(Struct, frozen=True, kw_only=True):
    """One model for every call, by the same estimate; `p_adequate` is predicted, not observed."""

    model: str
    usd_per_call: Interval
    p_adequate: float


class Estimate(Struct, frozen=True, kw_only=True):
    """What the router's choices would have cost instead of what was paid, per call and in all.

    `changed` is the share of calls that would have gone elsewhere. `p_adequate` of the router's
    choices and `p_adequate_kept` of what was used are predicted; `adequate_kept` was observed of
    the latter. `minus_hull` is the router's prediction minus the static hull's at its cost, null
    where that is below the cheapest corner's. `walked_per_paid` is the cost model's figure for the
    calls as they were over their bills, before the correction. `uncorrected` are chosen models
    without enough bills of their own among these calls; those of routed calls are not used.
    `n_left_out` calls are of models that the catalog in use does not price.
    """

    n_calls: int
    n_sessions: int
    changed: float
    paid_usd: float
    estimated_usd: Interval
    saving_usd: Interval
    saving_per_call_usd: Interval
    saving_share: Interval
    p_adequate: float
    p_adequate_kept: float
    adequate_kept: float
    minus_hull: float | None
    walked_per_paid: float
    uncorrected: tuple[str, ...]
    fixed: tuple[Fixed, ...]
    hull: tuple[HullCorner, ...]
    n_left_out: int


def estimated(
    state: Path,
    calls: PaidCalls,
    *,
    tenant: str | None,
    router: Router,
    resampling: Resampling,
    progress: Progress | None = None,
) -> Estimate | str:
    """The estimate from the calls that were not routed, or why there is none.

    `router` is the one in use, which decides, prices and knows how caches behave.
    """
    kept = calls.select(~calls.is_routed)
    if kept.n_sessions < MIN_SESSIONS:
        return (
            f"sessions: got {kept.n_sessions} that kept their own model, expected at least "
            f'{MIN_SESSIONS} (`adoption = "observe"`)'
        )
    if (share := float(kept.is_billed.mean())) < MIN_BILLED_SHARE:
        return (
            f"bills: got those of {share:.0%} of the calls that kept their own model, expected at "
            f"least {MIN_BILLED_SHARE:.0%}: report cost_usd or usage of every call"
        )
    catalog, economics = router.catalog, router.scorer.economics
    read = walked_calls(state, kept, tenant=tenant, catalog=catalog, economics=economics)
    part = kept.select(np.array([call is not None for call in read], dtype=bool))
    if part.n_sessions < MIN_SESSIONS:
        return (
            f"sessions: got {part.n_sessions} whose models the catalog in use prices, expected at "
            f"least {MIN_SESSIONS}"
        )
    return _estimate(
        part,
        [call for call in read if call is not None],
        router=router,
        resampling=resampling,
        progress=progress,
        n_left_out=kept.n - part.n,
    )


def _estimate(
    part: PaidCalls,
    calls: Sequence[WalkedCall],
    *,
    router: Router,
    resampling: Resampling,
    progress: Progress | None,
    n_left_out: int,
) -> Estimate:
    priced = partial(
        walk, calls, catalog=router.catalog, economics=router.scorer.economics, progress=progress
    )
    before, ours = priced(lambda call, _: call.used), priced(OwnChoice(router))
    corrected = _Corrected.of(part, before, resampling)
    fixed = [_fixed(model, corrected, priced(_always(model)), calls) for model in _on_hull(calls)]
    hull, p_ours = _hull(fixed), _mean_p(calls, ours)
    total = float(part.paid_usd.sum())
    estimate = corrected.interval(ours, _ours)
    saving = corrected.interval(ours, lambda ours, paid: paid - ours)
    changed = [call.used != model for call, model in zip(calls, ours.models, strict=True)]
    return Estimate(
        n_calls=part.n,
        n_sessions=part.n_sessions,
        changed=float(np.mean(changed)),
        paid_usd=total,
        estimated_usd=estimate,
        saving_usd=saving,
        saving_per_call_usd=scaled(saving, 1 / part.n),
        saving_share=corrected.interval(ours, lambda ours, paid: 1.0 - ours / paid),
        p_adequate=p_ours,
        p_adequate_kept=_mean_p(calls, before),
        adequate_kept=_observed(part),
        minus_hull=_above(hull, estimate.estimate / part.n, p_ours),
        walked_per_paid=float(before.usd.sum()) / total if total > 0 else math.nan,
        uncorrected=tuple(sorted(set(ours.models) - set(corrected.names))),
        fixed=tuple(fixed),
        hull=hull,
        n_left_out=n_left_out,
    )


def _always(model: str) -> Choose:
    """One model for every call, where it can answer it; else the one that did."""
    return lambda call, _: model if model in call.options else call.used


def _ours(ours: Floats, _paid: Floats) -> Floats:
    return ours


def _fixed(model: str, corrected: "_Corrected", found: Walk, calls: Sequence[WalkedCall]) -> Fixed:
    total = corrected.interval(found, _ours)
    return Fixed(
        model=model,
        usd_per_call=scaled(total, 1 / len(calls)),
        p_adequate=_mean_p(calls, found),
    )


def _mean_p(calls: Sequence[WalkedCall], found: Walk) -> float:
    """Mean predicted P(adequate), NaN where nothing could be predicted."""
    p = np.array([c.options[m].p_adequate for c, m in zip(calls, found.models, strict=True)])
    known = p[np.isfinite(p)]
    return float(known.mean()) if len(known) else math.nan


class _Corrected(Struct, frozen=True):
    """Corrects walked dollars by the bills, anew in every resample of the sessions.

    `names` are the models with enough bills; column 0 of `paid` and `used` is that of all others.
    """

    names: tuple[str, ...]
    paid: Floats
    used: Floats
    session: NDArray[np.int64]
    resampling: Resampling

    @classmethod
    def of(cls, part: PaidCalls, before: Walk, resampling: Resampling) -> "_Corrected":
        """From the calls as they were: who answered, and what the cost model says of it."""
        billed = np.array(before.models, dtype=str)[part.is_billed]
        models, counts = np.unique(billed, return_counts=True)
        names = tuple(models[counts >= MIN_BILLS].tolist())
        paid, walked = (_by_model(usd, before.models, names) for usd in (part.paid_usd, before.usd))
        return cls(names, paid, walked, part.session, resampling)

    def interval(self, found: Walk, statistic: Callable[[Floats, Floats], Floats]) -> Interval:
        """A statistic of the corrected dollars of a walk and the paid ones, of all calls."""
        k = self.paid.shape[1]

        def of_sums(sums: Floats) -> Floats:
            paid, used, ours = sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k :]
            overall = _ratio(paid.sum(axis=1), used.sum(axis=1))
            own = _ratio(paid, used)
            own[:, 0] = overall
            own = np.where(np.isfinite(own), own, overall[:, None])
            return statistic((own * ours).sum(axis=1), paid.sum(axis=1))

        columns = [self.paid, self.used, _by_model(found.usd, found.models, self.names)]
        return grouped_interval(
            np.concatenate(columns, axis=1), self.session, of_sums, resampling=self.resampling
        )


def _by_model(usd: Floats, models: Sequence[str], names: Sequence[str]) -> Floats:
    """Dollars in the column of their model, 0 in the others."""
    place = {name: 1 + number for number, name in enumerate(names)}
    table = np.zeros((len(usd), 1 + len(names)))
    table[np.arange(len(usd)), [place.get(model, 0) for model in models]] = usd
    return table


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _on_hull(calls: Sequence[WalkedCall]) -> tuple[str, ...]:
    """Models that could answer nearly every call, on the hull of their logged expectations."""
    table: dict[str, list[tuple[float, float]]] = {}
    for call in calls:
        for model, candidate in call.options.items():
            table.setdefault(model, []).append((candidate.expected_cost, candidate.p_adequate))
    means = {
        model: np.mean(rows, axis=0)
        for model, rows in table.items()
        if len(rows) >= MIN_ADMISSIBLE * len(calls)
    }
    known = {m: v for m, v in means.items() if np.isfinite(v).all()}
    if not known:
        return ()
    costs, scores = upper_envelope(
        [float(v[0]) for v in known.values()], [float(v[1]) for v in known.values()]
    )
    corners = set(zip(costs.tolist(), scores.tolist(), strict=True))
    return tuple(m for m, v in sorted(known.items()) if (float(v[0]), float(v[1])) in corners)


def _hull(fixed: Sequence[Fixed]) -> tuple[HullCorner, ...]:
    """The corners of the static hull by estimated cost and predicted adequacy, cheapest first."""
    if not fixed:
        return ()
    points = {(f.usd_per_call.estimate, f.p_adequate): f.model for f in fixed}
    costs, scores = upper_envelope([c for c, _ in points], [p for _, p in points])
    return tuple(
        HullCorner(model=points[(float(c), float(p))], cost=float(c), score=float(p))
        for c, p in zip(costs, scores, strict=True)
    )


def _above(hull: Sequence[HullCorner], cost: float, p_adequate: float) -> float | None:
    """Predicted adequacy above the hull at a cost per call, None below its cheapest corner."""
    if not hull or cost < hull[0].cost:
        return None
    costs, scores = [corner.cost for corner in hull], [corner.score for corner in hull]
    return p_adequate - float(envelope_score_at(cost, corner_costs=costs, corner_scores=scores))


def _observed(part: PaidCalls) -> float:
    seen = part.adequate[np.isfinite(part.adequate)]
    return float(seen.mean()) if len(seen) else math.nan


def scaled(interval: Interval, factor: float) -> Interval:
    """The interval times a positive factor."""
    return Interval(*(factor * end for end in (interval.estimate, interval.low, interval.high)))
