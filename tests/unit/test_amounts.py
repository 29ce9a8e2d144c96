from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from synthetic_rounds import synthetic_rounds

from router_model.heads import Floats
from router_model.predictor import COST, LATENCY, OUTPUT_TOKENS, LogHead
from router_training.amounts import fit_amounts as fit_with
from router_training.params import TrainingParams

ROUNDS = synthetic_rounds(600)
Z = (ROUNDS.features.astype(np.float64) - 0.5) * 3.4
LOADINGS = np.column_stack([np.ones(3), [-1.0, 0.0, 1.0]])
RNG = np.random.default_rng(0)
fit_amounts = partial(fit_with, context=ROUNDS.context_index, params=TrainingParams())


def told(log: LogHead) -> Floats:
    """Expected amounts (n_contexts, n_models)."""
    coef, intercept = log.head.coefficients(LOADINGS, np.arange(3))
    return np.exp(Z @ coef + intercept) * log.smearing


def test_a_target_that_was_never_observed_has_no_head() -> None:
    assert set(fit_amounts(ROUNDS, Z, LOADINGS)) == {OUTPUT_TOKENS, COST}
    free = replace(ROUNDS, cost_usd=np.full(ROUNDS.n_rows, np.nan))
    assert COST not in fit_amounts(free, Z, LOADINGS)


def test_the_mean_of_a_skewed_amount_is_met_and_not_its_median() -> None:
    noise = RNG.normal(0.0, 0.8, ROUNDS.n_rows)
    output = 200.0 * np.exp(0.5 * Z[ROUNDS.context_index, 0] + noise)
    found = told(fit_amounts(replace(ROUNDS, output_tokens=output), Z, LOADINGS)[OUTPUT_TOKENS])
    expected = 200.0 * np.exp(0.5 * Z[:, 0] + 0.8**2 / 2)
    assert np.median(found.mean(axis=1) / expected) == pytest.approx(1.0, abs=0.1)


def test_models_that_cost_more_are_told_apart() -> None:
    found = told(fit_amounts(ROUNDS, Z, LOADINGS)[COST]).mean(axis=0)
    assert found == pytest.approx([0.001, 0.004, 0.02], rel=0.25)


def test_the_whole_calls_latency_stands_for_a_time_to_the_first_tool_call_unreported() -> None:
    n = ROUNDS.n_rows
    whole = replace(ROUNDS, latency_ms=np.full(n, 4_000.0))
    assert told(fit_amounts(whole, Z, LOADINGS)[LATENCY]).mean() == pytest.approx(4_000.0, rel=0.01)
    both = replace(whole, tool_call_latency_ms=np.full(n, 1_000.0))
    assert told(fit_amounts(both, Z, LOADINGS)[LATENCY]).mean() == pytest.approx(1_000.0, rel=0.01)


def test_amounts_that_are_zero_or_unknown_are_left_out() -> None:
    output = np.where(np.arange(ROUNDS.n_rows) % 2 == 0, 0.0, 50.0)
    output[5] = np.inf
    found = fit_amounts(replace(ROUNDS, output_tokens=output), Z, LOADINGS)[OUTPUT_TOKENS]
    assert told(found).mean() == pytest.approx(50.0, rel=0.01)


def test_a_single_observation_is_too_few() -> None:
    output = np.full(ROUNDS.n_rows, np.nan)
    output[0] = 10.0
    assert OUTPUT_TOKENS not in fit_amounts(replace(ROUNDS, output_tokens=output), Z, LOADINGS)


def test_models_that_were_never_billed_are_marked() -> None:
    cost = np.where(ROUNDS.model_index == 1, np.nan, ROUNDS.cost_usd)
    log = fit_amounts(replace(ROUNDS, cost_usd=cost), Z, LOADINGS)[COST]
    assert log.is_known.tolist() == [True, False, True]


def test_one_absurd_amount_does_not_blow_up_the_factor() -> None:
    output = np.full(ROUNDS.n_rows, 100.0)
    output[0] = 1e30
    log = fit_amounts(replace(ROUNDS, output_tokens=output), Z, LOADINGS)[OUTPUT_TOKENS]
    assert log.smearing < 2.0


def test_rows_count_by_their_weight() -> None:
    output = np.where(np.arange(ROUNDS.n_rows) % 6 < 3, 50.0, 800.0)
    mostly_short = np.where(output == 50.0, 1.0, 0.01)
    weighted = replace(ROUNDS, output_tokens=output, weight=mostly_short)
    found = fit_amounts(weighted, Z, LOADINGS)[OUTPUT_TOKENS]
    assert told(found).mean() == pytest.approx(0.99 * 50 + 0.01 * 800, rel=0.1)
