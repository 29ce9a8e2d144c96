"""Certifies thresholds on p for quality contracts: Learn then Test.

The promise is P(inadequate | downgraded) <= alpha with confidence 1 - delta, for requests drawn as
those it is certified on. It is the same as E[D (v - alpha)] <= 0 with D 1 for a downgraded
request and v 1 for an inadequate outcome, so every threshold gives one hypothesis about a mean,
"the promise is broken", with a p-value (`risk_tests`). They are tested from strict to lax and the
laxest rejected threshold is taken (Angelopoulos et al. 2021). The order, and where testing starts,
is a `ThresholdPlan` made of predictions and prices, never of outcomes. It has several starts that
share delta; what a start did not lose it carries on to the next threshold (the fallback procedure,
Wiens and Dmitrienko 2005), which keeps the probability of any wrong certificate at most delta.

Where every outcome is known and requests are independent the test is exact (binomial). Sessions,
and logs that show the chosen model's outcome only, are tested by betting on group sums of the
doubly robust loss D (r + 1[drawn] / q (v - r)), with r = 1 - p and q the known propensity:
its mean is right whatever r is, and the least propensity bounds it. What can't be seen counts as
inadequate: a drawn model whose outcome is missing, a model that was never tried (q below the
floor), and a group's requests beyond those that are looked at.
"""

import numpy as np
from numpy.typing import ArrayLike

from router_model.contract import ALL_TENANTS, Certified
from router_training.evidence import Evidence, evidence_of
from router_training.matrix import Floats, Ints
from router_training.threshold_plan import ThresholdPlan, plan_of


def laxest(p_values: Floats, plan: ThresholdPlan, *, delta: float) -> tuple[Ints, Floats]:
    """Index of the laxest certified threshold of every row, -1 for none, and the level it had."""
    index = np.full(len(p_values), -1, dtype=np.int64)
    level, budget = np.zeros(len(p_values)), np.zeros(len(p_values))
    for j, share in enumerate(plan.shares):
        budget = budget + delta * share
        is_rejected = (p_values[:, j] <= budget) & (budget > 0.0)
        index[is_rejected] = j
        level[is_rejected] = budget[is_rejected]
        budget = np.where(is_rejected, budget, 0.0)
    return index, level


def certificate(
    evidence: Evidence,
    plan: ThresholdPlan,
    *,
    alpha: float,
    delta: float,
    tenant: str = ALL_TENANTS,
) -> Certified:
    """What the evidence certifies for one promise; `min_adequacy` None when nothing qualifies."""
    indices, levels = laxest(evidence.p_values(alpha=alpha), plan, delta=delta)
    at = int(indices[0])
    is_certified = at >= 0
    return Certified(
        tenant=tenant,
        alpha=alpha,
        delta=delta,
        min_adequacy=float(plan.thresholds[at]) if is_certified else None,
        n=evidence.n,
        n_downgraded=round(evidence.weight[:, at].sum()) if is_certified else 0,
        bound=min(alpha, evidence.bound(at, level=float(levels[0]))) if is_certified else None,
    )


def certify(
    p: ArrayLike,
    cost: ArrayLike,
    adequate: ArrayLike,
    *,
    alpha: float,
    delta: float,
    groups: ArrayLike | None = None,
    propensity: ArrayLike | None = None,
    action: ArrayLike | None = None,
    plan: ThresholdPlan | None = None,
    tenant: str = ALL_TENANTS,
) -> Certified:
    """The laxest threshold that keeps P(inadequate | downgraded) <= alpha, for held-out requests.

    Arguments are those of `evidence_of`; the predictor must not have seen these outcomes. A group
    (session, task) counts as one observation. Weakness: the promise is about requests like these,
    on average over them, and with partial feedback weak exploration certifies little.

    >>> p, cost = np.tile([0.97, 0.99], (300, 1)), np.tile([1.0, 9.0], (300, 1))
    >>> adequate = np.ones((300, 2))
    >>> found = certify(p, cost, adequate, alpha=0.05, delta=0.1)
    >>> found.min_adequacy, found.n_downgraded, round(found.bound, 3)
    (0.0, 300, 0.008)
    >>> certify(p, cost, np.zeros((300, 2)), alpha=0.05, delta=0.1).min_adequacy is None
    True
    """
    used = plan or plan_of(p, cost, groups=groups, propensity=propensity)
    evidence = evidence_of(
        p, cost, adequate, plan=used, groups=groups, propensity=propensity, action=action
    )
    return certificate(evidence, used, alpha=alpha, delta=delta, tenant=tenant)
