import numpy as np
import pytest
from scipy.special import expit, logit

from router_model.heads import Floats
from router_training.tenant_offsets import (
    Spread,
    TenantRows,
    estimated_spread,
    fit_offsets,
    fit_one,
    joined,
    session_discount,
)


def rows(
    tenants: list[str], *, level: list[float], n: int, seed: int = 0, models: int = 2
) -> TenantRows:
    """Outcomes of tenants whose log-odds are their level away from 0.3."""
    rng = np.random.default_rng(seed)
    tenant = np.repeat(tenants, n)
    odds: Floats = np.repeat(level, n) + 0.3
    y = (rng.random(len(odds)) < expit(odds)).astype(float)
    model = rng.integers(0, models, len(odds)).astype(str)
    return TenantRows(tenant, model, np.full(len(odds), 0.3), y, np.ones(len(odds)))


def test_one_tenant_is_everybody_and_differs_from_nobody() -> None:
    assert fit_offsets(rows(["a"], level=[2.0], n=50)).tenants == {}


def test_a_tenant_with_many_outcomes_goes_where_they_are() -> None:
    found = fit_offsets(rows(["a", "b"], level=[1.0, -1.0], n=4_000)).tenants
    for tenant, level in (("a", 1.0), ("b", -1.0)):
        shifts = [found[tenant].shift(model) for model in ("0", "1")]
        assert shifts == pytest.approx([level, level], abs=0.15)
        assert found[tenant].n == 4_000


def test_a_tenant_with_few_outcomes_stays_near_everybody() -> None:
    few = rows(["a", "b"], level=[0.0, 0.0], n=3)
    lucky = TenantRows(few.tenant, few.model, few.log_odds, np.ones(6), few.weight)
    found = fit_offsets(lucky, spread=Spread(0.3, 0.1)).tenants
    assert 0.0 < found["a"].level < 0.2


def test_the_offset_of_a_level_alone_solves_its_equation() -> None:
    # One model, so b only adds to a: the joint prior variance is 0.5^2 + 0.3^2.
    one = rows(["a"], level=[0.8], n=40, models=1)
    own = fit_one(one, Spread(0.5, 0.3))
    total = own.offset.sum()
    slope = (expit(one.log_odds + total) - one.y).sum()
    assert slope + total / (0.25 + 0.09) == pytest.approx(0.0, abs=1e-6)
    # The level takes its share of the variance.
    assert own.offset[0] / total == pytest.approx(0.25 / 0.34)


def test_a_weight_of_two_is_a_row_twice() -> None:
    part = rows(["a"], level=[0.5], n=30)
    twice = fit_one(joined([part, part]), Spread())
    heavy = TenantRows(part.tenant, part.model, part.log_odds, part.y, 2 * part.weight)
    assert fit_one(heavy, Spread()).offset == pytest.approx(twice.offset, abs=1e-6)


@pytest.mark.parametrize(("sd", "low", "high"), [(0.0, 0.0, 0.25), (1.0, 0.8, 1.2)])
def test_the_spread_is_as_large_as_tenants_differ(sd: float, low: float, high: float) -> None:
    rng = np.random.default_rng(3)
    levels = rng.normal(0.0, sd, 60)
    parts = [rows([f"t{i}"], level=[a], n=200, seed=i) for i, a in enumerate(levels)]
    spread = estimated_spread(parts)
    assert low <= spread.level_sd <= high
    assert spread.model_sd < 0.3


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_outcomes_all_alike_and_certain_predictions_give_finite_offsets(value: float) -> None:
    part = rows(["a", "b"], level=[0.0, 0.0], n=50)
    same = TenantRows(
        part.tenant, part.model, np.full(100, logit(1 - 1e-12)), np.full(100, value), part.weight
    )
    found = fit_offsets(same)
    found.check()
    assert all(abs(offset.level) < 20 for offset in found.tenants.values())


def test_rows_of_sessions_of_one_or_of_unlike_outcomes_count_whole() -> None:
    residual = np.array([0.5, -0.5, 0.5, -0.5])
    alone, pairs = np.array(["a", "b", "c", "d"]), np.array(["a", "a", "b", "b"])
    np.testing.assert_array_equal(session_discount(alone, residual=residual), np.ones(4))
    np.testing.assert_array_equal(session_discount(pairs, residual=residual), np.ones(4))


def test_a_session_of_like_outcomes_says_less_than_as_many_single_ones() -> None:
    rng = np.random.default_rng(0)
    session = np.repeat(np.arange(500), 4).astype(str)
    # Half of the variance is the session's.
    residual = rng.normal(size=500).repeat(4) + rng.normal(size=2_000)
    discount = session_discount(session, residual=residual)
    np.testing.assert_allclose(discount, 1 / (1 + 3 * 0.5), rtol=0.08)
