"""Tenants against worlds with known truth: pooling helps a new one, a false one harms no other."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from synthetic_rounds import texts

from router_data.logging_policy import LoggingPolicy
from router_data.rounds import Rounds
from router_data.simulator import World, simulate
from router_model.heads import Floats
from router_training.curves import least_total_cost
from router_training.fit import fit_predictor
from router_training.params import TrainingParams
from router_training.tenant_offsets import Spread, TenantRows, fit_offsets, shifts_of

pytestmark = pytest.mark.statistical

PARAMS = TrainingParams(n_estimators=80, ridges=(100.0, 1000.0), n_skills=2, num_leaves=15)
UNCAPPED = msgspec.structs.replace(PARAMS, max_tenant_share=1.0, max_key_share=1.0)
SEEDS = range(6)
# "t0" logs 40% of everything, the other six 10% each.
SHARES = [0.4] + [0.1] * 6
BAD = "t0"
Texts = NDArray[np.object_]


def tenants_of(world: World, rng: np.random.Generator) -> Texts:
    sessions, which = np.unique(world.session.astype(str), return_inverse=True)
    return texts([f"t{i}" for i in rng.choice(7, len(sessions), p=SHARES)[which.reshape(-1)]])


@cache
def clean_log(seed: int) -> Rounds:
    world = simulate(6_000, seed=seed)
    tenant = tenants_of(world, np.random.default_rng(seed))
    return replace(world.rounds(LoggingPolicy("uniform", seed=seed)), tenant=tenant)


def falsified(log: Rounds, rows: NDArray[np.int64], value: float | None) -> Rounds:
    """The log with a fifth of the bad tenant's outcomes false, all of them among `rows`."""
    bad = np.flatnonzero(log.tenant[log.context_index] == BAD)
    among = np.intersect1d(bad, rows)
    drawn = np.random.default_rng(9).permutation(among)[: len(bad) // 5]
    adequate = log.adequate.copy()
    adequate[drawn] = 1.0 - adequate[drawn] if value is None else value
    return replace(log, adequate=adequate, reward=adequate)


def random_flips(log: Rounds) -> Rounds:
    return falsified(log, np.arange(log.n_rows), None)


def against_a_strong_model(log: Rounds) -> Rounds:
    rows = np.flatnonzero((log.model == "model-03") & (log.adequate == 1))
    return falsified(log, rows, 0.0)


def in_favour_of_the_weakest(log: Rounds) -> Rounds:
    rows = np.flatnonzero((log.model == "model-00") & (log.adequate == 0))
    return falsified(log, rows, 1.0)


ATTACKS = (random_flips, against_a_strong_model, in_favour_of_the_weakest)


def value_for_others(log: Rounds, params: TrainingParams, seed: int) -> float:
    """True net utility of the other tenants: P(adequate) less the cost in failures."""
    fit = fit_predictor(log, params=params)
    later = simulate(6_000, seed=100 + seed)
    tenant = tenants_of(later, np.random.default_rng(seed + 50))
    asked = later.rounds()
    p = fit.predict(asked.features, asked.embedding, later.models, tenant=tenant).p_adequate
    cost = np.broadcast_to(later.cost_usd.mean(axis=0), p.shape)
    failure_cost = 4.0 * float(cost.max())
    row, choice = np.arange(len(p)), least_total_cost(p, cost, failure_cost=failure_cost)
    utility = later.p_adequate[row, choice] - later.cost_usd[row, choice] / failure_cost
    return float(utility[tenant != BAD].mean())


@cache
def clean_value(params: TrainingParams, seed: int) -> float:
    return value_for_others(clean_log(seed), params, seed)


@cache
def shift(attack: Callable[[Rounds], Rounds], params: TrainingParams) -> float:
    """Share of the other tenants' value that an attack takes, mean over seeds."""
    shares = []
    for seed in SEEDS:
        clean = clean_value(params, seed)
        poisoned = value_for_others(attack(clean_log(seed)), params, seed)
        shares.append((clean - poisoned) / clean)
    return float(np.mean(shares))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_poisoned_tenant_moves_the_others_by_at_most_a_hundredth(
    attack: Callable[[Rounds], Rounds],
) -> None:
    assert abs(shift(attack, PARAMS)) <= 0.01


def test_without_caps_false_outcomes_at_random_move_them_more() -> None:
    with_caps, without = shift(random_flips, PARAMS), shift(random_flips, UNCAPPED)
    assert without > 1.5 * with_caps > 0.0


def small_tenants(level_sd: float, seed: int) -> tuple[TenantRows, TenantRows]:
    """30 outcomes of each of 40 tenants, and 2,000 later ones, at levels drawn around zero."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(0.0, level_sd, 40)
    parts = []
    for n in (30, 2_000):
        log_odds: Floats = rng.normal(0.5, 1.0, 40 * n)
        y = (rng.random(40 * n) < expit(log_odds + levels.repeat(n))).astype(float)
        tenant = np.repeat([f"t{i:02d}" for i in range(40)], n)
        model = rng.integers(0, 3, 40 * n).astype(str)
        parts.append(TenantRows(tenant, model, log_odds, y, np.ones(40 * n)))
    return parts[0], parts[1]


def log_loss(rows: TenantRows, shift: Floats) -> float:
    eta = rows.log_odds + shift
    return float(np.mean(np.logaddexp(0, eta) - rows.y * eta))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_thirty_outcomes_are_best_used_by_pooling(seed: int) -> None:
    few, later = small_tenants(0.8, seed)
    pooled, unpooled = (
        log_loss(later, shifts_of(later, fit_offsets(few, spread=spread)))
        for spread in (None, Spread(30.0, 30.0))
    )
    nothing = log_loss(later, np.zeros(len(later.y)))
    assert pooled < nothing - 0.015
    assert pooled < unpooled - 0.01


def test_tenants_that_do_not_differ_lose_next_to_nothing_by_pooling() -> None:
    few, later = small_tenants(0.0, 5)
    shifts = shifts_of(later, fit_offsets(few))
    assert log_loss(later, shifts) < log_loss(later, np.zeros(len(later.y))) + 0.005


def test_a_tenant_of_another_level_is_predicted_better_with_its_offsets() -> None:
    world, later = simulate(5_000, seed=4), simulate(5_000, seed=5)
    # One tenant in three judges more harshly: half of what others call adequate.
    rounds = []
    for number, w in enumerate((world, later)):
        rng = np.random.default_rng(number)
        harsh = np.unique(w.session.astype(str), return_inverse=True)[1].reshape(-1) % 3 == 0
        log = w.rounds(LoggingPolicy("uniform"))
        adequate = np.where(harsh & (rng.random(5_000) < 0.5), 0.0, log.adequate)
        tenant = texts(["harsh" if h else "usual" for h in harsh])
        rounds.append(replace(log, tenant=tenant, adequate=adequate, reward=adequate))
    fit = fit_predictor(rounds[0], params=PARAMS)
    asked, row = rounds[1], np.arange(5_000)
    for name, least in (("harsh", 0.05), ("usual", 0.0)):
        of = asked.tenant == name
        loss = []
        for names in (None, asked.tenant):
            p = fit.predict(asked.features, asked.embedding, asked.models, tenant=names)
            chosen = p.p_adequate[row, asked.model_index][of]
            y = asked.adequate[of]
            loss.append(float(-np.mean(y * np.log(chosen) + (1 - y) * np.log1p(-chosen))))
        assert loss[1] < loss[0] - least
