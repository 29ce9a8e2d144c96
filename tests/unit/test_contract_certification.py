"""Contracts of an artifact, certified on the log's held-out part."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_rounds import COSTS, SKILLS, Prediction, synthetic_rounds, texts, true_p

from router_data.logged import Evidence, LoggedDecisions
from router_data.rounds import Rounds, Texts
from router_model.contract import Certified, Contracts
from router_training.certification import certify_contracts, sample_of
from router_training.params import TrainingParams

PARAMS = TrainingParams(contract_alphas=(0.05, 0.2, 0.3))
MODELS = ("cheap", "middle", "strong")


class Truth:
    """The predictor that knows the simulation."""

    def predict(
        self,
        features: NDArray[np.float32],
        embedding: NDArray[np.float32],
        models: Sequence[str],
        *,
        tenant: Sequence[str] | Texts | None = None,
    ) -> Prediction:
        difficulty = features[:, 0].astype(np.float64)
        p = np.stack([true_p(difficulty, SKILLS[m]) for m in models], axis=1)
        return Prediction(p, np.tile([COSTS[m] for m in models], (len(features), 1)))


def tenants(rounds: Rounds, *, n_small: int) -> Rounds:
    names = ["small"] * n_small + ["large"] * (rounds.n_contexts - n_small)
    return replace(rounds, tenant=texts(names))


def logged(n: int, *, uniform: bool = True, names: Texts | None = None) -> LoggedDecisions:
    """Live decisions in the simulation of `synthetic_rounds`, one uniform draw each."""
    full = synthetic_rounds(n)
    rng = np.random.default_rng(1)
    distribution = np.full((n, 3), 1 / 3) if uniform else np.tile([0.0, 0.0, 1.0], (n, 1))
    action = rng.integers(0, 3, size=n) if uniform else np.full(n, 2)
    rows = np.arange(n)
    prices = np.tile([COSTS[m] for m in MODELS], (n, 1))
    empty, unknown = texts([""] * n), np.full(n, np.nan)
    adequate = full.matrix("adequate")[rows, action]
    return LoggedDecisions(
        models=MODELS,
        feature_schema="test",
        encoder="test",
        decision_id=full.decision_id if names is None else names,
        tenant=full.tenant,
        key=empty,
        session=empty,
        step_type=empty,
        client=empty,
        dataset=empty,
        task=empty,
        ts_ms=full.ts_ms,
        artifact=empty,
        features=full.features,
        embedding=full.embedding,
        is_side_call=np.zeros(n, dtype=bool),
        min_adequacy=unknown,
        candidates=np.ones((n, 3), dtype=bool),
        p_adequate=np.full((n, 3), 0.5),
        expected_cost=prices,
        tool_call_latency_ms=np.full((n, 3), np.nan),
        distribution=distribution,
        action=action.astype(np.int64),
        propensity=distribution[rows, action],
        adequate=adequate,
        reward=adequate,
        cost_usd=unknown,
        latency_ms=unknown,
        tool_call_latency_ms_observed=unknown,
        weight=np.ones(n),
        signal=np.zeros(n),
        evidence=np.full(n, Evidence.VERDICT),
    )


def live_rounds(n: int) -> Rounds:
    """The same decisions as training sees them: one outcome of each, propensity 1/3."""
    rounds = synthetic_rounds(n)
    return replace(rounds, propensity=np.full(rounds.n_rows, 1 / 3))


def by_alpha(entries: tuple[Certified, ...], tenant: str) -> dict[float, float | None]:
    return {e.alpha: e.min_adequacy for e in entries if e.tenant == tenant}


def test_outcomes_of_every_model_certify_a_threshold_for_all_tenants() -> None:
    entries = certify_contracts(Truth(), synthetic_rounds(2000), None, params=PARAMS)
    assert [(e.tenant, e.alpha, e.delta) for e in entries] == [
        ("*", 0.05, 0.1),
        ("*", 0.2, 0.1),
        ("*", 0.3, 0.1),
    ]
    found = by_alpha(entries, "*")
    assert found[0.05] is None  # the cheapest model is never that sure
    assert found[0.2] is not None
    assert found[0.3] is not None
    assert 0.5 < found[0.3] < found[0.2] < 0.95
    assert entries[1].n == 2000
    assert Contracts.of(entries).min_adequacy_for("any", 0.2, 0.1).min_adequacy == found[0.2]


def test_a_tenant_with_enough_requests_gets_its_own_entry() -> None:
    rounds = tenants(synthetic_rounds(2000), n_small=30)
    entries = certify_contracts(Truth(), rounds, None, params=PARAMS)
    assert by_alpha(entries, "large").keys() == {0.05, 0.2, 0.3}
    assert by_alpha(entries, "small").keys() < {0.05, 0.2, 0.3}
    assert 0.05 not in by_alpha(entries, "small")


def test_live_decisions_count_with_their_propensities() -> None:
    live = logged(6000)
    entries = certify_contracts(Truth(), live_rounds(6000), live, params=PARAMS)
    assert by_alpha(entries, "*")[0.3] is not None
    assert entries[0].n == 6000


def test_live_decisions_outside_the_held_out_part_are_not_used() -> None:
    live = logged(500, names=texts([f"other{i}" for i in range(500)]))
    assert sample_of(Truth(), live_rounds(500), live) is None
    assert certify_contracts(Truth(), live_rounds(500), live, params=PARAMS) == ()


def test_a_log_without_exploration_certifies_nothing() -> None:
    live = logged(3000, uniform=False)
    entries = certify_contracts(Truth(), live_rounds(3000), live, params=PARAMS)
    assert [e.min_adequacy for e in entries] == [None, None, None]


def test_matrices_and_live_decisions_are_put_side_by_side() -> None:
    full, live = synthetic_rounds(100), logged(100)
    sample = sample_of(Truth(), full, live.select(np.arange(100) < 40))
    assert sample is not None
    assert sample.p.shape == (140, 3)
    assert sample.propensity[:100].min() == 1.0
    assert sample.propensity[100:] == pytest.approx(1 / 3)
    assert len(set(sample.group.tolist())) == 140
    assert np.isfinite(sample.adequate[100:]).sum() == 40


def test_decisions_without_an_outcome_are_left_out() -> None:
    live = logged(50)
    live = replace(live, adequate=np.where(np.arange(50) < 10, np.nan, live.adequate))
    sample = sample_of(Truth(), live_rounds(50), live)
    assert sample is not None
    assert len(sample.tenant) == 40
