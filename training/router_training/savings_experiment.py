"""Sessions that were routed against sessions that were not, as the randomised trial they are.

While only a share of a tenant's sessions is routed, a hash of the session's name deals them out, so
that whatever differs between the arms beyond chance is the router's doing. Sessions are the units:
the calls of one resemble each other.

- *Strata.* The share may be changed meanwhile. A session belongs to the share that held when it
  began, and counts as far as that lasted; arms are compared within each share and the differences
  weighted by the sessions of both arms, sum_k (n_k / n) (routed_k - kept_k) (post-stratification).
- *Intervals.* Each arm's mean is a ratio of sums over sessions with the cluster-robust variance of
  `changes.ratio_of`; differences use Student's t with the Welch-Satterthwaite degrees of freedom.
  Normality of means is assumed: bills are skewed, and few sessions cover somewhat less often than
  they say (tests/statistical/test_savings.py).
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.stats import t as student

from router_training.changes import Ratio, ratio_of
from router_training.intervals import Interval
from router_training.savings_log import PaidCalls

Floats = NDArray[np.float64]
LEVEL = 0.95
MIN_SESSIONS = 20
"""In each arm; below it no comparison is made."""


class Arm(Struct, frozen=True, kw_only=True):
    """One arm: how much it is, and what was paid. `adequate` is a share of the observed."""

    name: str
    n_sessions: int
    n_calls: int
    n_unbilled: int
    n_observed: int
    paid_usd: float
    usd_per_session: float
    usd_per_call: float
    adequate: float


class Difference(Struct, frozen=True, kw_only=True):
    """Routed minus kept, beside the level of either arm."""

    routed: Interval
    kept: Interval
    difference: Interval


class Experiment(Struct, frozen=True, kw_only=True):
    """What routing changed. `adequate` is None where too few sessions had their adequacy observed.

    `saving_share` is what was saved of the cost of a session that was not routed.
    `n_left_out` counts calls of sessions without a comparison: made after the share was changed,
    or where one arm has fewer than two sessions.
    """

    shares: tuple[float, ...]
    arms: tuple[Arm, Arm]
    usd_per_session: Difference
    usd_per_call: Difference
    calls_per_session: Difference
    adequate: Difference | None
    saving_share: Interval
    n_left_out: int


def in_trial(calls: PaidCalls) -> PaidCalls:
    """The calls of sessions that chance dealt out, as far as the share of their beginning lasted.

    Within each share that both arms have at least two sessions of.
    """
    if not calls.n:
        return calls
    first = np.unique(calls.session, return_index=True)[1]
    began = dict(zip(calls.session[first].tolist(), calls.share[first].tolist(), strict=True))
    share_at_start = np.array([began[number] for number in calls.session.tolist()])
    same = (calls.share == share_at_start) & (calls.share > 0.0) & (calls.share < 1.0)
    found = calls.select(same)
    keep = np.zeros(found.n, dtype=bool)
    for share in np.unique(found.share):
        rows = found.share == share
        arms = [found.session[rows & (found.is_routed == side)] for side in (True, False)]
        if min(len(np.unique(arm)) for arm in arms) >= 2:
            keep |= rows
    return found.select(keep)


def compared(calls: PaidCalls) -> Experiment | str:
    """The comparison of the arms, or why there is none."""
    trial = in_trial(calls)
    arms = tuple(
        arm_of(name, trial.select(trial.is_routed == is_routed))
        for name, is_routed in (("router", True), ("incumbent", False))
    )
    if min(arm.n_sessions for arm in arms) < MIN_SESSIONS:
        found = " and ".join(f"{arm.n_sessions} of the {arm.name} arm" for arm in arms)
        return (
            f"sessions: got {found}, expected at least {MIN_SESSIONS} of either while `adoption` "
            "is a share between 0 and 1"
        )
    ones = np.ones(trial.n)
    first = _is_first(trial)
    session = _difference(trial, trial.paid_usd, first)
    return Experiment(
        shares=tuple(np.unique(trial.share).tolist()),
        arms=(arms[0], arms[1]),
        usd_per_session=session,
        usd_per_call=_difference(trial, trial.paid_usd, ones),
        calls_per_session=_difference(trial, ones, first),
        adequate=_adequate(trial),
        saving_share=_share(session),
        n_left_out=calls.n - trial.n,
    )


def arm_of(name: str, calls: PaidCalls) -> Arm:
    """What is known of one arm."""
    paid, n_sessions = float(calls.paid_usd.sum()), calls.n_sessions
    observed = calls.adequate[np.isfinite(calls.adequate)]
    return Arm(
        name=name,
        n_sessions=n_sessions,
        n_calls=calls.n,
        n_unbilled=int((~calls.is_billed).sum()),
        n_observed=len(observed),
        paid_usd=paid,
        usd_per_session=paid / n_sessions if n_sessions else math.nan,
        usd_per_call=paid / calls.n if calls.n else math.nan,
        adequate=float(observed.mean()) if len(observed) else math.nan,
    )


def _adequate(trial: PaidCalls) -> Difference | None:
    seen = trial.select(np.isfinite(trial.adequate))
    sizes = [seen.select(seen.is_routed == side).n_sessions for side in (True, False)]
    if min(sizes) < MIN_SESSIONS:
        return None
    return _difference(seen, seen.adequate, np.ones(seen.n), is_rate=True)


def _difference(
    calls: PaidCalls, top: Floats, bottom: Floats, *, is_rate: bool = False
) -> Difference:
    """The post-stratified difference of sum(top) / sum(bottom) between the arms."""
    strata = []
    for share in np.unique(calls.share):
        rows = calls.share == share
        arms = [rows & (calls.is_routed == side) for side in (True, False)]
        if min(len(np.unique(calls.session[arm])) for arm in arms) >= 2:
            n = len(np.unique(calls.session[rows]))
            of_routed, of_kept = (
                ratio_of(top[arm], bottom[arm], calls.session[arm], is_rate=is_rate) for arm in arms
            )
            strata.append((n, of_routed, of_kept))
    total = sum(n for n, _, _ in strata)
    routed = [(n / total, ratio) for n, ratio, _ in strata]
    kept = [(n / total, ratio) for n, _, ratio in strata]
    first, second = (sum(w * ratio.value for w, ratio in arm) for arm in (routed, kept))
    return Difference(
        routed=_interval(first, routed),
        kept=_interval(second, kept),
        difference=_interval(first - second, [*routed, *kept]),
    )


def _interval(value: float, parts: Sequence[tuple[float, Ratio]]) -> Interval:
    """Student's interval of a weighted sum of independent ratios (Welch 1947)."""
    variances = [(weight * ratio.standard_error) ** 2 for weight, ratio in parts]
    total = sum(variances)
    if total <= 0.0:
        return Interval(value, value, value)
    spent = sum(
        v**2 / (ratio.n_sessions - 1) for v, (_, ratio) in zip(variances, parts, strict=True)
    )
    half = float(student.isf((1.0 - LEVEL) / 2, total**2 / spent)) * math.sqrt(total)
    return Interval(value, value - half, value + half)


def _share(session: Difference) -> Interval:
    """1 - routed / kept; the interval is that of the logarithm of the ratio (delta method)."""
    routed, kept = session.routed, session.kept
    if routed.estimate <= 0.0 or kept.estimate <= 0.0:
        return Interval(math.nan, math.nan, math.nan)
    ratio = routed.estimate / kept.estimate
    half = math.hypot(routed.half_width / routed.estimate, kept.half_width / kept.estimate)
    return Interval(1.0 - ratio, 1.0 - ratio * math.exp(half), 1.0 - ratio * math.exp(-half))


def _is_first(calls: PaidCalls) -> Floats:
    """1 for the first call of each session, 0 for the others."""
    first = np.zeros(calls.n)
    first[np.unique(calls.session, return_index=True)[1]] = 1.0
    return first
