"""What a router saves of what is really paid: by a trial where there is one, else by an estimate.

Bills are those of the log, caching, cache writes and surcharges included. Nothing is compared with
what everything would have cost on the dearest model without a cache. The router's own cost is
taken off; what exploration costs is part of the bills already.
"""

import math
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from router_data.own_cost import ROUTER_COST_USD
from router_model.artifact import MANIFEST, STARTER
from router_model.catalog import Catalog, load_catalog
from router_model.errors import DatasetError
from router_model.router import CATALOG_FILE, Router
from router_training.drift_report import iso
from router_training.intervals import Interval, Resampling
from router_training.params import TrainingParams
from router_training.savings_estimate import Estimate, estimated, scaled
from router_training.savings_experiment import Experiment, arm_of, compared, in_trial
from router_training.savings_fixed import references
from router_training.savings_log import PaidCalls, load_paid
from router_training.savings_report import Net, RouterCost, SavingsReport
from router_training.savings_walk import Progress

CORE_HOUR_USD: Final = 0.05
OVERHEAD: Final = 2.0
"""What a decision takes in all over what was measured: as much again for its row and outcome."""
_US_PER_HOUR: Final = 3.6e9
_MS_PER_DAY: Final = 86_400_000.0


class SavingsOptions(Struct, frozen=True, kw_only=True):
    """What a report is asked for. `overlay` is the catalog's, as the service has it."""

    tenant: str | None = None
    since_ms: int | None = None
    core_hour_usd: float = CORE_HOUR_USD
    artifact: Path | None = None
    overlay: Path | None = None
    n_resamples: int = 1000


def savings_of(
    state: Path,
    *,
    options: SavingsOptions | None = None,
    params: TrainingParams | None = None,
    progress: Progress | None = None,
) -> SavingsReport:
    """The report of a state folder. DatasetError says what is missing where nothing can be said."""
    asked, params = options or SavingsOptions(), params or TrainingParams()
    folder = asked.artifact or _artifact(state)
    overlays = [asked.overlay] if asked.overlay else []
    router = Router.load(folder, catalog=load_catalog(folder / CATALOG_FILE, *overlays))
    calls = load_paid(
        state,
        catalog=router.catalog,
        tenant=asked.tenant,
        since_ms=asked.since_ms,
        rule=params.adequacy,
    )
    experiment = compared(calls)
    estimate = estimated(
        state,
        calls,
        tenant=asked.tenant,
        router=router,
        resampling=Resampling(n_resamples=asked.n_resamples, seed=params.seed),
        progress=progress,
    )
    if isinstance(experiment, str) and isinstance(estimate, str):
        raise DatasetError(
            f"{state}: too little to compare. For a measured saving: {experiment}. For an "
            f"estimate: {estimate}"
        )
    return _report(
        state, calls, experiment, estimate, asked=asked, params=params, catalog=router.catalog
    )


def _report(
    state: Path,
    calls: PaidCalls,
    experiment: Experiment | str,
    estimate: Estimate | str,
    *,
    asked: SavingsOptions,
    params: TrainingParams,
    catalog: Catalog,
) -> SavingsReport:
    router = router_cost(calls, core_hour_usd=asked.core_hour_usd)
    missing = {"measured saving": experiment, "estimate": estimate}
    measured = None if isinstance(experiment, str) else experiment
    guessed = None if isinstance(estimate, str) else estimate
    trial = in_trial(calls)
    sides = (("router", True), ("incumbent", False))
    return SavingsReport(
        tenant=asked.tenant,
        began=iso(int(calls.ts_ms.min())),
        ended=iso(int(calls.ts_ms.max())),
        arms=tuple(arm_of(name, calls.select(calls.is_routed == side)) for name, side in sides),
        router=router,
        experiment=measured,
        net=None if measured is None else net_of(measured, trial, router.usd_per_decision),
        references=None
        if measured is None
        else references(
            state,
            trial,
            measured,
            tenant=asked.tenant,
            since_ms=asked.since_ms,
            params=params,
            catalog=catalog,
            router_usd=router.usd_per_decision,
        ),
        estimate=guessed,
        estimate_net_usd=None
        if guessed is None
        else shifted(guessed.saving_usd, -guessed.n_calls * router.usd_per_decision),
        missing={name: why for name, why in missing.items() if isinstance(why, str)},
        notes=tuple(_notes(calls, measured, guessed)),
    )


def router_cost(calls: PaidCalls, *, core_hour_usd: float) -> RouterCost:
    """What a decision costs: OVERHEAD x mean microseconds x the price of a core-hour / 3.6e9."""
    took = calls.took_us[np.isfinite(calls.took_us)]
    mean_us = float(took.mean()) if len(took) else math.nan
    measured = OVERHEAD * mean_us * core_hour_usd / _US_PER_HOUR
    return RouterCost(
        usd_per_decision=measured if len(took) else ROUTER_COST_USD,
        mean_us=mean_us,
        n_measured=len(took),
        core_hour_usd=core_hour_usd,
        exploration_usd=float(calls.exploring_usd[calls.is_routed].sum()),
    )


def net_of(experiment: Experiment, trial: PaidCalls, router_usd: float) -> Net:
    """The saving of the trial less what the router costs, which only routed calls pay."""
    n_calls = experiment.calls_per_session.routed.estimate
    session = shifted(_saving(experiment.usd_per_session.difference), -n_calls * router_usd)
    n_routed, n = experiment.arms[0].n_sessions, sum(arm.n_sessions for arm in experiment.arms)
    days = float(trial.ts_ms.max() - trial.ts_ms.min()) / _MS_PER_DAY
    return Net(
        per_session_usd=session,
        per_call_usd=shifted(_saving(experiment.usd_per_call.difference), -router_usd),
        saved_usd=scaled(session, n_routed),
        if_full_usd=scaled(session, n),
        per_30_days_usd=scaled(session, 30.0 * n / days) if days >= 1.0 else None,
        usd_per_lost_answer=_per_lost_answer(experiment),
    )


def _per_lost_answer(experiment: Experiment) -> float | None:
    """Dollars that a call saved for each adequate answer lost; None where no loss is shown."""
    if experiment.adequate is None or experiment.adequate.difference.high >= 0.0:
        return None
    saved = experiment.usd_per_call.difference.estimate
    return saved / experiment.adequate.difference.estimate


def shifted(interval: Interval, by: float) -> Interval:
    """The interval moved by an amount."""
    return Interval(interval.estimate + by, interval.low + by, interval.high + by)


def _saving(difference: Interval) -> Interval:
    """What is saved where routed minus kept is this difference."""
    return Interval(-difference.estimate, -difference.high, -difference.low)


def _artifact(state: Path) -> Path:
    """The artifact in use: the exported one, else the shipped starter."""
    exported = state / "artifact"
    return exported if (exported / MANIFEST).is_file() else STARTER


def _notes(calls: PaidCalls, experiment: Experiment | None, estimate: Estimate | None) -> list[str]:
    notes = []
    if n := int((~calls.is_billed).sum()):
        notes.append(
            f"{n} of {calls.n} calls have no bill; what was expected of them stands for it"
        )
    if experiment is not None:
        if experiment.n_left_out:
            notes.append(
                f"{experiment.n_left_out} calls are in no trial: all or no sessions were routed "
                "when theirs began, or the share was changed meanwhile"
            )
        if experiment.adequate is None:
            notes.append(
                "adequacy was observed in too few sessions of an arm: the saving may be one of "
                "worse answers; report adequate, reward or signals"
            )
        notes.append("exploration is in the bills of routed calls and not taken off a second time")
    if estimate is not None:
        notes.append(
            "the estimate takes answers of other models to be as long as predicted, sessions to go "
            "on as they did, and what excluded models then to exclude them still; only a share of "
            "routed sessions measures a saving"
        )
        if estimate.n_left_out:
            notes.append(
                f"{estimate.n_left_out} calls are not in the estimate: the catalog in use does not "
                "have their model"
            )
    return notes
