"""What a challenger gains over the champion on held-out requests: paired terms in US dollars.

Net utility of an answer is -(cost + failure cost if it is inadequate). On live decisions, of which
only the drawn model's outcome is known, both policies are evaluated off-policy and the difference
of their doubly robust terms is taken request by request: where both choose alike it is exactly 0.
Where every model's outcome is known, the difference of the outcomes is taken itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.logged import LoggedDecisions
from router_data.observations import SIDE_CALLS
from router_data.rounds import Rounds
from router_model.errors import DatasetError
from router_model.policy import CheapestAdequate
from router_training.fit import FittedPredictor
from router_training.intervals import Interval, Resampling, group_index, mean_interval
from router_training.matrix import Floats, Ints, matrix_of, pick
from router_training.off_policy import OffPolicyOptions
from router_training.off_policy_report import ADEQUATE, UTILITY
from router_training.off_policy_savings import interval_of
from router_training.off_policy_values import LogValues
from router_training.overlap import overlap_of, require_overlap
from router_training.target_policies import ArtifactPolicy, distribution_of


class Opponent(Struct, frozen=True):
    """A side of the comparison: its folder, its predictor, the policy of its manifest."""

    folder: Path
    predictor: FittedPredictor
    policy: CheapestAdequate


class Gain(Struct, frozen=True, kw_only=True):
    """Paired terms: the challenger's net utility less the champion's, request by request.

    `failure_usd` is what an inadequate answer costs on each request. `figures` say how much of
    the log counted.
    """

    source: str
    is_live: bool
    gain_usd: Floats
    failure_usd: Floats
    groups: Ints
    tenant: NDArray[np.object_]
    step_type: NDArray[np.object_]
    figures: Mapping[str, float] = {}

    @property
    def n(self) -> int:
        """How many requests there are."""
        return len(self.gain_usd)

    def interval(self, *, resampling: Resampling) -> Interval:
        """The mean gain: clustered normal off-policy, bootstrap of groups where all is known."""
        if self.is_live:
            return interval_of(self.gain_usd, self.groups)
        return mean_interval(self.gain_usd, self.groups, resampling=resampling)


def live_gain(
    logged: LoggedDecisions, challenger: Opponent, champion: Opponent, *, seed: int = 0
) -> Gain:
    """The gain on live decisions.

    Raises OverlapError when the log says too little about either, PolicyError when one of them
    can't read it, DatasetError when no outcome was observed.
    """
    policy = challenger.policy
    options = OffPolicyOptions(
        failure_cost_usd=policy.failure_cost_usd,
        side_call_failure_cost_usd=policy.side_call_failure_cost_usd,
    )
    ours, theirs = (
        distribution_of(ArtifactPolicy(side.folder), logged) for side in (challenger, champion)
    )
    values = LogValues(logged, options.terms, n_folds=options.n_folds, seed=seed)
    differs = np.abs(ours - theirs).sum(axis=1) > 1e-9
    figures = {"n": float(logged.n), "differ_share": float(differs.mean())}
    if differs.any():
        for name, target in (("challenger", ours), ("champion", theirs)):
            overlap = overlap_of(logged, target, values.outcomes[ADEQUATE].sample(target).weight)
            require_overlap(logged, target, overlap, options.limits)
            figures[f"{name}_effective_sample_size"] = overlap.effective_sample_size
            figures[f"{name}_unsupported"] = overlap.unsupported
    utility = values.outcomes[UTILITY]
    return Gain(
        source="live",
        is_live=True,
        gain_usd=utility.terms(ours) - utility.terms(theirs),
        failure_usd=values.failure_cost_usd,
        groups=values.groups,
        tenant=logged.tenant,
        step_type=logged.step_type,
        figures=figures,
    )


def matrix_gains(rounds: Rounds, challenger: Opponent, champion: Opponent) -> tuple[Gain, ...]:
    """The gain on every data set in which several models answered the same requests."""
    gains = []
    for dataset in sorted(set(rounds.dataset.astype(str).tolist())):
        part = rounds.select(rounds.dataset.astype(str) == dataset)
        is_full = (
            np.nanmin(part.matrix("propensity"), axis=1, initial=np.inf, where=_known(part)) >= 1.0
        )
        part = part.select(is_full & (_known(part).sum(axis=1) >= 2))
        try:
            gains.append(_matrix_gain(part, dataset or "log", challenger, champion))
        except DatasetError:
            continue
    return tuple(gains)


def choices(policy: CheapestAdequate, p: Floats, cost: Floats, *, failure_usd: Floats) -> Ints:
    """The column that a policy takes first for each request, as `CheapestAdequate.choose` does.

    >>> p, cost = np.array([[0.7, 0.9]]), np.array([[0.01, 0.1]])
    >>> [int(choices(CheapestAdequate(min_adequacy=tau), p, cost,
    ...              failure_usd=np.array([0.25]))[0]) for tau in (0.0, 0.6, 0.8, 0.95)]
    [0, 0, 1, 1]
    """
    if policy.min_adequacy <= 0:
        return np.asarray(np.argmin(cost + (1.0 - p) * failure_usd[:, None], axis=1))
    is_adequate = p >= policy.min_adequacy
    cheapest = np.argmin(np.where(is_adequate, cost, np.inf), axis=1)
    return np.asarray(np.where(is_adequate.any(axis=1), cheapest, np.argmax(p, axis=1)))


def _matrix_gain(part: Rounds, name: str, challenger: Opponent, champion: Opponent) -> Gain:
    if not part.n_contexts:
        raise DatasetError(f"{name}: no request was answered by two models")
    matrix, _ = matrix_of(part)
    mask = np.zeros(part.n_contexts, dtype=bool)
    mask[matrix.context] = True
    held = part.select(mask)
    spent = np.where(np.isfinite(matrix.cost), matrix.cost, 0.0)
    is_side = np.isin(held.step_type.astype(str), SIDE_CALLS)
    policy = challenger.policy
    failure = np.where(is_side, policy.side_call_failure_cost_usd, policy.failure_cost_usd)
    utility = -(spent + (1.0 - matrix.score) * failure[:, None])
    ours, theirs = (
        pick(utility, _choice(side, held, matrix.models, spent, failure))
        for side in (challenger, champion)
    )
    return Gain(
        source=name,
        is_live=False,
        gain_usd=ours - theirs,
        failure_usd=failure,
        groups=group_index(matrix.group)[0],
        tenant=held.tenant,
        step_type=held.step_type,
        figures={"n": float(matrix.n)},
    )


def _choice(
    side: Opponent, held: Rounds, models: Sequence[str], spent: Floats, failure_usd: Floats
) -> Ints:
    """What a side would take; where it predicts no cost, a model costs what it does on average."""
    predicted = side.predictor.predict(
        held.features, held.embedding, list(models), tenant=held.tenant
    )
    expected = np.asarray(predicted.expected_cost, dtype=np.float64)
    cost = np.where(np.isfinite(expected), expected, spent.mean(axis=0))
    if not spent.any():
        cost = np.zeros_like(cost)
    p = np.asarray(predicted.p_adequate, dtype=np.float64)
    return choices(side.policy, p, cost, failure_usd=failure_usd)


def _known(part: Rounds) -> NDArray[np.bool_]:
    return np.isfinite(part.matrix("reward"))
