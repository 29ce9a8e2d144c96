"""The promise of a certificate holds on resamples of real outcomes, with a router's predictions.

A resample is what a certificate is made from; all held-out requests are the truth. Thresholds
and starts are those of the whole, which outcomes play no part in. The promise may be broken in at
most delta of the resamples.
"""

from functools import cache

import numpy as np
import pytest
from contract_worlds import shown
from held_out import HeldOutMatrix, held_out
from paths import requires_data
from scipy.stats import binom

from router_training.contract import certify, laxest
from router_training.contract_report import violation_share
from router_training.evidence import evidence_of
from router_training.intervals import Resampling
from router_training.matrix import Floats
from router_training.threshold_plan import plan_of

pytestmark = [pytest.mark.statistical, requires_data]

DATA_SETS = {"coderouterbench": 1500, "routerbench_subset": 1800, "routellm": 2000, "bfcl": 700}
ALPHAS = (0.05, 0.1, 0.2, 0.3, 0.5)
N_RESAMPLES, DELTA = 1000, 0.1
MOST = binom.ppf(0.999, N_RESAMPLES, DELTA) / N_RESAMPLES
RESAMPLING = Resampling(n_resamples=N_RESAMPLES, seed=0)

loaded = cache(lambda name: held_out(name, max_contexts=DATA_SETS[name]))


def sessions(data: HeldOutMatrix) -> Floats:
    """Groups of four requests as like each other as they can be: equally many adequate models."""
    rank = np.argsort(np.argsort(-data.matrix.adequate.mean(axis=1), kind="stable"))
    return np.asarray(rank // 4)


@pytest.mark.parametrize("name", DATA_SETS)
def test_single_requests_break_the_promise_at_most_as_often_as_delta(name: str) -> None:
    matrix, p, cost = loaded(name)
    plan = plan_of(p, cost)
    evidence = evidence_of(p, cost, matrix.adequate, plan=plan)
    assert evidence.is_exact
    for alpha in ALPHAS:
        broken = violation_share(evidence, plan, alpha=alpha, delta=DELTA, resampling=RESAMPLING)
        assert broken <= MOST, alpha


@pytest.mark.parametrize("name", DATA_SETS)
def test_sessions_break_the_promise_at_most_as_often_as_delta(name: str) -> None:
    data = loaded(name)
    matrix, p, cost = data
    groups = sessions(data)
    plan = plan_of(p, cost, groups=groups)
    evidence = evidence_of(p, cost, matrix.adequate, plan=plan, groups=groups)
    assert not evidence.is_exact
    for alpha in (0.1, 0.3):
        broken = violation_share(evidence, plan, alpha=alpha, delta=DELTA, resampling=RESAMPLING)
        assert broken <= MOST, alpha


@pytest.mark.parametrize("policy", ["uniform", "epsilon-greedy"])
@pytest.mark.parametrize("name", DATA_SETS)
def test_partial_feedback_breaks_the_promise_at_most_as_often_as_delta(
    name: str, policy: str
) -> None:
    matrix, p, cost = _few_models(loaded(name))
    n, m = p.shape
    propensity = np.full((n, m), 1 / m)
    if policy == "epsilon-greedy":
        propensity = np.full((n, m), 0.3 / m)
        propensity[np.arange(n), np.argmax(p, axis=1)] += 0.7
    plan = plan_of(p, cost, propensity=propensity)
    truth = evidence_of(p, cost, matrix.adequate, plan=plan_of(p, cost))
    risk = truth.loss.sum(axis=0) / np.maximum(truth.weight.sum(axis=0), 1.0)
    # Every request with every draw: a row each, of which resamples take some.
    row, action = np.divmod(np.arange(n * m), m)
    seen = np.full((n * m, m), np.nan)
    seen[np.arange(n * m), action] = matrix.adequate[row, action]
    evidence = evidence_of(
        p[row], cost[row], seen, plan=plan, propensity=propensity[row], action=action
    )
    rng = np.random.default_rng(0)
    for alpha in (0.1, 0.3):
        n_broken = 0
        for _ in range(N_RESAMPLES // 100):
            counts = rng.multinomial(n, propensity.ravel() / n, size=100).astype(np.float64)
            at = laxest(evidence.p_values(alpha=alpha, counts=counts), plan, delta=DELTA)[0]
            n_broken += int(np.append(risk > alpha, False)[at].sum())
        assert n_broken / N_RESAMPLES <= MOST, alpha


def test_the_order_of_tests_may_come_from_the_resample_itself() -> None:
    matrix, p, cost = _few_models(loaded("routerbench_subset"))
    whole = plan_of(p, cost)
    rng = np.random.default_rng(0)
    n_broken, n_certified, alpha = 0, 0, 0.15
    for _ in range(N_RESAMPLES):
        rows = rng.integers(0, len(p), size=800)
        found = certify(p[rows], cost[rows], matrix.adequate[rows], alpha=alpha, delta=DELTA)
        if found.min_adequacy is not None:
            n_certified += 1
            at = np.array([found.min_adequacy])
            truth = evidence_of(
                p, cost, matrix.adequate, plan=type(whole)(thresholds=at, shares=np.ones(1))
            )
            n_broken += truth.loss.sum() > alpha * truth.weight.sum()
    assert n_broken / N_RESAMPLES <= MOST
    assert n_certified > 0


@pytest.mark.parametrize("name", ["routerbench_subset", "routellm"])
def test_partial_feedback_on_real_outcomes_certifies_thresholds_too(name: str) -> None:
    matrix, p, cost = _few_models(loaded(name))
    q = np.full(p.shape, 1 / p.shape[1])
    seen, action = shown(np.random.default_rng(0), matrix.adequate, q)
    found = certify(p, cost, seen, alpha=0.3, delta=DELTA, propensity=q, action=action)
    assert found.min_adequacy is not None
    assert found.n_downgraded > 0.2 * len(p)


def test_real_outcomes_certify_a_threshold_that_halves_the_cost() -> None:
    matrix, p, cost = loaded("routerbench_subset")
    found = certify(p, cost, matrix.adequate, alpha=0.2, delta=DELTA)
    assert found.min_adequacy is not None
    assert found.bound is not None
    assert found.bound <= 0.2
    assert found.n_downgraded > len(p) / 2


def _few_models(data: HeldOutMatrix) -> HeldOutMatrix:
    """The best model and two cheaper ones, so that a log of one draw each says enough."""
    matrix, p, cost = data
    means = matrix.adequate.mean(axis=0)
    best = int(np.argmax(means))
    price = matrix.cost.mean(axis=0)
    cheaper = [i for i in np.argsort(-means) if price[i] < price[best]][:2]
    columns = sorted({best, *map(int, cheaper)})
    chosen = [matrix.models[i] for i in columns]
    return HeldOutMatrix(matrix.columns(chosen), p[:, columns], cost[:, columns])
