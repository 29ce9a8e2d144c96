"""Off-policy evaluation: what a policy would have yielded on the decisions of a log.

Everything rests on logged propensities: what the log gave no probability, it can't tell. The
headline estimator is DR: the propensities of the log are known, not estimated, so that it is
unbiased whatever the reward model, and the model (cross-fitted) takes out most of the variance
that makes IPS wide. Estimators that lower weights are biased by as much as their bound says, and
are shown beside it. Where the log says too little, there is an OverlapError and no estimate.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.logged import Evidence, LoggedDecisions
from router_data.own_cost import ROUTER_COST_USD as ROUTER_COST_USD
from router_training.intervals import Resampling
from router_training.labels import MIN_VERDICTS
from router_training.off_policy_baselines import Fixed, fixed_models, hull_of, minus_hull, mix_at
from router_training.off_policy_report import (
    ADEQUATE,
    COST,
    Missing,
    OffPolicyReport,
    Saving,
    Terms,
    Value,
)
from router_training.off_policy_savings import Change
from router_training.off_policy_values import LogValues, OutcomeLog
from router_training.ope import ESTIMATORS, dr, dr_terms, snips
from router_training.ope_intervals import Estimate, mean_spread
from router_training.overlap import OverlapLimits, overlap_of, require_overlap
from router_training.target_policies import TargetPolicy, distribution_of, training_overlap

Floats = NDArray[np.float64]

HEADLINE = "dr"
REASON = (
    "unbiased because the log's propensities are known, and a cross-fitted reward model takes out "
    "variance; it need not be right"
)
_PER_CALL = (
    "estimates are per call, given the calls before it as they were logged: the cost of a policy "
    "that changes models less often, and finds more in the cache, is overstated"
)
_FEW_SESSIONS = 30


class OffPolicyOptions(Struct, frozen=True, kw_only=True):
    """What an evaluation assumes.

    `failure_cost_usd` is what an inadequate answer costs the caller, less for side calls (titles,
    summaries); `router_cost_usd` what a decision costs. Slices of fewer than `min_slice`
    decisions are not shown: their intervals would not mean anything.
    """

    failure_cost_usd: float = 0.25
    side_call_failure_cost_usd: float = 0.001
    router_cost_usd: float = ROUTER_COST_USD
    limits: OverlapLimits = OverlapLimits()
    min_slice: int = 100
    n_folds: int = 5
    n_resamples: int = 1000
    seed: int = 0

    @property
    def terms(self) -> Terms:
        """What the dollars rest on."""
        return Terms(
            failure_cost_usd=self.failure_cost_usd,
            side_call_failure_cost_usd=self.side_call_failure_cost_usd,
            router_cost_usd=self.router_cost_usd,
        )

    @property
    def resampling(self) -> Resampling:
        """How bootstrap intervals are made."""
        return Resampling(n_resamples=self.n_resamples, seed=self.seed)


def evaluate_policy(
    logged: LoggedDecisions,
    policy: TargetPolicy,
    *,
    options: OffPolicyOptions | None = None,
    values: LogValues | None = None,
) -> OffPolicyReport:
    """The report of a policy on a log.

    `values` spares the fit of the reward model when several policies are evaluated on one log.
    Raises OverlapError when the log says too little about the policy, PolicyError when the
    policy can't be evaluated, DatasetError when nothing was observed.
    """
    chosen = options or OffPolicyOptions()
    target = distribution_of(policy, logged)
    log = values or LogValues(logged, chosen.terms, n_folds=chosen.n_folds, seed=chosen.seed)
    overlap = overlap_of(logged, target, log.outcomes[ADEQUATE].sample(target).weight)
    require_overlap(logged, target, overlap, chosen.limits)
    fixed = fixed_models(log, chosen.limits)
    change = Change.of(log, target, router_cost_usd=chosen.router_cost_usd)
    outcomes = {
        name: value_of(outcome, target, resampling=chosen.resampling)
        for name, outcome in log.outcomes.items()
    }
    hull = hull_of(fixed)
    return OffPolicyReport(
        policy=policy.name,
        n=logged.n,
        n_groups=len(np.unique(log.groups)),
        headline=HEADLINE,
        reason=REASON,
        overlap=overlap,
        limits=chosen.limits,
        terms=chosen.terms,
        missing=_missing(log),
        outcomes=outcomes,
        fixed=fixed.models,
        hull=hull,
        mix=mix_at(hull, outcomes[COST].target[HEADLINE].value + chosen.router_cost_usd),
        minus_hull=minus_hull(
            log, fixed, target, added_cost=chosen.router_cost_usd, resampling=chosen.resampling
        ),
        savings=_savings(log, target, change, fixed, router_cost_usd=chosen.router_cost_usd),
        by_tenant=change.slices(logged.tenant, least=chosen.min_slice),
        by_step_type=change.slices(logged.step_type, least=chosen.min_slice),
        skipped=dict(logged.skipped),
        notes=_notes(log, policy),
    )


def value_of(outcome: OutcomeLog, target: Floats, *, resampling: Resampling) -> Value:
    """One outcome of a policy by every estimator, of the log, and their paired difference."""
    sample, on_policy = outcome.sample(target), outcome.on_policy
    estimates = {
        name: snips(sample, resampling=resampling)
        if name == "snips"
        else estimator.function(sample)
        for name, estimator in ESTIMATORS.items()
    }
    return Value(
        n_observed=int(sample.is_observed.sum()),
        target=estimates,
        logging=dr(on_policy),
        difference=paired_difference(outcome, target),
    )


def paired_difference(outcome: OutcomeLog, target: Floats) -> Estimate:
    """DR of a policy minus the mean of the log, from the differences of their terms.

    Where the policy does what the log did for certain, the difference is exactly 0, so that the
    interval is about what changes only.
    """
    sample = outcome.sample(target)
    terms, (low, high) = dr_terms(sample)
    logged_terms, (logged_low, logged_high) = dr_terms(outcome.on_policy)
    difference = terms - logged_terms
    spread = mean_spread(difference, outcome.groups, bounds=(low - logged_high, high - logged_low))
    return Estimate(
        value=float(difference.mean()),
        **spread._asdict(),
        n=sample.n,
        effective_sample_size=sample.effective_sample_size,
        unsupported=sample.unsupported,
    )


def _savings(
    log: LogValues, target: Floats, change: Change, fixed: Fixed, *, router_cost_usd: float
) -> tuple[Saving, ...]:
    """Against the log, and against the best fixed model where one has support."""
    savings = [change.saving("the log")]
    if (best := fixed.best) is not None:
        over = Change.of(
            log, target, instead_of=fixed.targets[best], router_cost_usd=router_cost_usd
        )
        savings.append(over.saving(f"always {best}"))
    return tuple(savings)


def _missing(log: LogValues) -> tuple[Missing, ...]:
    return tuple(
        Missing(
            outcome=name,
            n_observed=outcome.observation.n_observed,
            share=outcome.observation.share,
            n_clipped=outcome.observation.n_clipped,
            max_weight=float(outcome.observation.weight.max()),
        )
        for name, outcome in log.outcomes.items()
    )


def _notes(log: LogValues, policy: TargetPolicy) -> tuple[str, ...]:
    notes = [*_label_notes(log), _PER_CALL]
    logged = log.logged
    if (n_groups := len(np.unique(log.groups))) < _FEW_SESSIONS:
        notes.append(
            f"{n_groups} sessions are few: with less than {_FEW_SESSIONS} every interval is too "
            "narrow"
        )
    if n_seen := training_overlap(policy, logged):
        notes.append(
            f"{n_seen} of {logged.n} decisions are older than the artifact: where it was trained "
            "on them it looks better than it is; evaluate it on later ones"
        )
    if not log.has_costs:
        notes.append("no cost was reported; costs are what the router expected of its calls")
    for name in (ADEQUATE, COST):
        observation = log.outcomes[name].observation
        if observation.share < 1.0:
            notes.append(
                f"{name}: {observation.share:.1%} of outcomes were observed; they are weighted as "
                "if what is missing depended on features and model only, which no log can show"
            )
    if (share := log.outcomes[ADEQUATE].observation.share) < 1.0:
        low = float(np.nansum(logged.adequate)) / logged.n
        notes.append(
            f"at the worst, if every missing answer of the log was inadequate, its share of "
            f"adequate ones is {low:.3f}, and {low + 1.0 - share:.3f} if none was"
        )
    if (logged.propensity > 1.0 - 1e-9).all():
        notes.append("the log explored nothing: it can only tell of policies that do as it did")
    return tuple(notes)


def _label_notes(log: LogValues) -> list[str]:
    """What judgement the estimates of adequacy rest on."""
    logged, notes = log.logged, []
    unsure = np.isfinite(logged.adequate) & (logged.evidence == Evidence.SIGNAL)
    if unsure.any():
        notes.append(
            f"adequacy of {int(unsure.sum())} decisions was judged by weak signals, which are "
            f"mostly bad news: with fewer than {MIN_VERDICTS} verdicts they decide, and estimates "
            "are of that judgement"
        )
    if log.labels.n_set_aside:
        notes.append(
            f"{log.labels.n_set_aside} decisions judged by weak signals alone count as not "
            "observed; signals only say how likely a verdict was"
        )
    return notes
