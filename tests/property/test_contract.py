"""Laws of downgrades and certificates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_model.policy import CheapestAdequate
from router_model.types import Candidate
from router_training.contract import certify
from router_training.downgrades import downgrades
from router_training.evidence import evidence_of
from router_training.threshold_plan import plan_of

seeds = st.integers(0, 10_000)
SIZES = st.integers(1, 4)


def data(seed: int, *, n: int = 300, ties: bool = False) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    p = rng.beta(6.0, 1.0, size=(n, 4))
    cost = rng.uniform(1.0, 10.0, size=(n, 4))
    if ties:
        p, cost = p.round(1), cost.round(0)
    return p, cost, (rng.random((n, 4)) < np.sqrt(p)).astype(np.float64)


@given(seed=seeds, first=st.floats(0.0, 1.0), second=st.floats(0.0, 1.0))
def test_a_lower_threshold_downgrades_at_least_the_same_requests(
    seed: int, first: float, second: float
) -> None:
    p, cost, _ = data(seed, n=50, ties=True)
    lax, strict = sorted((first, second))
    is_downgraded = downgrades(p, cost).is_downgraded([strict, lax])
    assert (is_downgraded[:, 0] <= is_downgraded[:, 1]).all()


@given(seed=seeds, tau=st.floats(0.0, 1.01))
def test_the_choice_is_that_of_the_served_policy(seed: int, tau: float) -> None:
    p, cost, _ = data(seed, n=8, ties=True)
    found = downgrades(p, cost)
    for i, choice in enumerate(found.choice([tau])[:, 0]):
        candidates = [
            Candidate(
                model=f"m{j}",
                p_adequate=float(p[i, j]),
                expected_cost=float(cost[i, j]),
                input_tokens=1,
                cached_tokens=0,
                output_tokens=1,
                tool_call_latency_ms=1,
            )
            for j in range(4)
        ]
        ranked = CheapestAdequate().choose(candidates, min_adequacy=tau).ranked
        assert ranked[0].model == f"m{choice}"
        highest = CheapestAdequate().choose(candidates, min_adequacy=2.0).ranked[0].model
        assert found.is_downgraded([tau])[i, 0] == (ranked[0].model != highest)


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    first=st.floats(0.01, 0.6),
    second=st.floats(0.01, 0.6),
    group_size=SIZES,
    is_partial=st.booleans(),
)
def test_a_stricter_alpha_never_gives_a_laxer_threshold(
    seed: int, first: float, second: float, group_size: int, is_partial: bool
) -> None:
    p, cost, adequate = data(seed)
    rows = np.arange(len(p))
    action = np.random.default_rng(seed).integers(0, 4, size=len(p))
    seen = np.full(adequate.shape, np.nan)
    seen[rows, action] = adequate[rows, action]
    propensity = np.full(p.shape, 0.25) if is_partial else None
    strict, lax = (
        certify(
            p,
            cost,
            seen if is_partial else adequate,
            alpha=alpha,
            delta=0.1,
            groups=rows // group_size,
            propensity=propensity,
        )
        for alpha in sorted((first, second))
    )
    if strict.min_adequacy is not None:
        assert lax.min_adequacy is not None
        assert strict.min_adequacy >= lax.min_adequacy


@settings(max_examples=40, deadline=None)
@given(seed=seeds, first=st.floats(0.001, 0.5), second=st.floats(0.001, 0.5))
def test_less_confidence_never_gives_a_stricter_threshold(
    seed: int, first: float, second: float
) -> None:
    p, cost, adequate = data(seed)
    sure, unsure = (
        certify(p, cost, adequate, alpha=0.15, delta=delta) for delta in sorted((first, second))
    )
    if sure.min_adequacy is not None:
        assert unsure.min_adequacy is not None
        assert unsure.min_adequacy <= sure.min_adequacy


@settings(max_examples=40, deadline=None)
@given(seed=seeds, group_size=SIZES, alpha=st.sampled_from([0.05, 0.15, 0.3]))
def test_the_order_of_requests_and_models_does_not_matter(
    seed: int, group_size: int, alpha: float
) -> None:
    p, cost, adequate = data(seed)
    groups = np.arange(len(p)) // group_size
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(p)), rng.permutation(4)
    shuffled = [values[rows][:, columns] for values in (p, cost, adequate)]
    first = certify(p, cost, adequate, alpha=alpha, delta=0.1, groups=groups)
    second = certify(*shuffled, alpha=alpha, delta=0.1, groups=groups[rows])
    assert first.min_adequacy == second.min_adequacy
    assert first.n_downgraded == second.n_downgraded
    assert first.bound == pytest.approx(second.bound)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, alpha=st.sampled_from([0.1, 0.3]))
def test_a_certificate_s_bound_is_between_what_was_seen_and_alpha(seed: int, alpha: float) -> None:
    p, cost, adequate = data(seed)
    found = certify(p, cost, adequate, alpha=alpha, delta=0.1)
    if found.min_adequacy is None or found.bound is None:
        assert found.bound is None
        return
    plan = plan_of(p, cost)
    evidence = evidence_of(p, cost, adequate, plan=plan)
    at = int(np.flatnonzero(plan.thresholds == found.min_adequacy)[0])
    assert evidence.loss[:, at].sum() / found.n_downgraded <= found.bound <= alpha


@settings(max_examples=40, deadline=None)
@given(seed=seeds, alpha=st.sampled_from([0.05, 0.15, 0.3]), group_size=SIZES)
def test_one_inadequate_outcome_more_never_gives_a_laxer_threshold(
    seed: int, alpha: float, group_size: int
) -> None:
    p, cost, adequate = data(seed)
    groups = np.arange(len(p)) // group_size
    worse = adequate.copy()
    worse[np.random.default_rng(seed).integers(0, len(p), size=5)] = 0.0
    before = certify(p, cost, adequate, alpha=alpha, delta=0.1, groups=groups)
    after = certify(p, cost, worse, alpha=alpha, delta=0.1, groups=groups)
    if after.min_adequacy is not None:
        assert before.min_adequacy is not None
        assert before.min_adequacy <= after.min_adequacy
