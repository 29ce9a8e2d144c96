"""Fixed models beside what a router cost and yielded in a trial: measured, or off-policy."""

from collections import Counter
from pathlib import Path
from typing import Literal

from msgspec import Struct

from router_data.logged import load_logged
from router_model.catalog import Catalog
from router_model.errors import DatasetError
from router_training.envelope import upper_envelope
from router_training.intervals import Interval
from router_training.off_policy import OffPolicyOptions
from router_training.off_policy_baselines import fixed_models, mix_at
from router_training.off_policy_report import FixedModel, Mix
from router_training.off_policy_values import LogValues
from router_training.params import TrainingParams
from router_training.report import HullCorner
from router_training.savings_experiment import Experiment
from router_training.savings_log import PaidCalls

MIN_SHARE = 0.99
"""Of the calls that were not routed, from which on their arm is that of one fixed model."""


How = Literal["measured", "off-policy", "off-policy, expected costs"]


class Beside(Struct, frozen=True, kw_only=True):
    """A fixed model: measured in the arm that used it alone, or estimated off-policy (DR).

    Its costs are expected ones where no routed call has a bill.
    """

    model: str
    usd_per_call: Interval
    adequate: Interval
    how: How


class References(Struct, frozen=True, kw_only=True):
    """The fixed models that the log can tell of, their hull, and the router beside it.

    `mix` is the best fixed model, or mix of two, of the router's cost per call, its own included,
    None where each that is known costs more; `minus_mix` the router's share of adequate calls
    minus that of the mix. `left_out` says of each other model why nothing is known of it.
    """

    fixed: tuple[Beside, ...]
    hull: tuple[HullCorner, ...]
    mix: Mix | None
    minus_mix: float | None
    left_out: dict[str, str]


def references(
    state: Path,
    trial: PaidCalls,
    experiment: Experiment,
    *,
    tenant: str | None,
    since_ms: int | None,
    params: TrainingParams,
    catalog: Catalog,
    router_usd: float,
) -> References:
    """What fixed models cost and yield on the same traffic, as far as the log can tell.

    The routed calls tell of models that exploration gave a chance, those of the other arm of the
    model that it used. A model that both tell of is taken as measured.
    """
    measured = _measured(trial, experiment)
    found, left_out = _off_policy(state, params, tenant=tenant, since_ms=since_ms, catalog=catalog)
    known = {one.model for one in measured}
    fixed = [*measured, *(one for one in found if one.model not in known)]
    known |= {one.model for one in found}
    hull = _hull(fixed)
    cost = experiment.usd_per_call.routed.estimate + router_usd
    mix = mix_at(hull, cost) if hull and hull[0].cost <= cost else None
    adequate = experiment.adequate
    return References(
        fixed=tuple(sorted(fixed, key=lambda one: one.usd_per_call.estimate)),
        hull=hull,
        mix=mix,
        minus_mix=adequate.routed.estimate - mix.adequate if adequate and mix else None,
        left_out={model: why for model, why in left_out.items() if model not in known},
    )


def _measured(trial: PaidCalls, experiment: Experiment) -> list[Beside]:
    """The model of the arm that was not routed, if it is one."""
    kept = trial.model[~trial.is_routed].tolist()
    (model, n), *_ = Counter(kept).most_common(1)
    if n < MIN_SHARE * len(kept) or experiment.adequate is None:
        return []
    cost, adequate = experiment.usd_per_call.kept, experiment.adequate.kept
    return [Beside(model=model, usd_per_call=cost, adequate=adequate, how="measured")]


def _off_policy(
    state: Path,
    params: TrainingParams,
    *,
    tenant: str | None,
    since_ms: int | None,
    catalog: Catalog,
) -> tuple[list[Beside], dict[str, str]]:
    """Fixed models with support among the routed calls, and why others have none."""
    options = OffPolicyOptions(seed=params.seed)
    try:
        logged = load_logged(
            state, rule=params.adequacy, tenant=tenant, since_ms=since_ms, catalog=catalog
        )
        values = LogValues(logged, options.terms, n_folds=options.n_folds, seed=options.seed)
    except DatasetError as error:
        return [], {"every model": str(error)}
    models = fixed_models(values, options.limits).models
    how: How = "off-policy" if values.has_costs else "off-policy, expected costs"
    return (
        [found for one in models if (found := _beside(one, how)) is not None],
        {one.model: one.left_out for one in models if one.left_out},
    )


def _beside(one: FixedModel, how: How) -> Beside | None:
    if one.cost_usd is None or one.adequate is None:
        return None
    return Beside(model=one.model, usd_per_call=one.cost_usd, adequate=one.adequate, how=how)


def _hull(fixed: list[Beside]) -> tuple[HullCorner, ...]:
    if not fixed:
        return ()
    points = {(one.usd_per_call.estimate, one.adequate.estimate): one.model for one in fixed}
    costs, scores = upper_envelope([c for c, _ in points], [a for _, a in points])
    return tuple(
        HullCorner(model=points[(float(cost), float(score))], cost=float(cost), score=float(score))
        for cost, score in zip(costs, scores, strict=True)
    )
