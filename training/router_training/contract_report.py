"""What quality contracts cost, and how often they are broken, on data with every outcome."""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from router_training import baselines
from router_training.contract import certificate, laxest
from router_training.downgrades import downgrades
from router_training.evidence import Evidence, evidence_of
from router_training.intervals import Resampling, group_index, resample_counts
from router_training.matrix import Floats, Ints, OutcomeMatrix, pick
from router_training.params import TrainingParams
from router_training.threshold_plan import ThresholdPlan, plan_of

_CHUNK = 100
_SLACK = 1e-9


class ContractFigures(Struct, frozen=True, kw_only=True):
    """One promise (alpha, delta): the threshold that all held-out requests certify, and figures.

    The figures are means over resamples in which a random half of the groups certifies a
    threshold and the other half is routed with it, always taking the highest p where nothing is
    certified: so they are not read off the data that chose the threshold, and certify with half
    as many outcomes as `min_adequacy`. `certified` is the share of halves that certify one,
    `downgraded` the share of requests, `inadequate` that of downgraded requests (NaN when none).
    `cost` is the mean cost of always-best times `cost_share_of_best`, which is steadier over
    halves than the mean; `fixed_score` and `hull_score` are what the best fixed model and the
    best mix of two score at that cost.

    `violations` is the share of bootstrap samples of groups whose threshold breaks the promise,
    the truth being all held-out requests; it should be at most delta.
    """

    alpha: float
    delta: float
    min_adequacy: float | None
    bound: float | None
    certified: float
    downgraded: float
    inadequate: float
    cost: float
    score: float
    cost_share_of_highest_p: float
    cost_share_of_best: float
    fixed_score: float
    hull_score: float
    violations: float
    is_exact: bool


class _Table(Struct, frozen=True, kw_only=True):
    """Group sums at every threshold, the highest p last: what routing halves needs."""

    cost: Floats
    score: Floats
    loss: Floats
    downgraded: Floats
    n: Floats
    best_cost: Floats


def contract_figures(
    matrix: OutcomeMatrix, p: Floats, cost: Floats, *, params: TrainingParams
) -> tuple[ContractFigures, ...]:
    """Figures of every alpha of the parameters; none without costs. `p`, `cost` are held out."""
    if not matrix.has_cost:
        return ()
    plan = plan_of(p, cost, groups=matrix.group)
    evidence = evidence_of(p, cost, matrix.adequate, plan=plan, groups=matrix.group)
    table = _table(matrix, p, cost, plan, evidence)
    return tuple(
        _figures(matrix, table, evidence, plan, alpha=alpha, params=params)
        for alpha in sorted(set(params.contract_alphas))
    )


def violation_share(
    evidence: Evidence, plan: ThresholdPlan, *, alpha: float, delta: float, resampling: Resampling
) -> float:
    """Share of bootstrap samples of groups that certify a threshold which breaks the promise.

    The truth is the evidence itself, from which the samples are drawn.
    """
    total = evidence.weight.sum(axis=0)
    risk = np.divide(evidence.loss.sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    is_broken = np.append(risk > alpha, False)
    found = [
        is_broken[laxest(evidence.p_values(alpha=alpha, counts=counts), plan, delta=delta)[0]]
        for counts in resample_counts(len(evidence.loss), resampling)
    ]
    return float(np.concatenate(found).mean())


def _figures(
    matrix: OutcomeMatrix,
    table: _Table,
    evidence: Evidence,
    plan: ThresholdPlan,
    *,
    alpha: float,
    params: TrainingParams,
) -> ContractFigures:
    delta = params.contract_delta
    resampling = Resampling(n_resamples=params.n_resamples, seed=params.seed)
    found = certificate(evidence, plan, alpha=alpha, delta=delta)
    sums, certified = np.zeros(7), 0.0
    for half in _halves(len(evidence.loss), resampling):
        at = laxest(evidence.p_values(alpha=alpha, counts=half), plan, delta=delta)[0]
        certified += float((at >= 0).sum())
        sums += _routed(table, 1.0 - half, at)
    n, spent, score, loss, downgraded, highest, best = (float(value) for value in sums)
    mean_best = float(matrix.cost[:, baselines.best_model(matrix)].mean())
    mean_cost = mean_best * spent / best if best > 0 else spent / n
    within = baselines.best_model_within(matrix, mean_cost * (1 + _SLACK))
    return ContractFigures(
        alpha=alpha,
        delta=delta,
        min_adequacy=found.min_adequacy,
        bound=found.bound,
        certified=certified / params.n_resamples,
        downgraded=downgraded / n,
        inadequate=loss / downgraded if downgraded else float("nan"),
        cost=mean_cost,
        score=score / n,
        cost_share_of_highest_p=_ratio(spent, highest),
        cost_share_of_best=_ratio(spent, best),
        fixed_score=float("nan") if within is None else float(matrix.score[:, within].mean()),
        hull_score=float(baselines.hull_score_at(matrix, mean_cost)),
        violations=violation_share(evidence, plan, alpha=alpha, delta=delta, resampling=resampling),
        is_exact=evidence.is_exact,
    )


def _table(
    matrix: OutcomeMatrix, p: Floats, cost: Floats, plan: ThresholdPlan, evidence: Evidence
) -> _Table:
    found = downgrades(p, cost)
    choice = np.column_stack((found.choice(plan.thresholds), found.top))
    index, n_groups = group_index(matrix.group)

    def sums(values: Floats) -> Floats:
        total = np.zeros((n_groups, values.shape[1]))
        np.add.at(total, index, values)
        return total

    nothing = np.zeros((n_groups, 1))
    best = baselines.best_model(matrix)
    return _Table(
        cost=sums(pick(matrix.cost, choice)),
        score=sums(pick(matrix.score, choice)),
        loss=np.column_stack((evidence.loss, nothing)),
        downgraded=np.column_stack((evidence.weight, nothing)),
        n=sums(np.ones((matrix.n, 1)))[:, 0],
        best_cost=sums(matrix.cost[:, [best]])[:, 0],
    )


def _halves(n_groups: int, resampling: Resampling) -> Iterator[Floats]:
    """Random halves of the groups, 1 where a group certifies, in chunks of resamples."""
    rng = np.random.default_rng(resampling.seed)
    for start in range(0, resampling.n_resamples, _CHUNK):
        n_rows = min(_CHUNK, resampling.n_resamples - start)
        rank = np.argsort(rng.random((n_rows, n_groups)), axis=1)
        yield (rank < n_groups // 2).astype(np.float64)


def _routed(table: _Table, half: Floats, at: Ints) -> Floats:
    """Sums over resamples: requests, cost, score, inadequate, downgraded, highest p, best."""
    rows, highest = np.arange(len(half)), half @ table.cost[:, -1]
    at_threshold = [
        float((half @ values)[rows, at].sum())
        for values in (table.cost, table.score, table.loss, table.downgraded)
    ]
    n, best = half @ table.n, half @ table.best_cost
    return np.array([n.sum(), *at_threshold, highest.sum(), best.sum()])


def _ratio(value: float, of: float) -> float:
    return value / of if of > 0 else float("nan")
