"""Savings by a model alone: every number follows from what is assumed, by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from router_data.agents import simulate_agents
from router_data.logging_policy import LoggingPolicy
from router_data.prices import shipped_catalog
from router_data.rounds import Texts
from router_data.simulator import World
from router_model.errors import DatasetError
from router_model.policy import CheapestAdequate
from router_model.predictor import Prediction
from router_model.pricing import expected_cost
from router_training.intervals import Resampling
from router_training.model_based import Assumed, assume

QUICK = Resampling(n_resamples=20)


def assumed(**changes: object) -> Assumed:
    """Three calls of one session, the last a side call, logged with the dear model."""
    values = {
        "models": ("cheap", "dear"),
        "p_adequate": np.array([[0.5, 0.9], [0.9, 0.9], [0.9, 0.9]]),
        "warm_usd": np.array([[0.01, 0.04], [0.01, 0.04], [0.001, 0.004]]),
        "cold_usd": np.array([[0.03, 0.12], [0.03, 0.12], [0.001, 0.004]]),
        "logged": np.array([1, 1, 1]),
        "session": np.array(["s", "s", "s"], dtype=object),
        "ts_ms": np.array([1, 2, 3]),
        "is_side_call": np.array([False, False, True]),
        "billed_usd": np.full(3, np.nan),
        "n_left_out": 0,
    }
    return Assumed(**{**values, **changes})  # type: ignore[arg-type]  # a test's own values


def test_the_least_total_cost_is_chosen_call_by_call() -> None:
    # 0.01 + 0.5 x 0.25 > 0.04 + 0.1 x 0.25; then equal p, so the cheaper one.
    assert assumed().routed(CheapestAdequate(), caches="kept").tolist() == [1, 0, 0]


def test_a_switch_is_priced_cold_where_the_rule_says_so() -> None:
    calls, choice = assumed(), np.array([1, 0, 0])
    assert calls.cost_usd(choice, caches="kept").tolist() == [0.04, 0.01, 0.001]
    assert calls.cost_usd(choice, caches="cold").tolist() == [0.04, 0.03, 0.001]


def test_a_switch_that_costs_more_than_it_saves_is_not_made() -> None:
    calls = assumed(cold_usd=np.full((3, 2), 0.2))
    assert calls.routed(CheapestAdequate(), caches="cold").tolist() == [1, 1, 0]


def test_a_threshold_takes_the_cheapest_above_it_and_else_the_highest_p() -> None:
    strict, lax = CheapestAdequate(min_adequacy=0.95), CheapestAdequate(min_adequacy=0.4)
    assert assumed().routed(lax, caches="kept").tolist() == [0, 0, 0]
    assert assumed().routed(strict, caches="kept").tolist() == [1, 0, 0]


def test_a_saving_is_against_the_log_with_its_caches_as_they_were() -> None:
    found = assumed().yields(np.array([1, 0, 0]), caches="kept", resampling=QUICK)
    assert found.saving_usd.estimate == pytest.approx((0.0 + 0.03 + 0.003) / 3)
    assert found.p_change.estimate == pytest.approx(0.0)


def test_the_logs_own_choice_saves_nothing() -> None:
    calls = assumed()
    found = calls.yields(calls.logged, caches="cold", resampling=QUICK)
    assert found.saving_usd.estimate == found.p_change.estimate == 0.0


class SecondWritesTwice:
    """Says that the second model by name writes twice as much; everything is adequate."""

    def predict(
        self,
        features: NDArray[np.float32],
        embedding: NDArray[np.float32],
        models: Sequence[str],
        *,
        tenant: Sequence[str] | Texts | None = None,
    ) -> Prediction:
        shape = (len(features), len(models))
        length = np.broadcast_to(10.0 * np.arange(1.0, len(models) + 1.0), shape)
        return Prediction(np.ones(shape), length, np.ones(shape), np.ones(shape))


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_agents(5, models=("gpt-oss-120b", "kimi-k2.5"), seed=3)


def test_costs_are_the_logged_tokens_at_catalog_prices(world: World) -> None:
    catalog = shipped_catalog()
    rounds = world.rounds(LoggingPolicy("uniform"))
    seen = np.flatnonzero(np.isfinite(rounds.input_tokens))
    found = assume(rounds, SecondWritesTwice(), catalog, models=world.models)
    assert (found.n, found.n_left_out) == (len(seen), rounds.n_contexts - len(seen))
    assert found.models == ("gpt-oss-120b", "kimi-k2.5")
    row = int(np.argmax(found.logged == 0))
    source = seen[row]
    card = catalog.get("kimi-k2.5")
    assert card is not None
    assert card.price is not None
    expected = expected_cost(
        card.price,
        input_tokens=int(rounds.input_tokens[source]),
        cached_tokens=int(rounds.cached_tokens[source]),
        output_tokens=2.0 * rounds.output_tokens[source],
    )
    assert found.warm_usd[row, 1] == pytest.approx(expected)
    assert (found.cold_usd >= found.warm_usd - 1e-12).all()


def test_a_model_without_a_price_is_refused(world: World) -> None:
    rounds = world.rounds(LoggingPolicy("uniform"))
    with pytest.raises(DatasetError, match="no price is known of unheard-of"):
        assume(rounds, SecondWritesTwice(), shipped_catalog(), models=["unheard-of"])


def test_a_log_without_usage_is_refused(world: World) -> None:
    rounds = replace(
        world.rounds(LoggingPolicy("uniform")), input_tokens=np.full(world.n_requests, np.nan)
    )
    with pytest.raises(DatasetError, match="usage"):
        assume(rounds, SecondWritesTwice(), shipped_catalog(), models=world.models)
