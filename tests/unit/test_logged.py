"""Logged decisions keep what was offered, what was drawn, and what was seen of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_samples import KNOWN, VALUES, HashEncoder, decision, outcome, write_log

from router_data.dataset import load_rounds
from router_data.importer import import_tables
from router_data.logged import Evidence, LoggedDecisions, load_logged
from router_data.logging_policy import LoggingPolicy
from router_data.rewards import AdequacyRule
from router_data.simulator import simulate
from router_model.catalog import catalog_of
from router_model.errors import DatasetError
from router_model.types import ModelCard, PriceCard


def load(log: Path, **options: Any) -> LoggedDecisions:
    return load_logged(log, feature_schema="f1", **options)


def option(model: str, probability: float, **values: float | None) -> dict[str, Any]:
    return {"model": model, "probability": probability, **values}


def test_candidates_become_columns_with_nan_where_a_model_was_none(tmp_path: Path) -> None:
    first = [
        option("b", 0.25, p_adequate=0.9, expected_cost=2.0, tool_call_latency_ms=700.0),
        option("a", 0.75, p_adequate=0.8, expected_cost=1.0, tool_call_latency_ms=None),
    ]
    second = [option("c", 1.0, p_adequate=None, expected_cost=3.0)]
    write_log(
        tmp_path,
        [
            decision("d1", model="a", propensity=0.75, candidates=first, min_adequacy=0.7, **KNOWN),
            decision("d2", model="c", propensity=1.0, candidates=second, **KNOWN),
        ],
    )
    found = load(tmp_path)
    nan = np.nan
    assert found.models == ("a", "b", "c")
    np.testing.assert_array_equal(found.candidates, [[True, True, False], [False, False, True]])
    np.testing.assert_array_equal(found.distribution, [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(found.p_adequate, [[0.8, 0.9, nan], [nan, nan, nan]])
    np.testing.assert_array_equal(found.expected_cost, [[1.0, 2.0, nan], [nan, nan, 3.0]])
    np.testing.assert_array_equal(found.tool_call_latency_ms, [[nan, 700.0, nan], [nan, nan, nan]])
    np.testing.assert_array_equal(found.min_adequacy, [0.7, nan])
    assert found.action.tolist() == [0, 2]
    assert found.propensity.tolist() == [0.75, 1.0]


def test_an_admissible_model_may_have_had_no_chance(tmp_path: Path) -> None:
    options = [option("small", 1.0), option("large", 0.0)]
    write_log(tmp_path, [decision(propensity=1.0, candidates=options, **KNOWN)])
    found = load(tmp_path)
    assert found.candidates.tolist() == [[True, True]]
    assert found.distribution.tolist() == [[0.0, 1.0]]


def test_the_outcome_is_that_of_the_first_attempt_with_the_drawn_model(tmp_path: Path) -> None:
    rows = [
        decision("d1", **KNOWN),
        outcome("d1", attempt=0, adequate=False, latency_ms=100.0, tool_call_latency_ms=50.0),
        outcome("d1", attempt=1, adequate=True, latency_ms=200.0),
        decision("d2", **KNOWN),
        outcome("d2", attempt=0, model="large", adequate=False, cost_usd=9.0),
        outcome("d2", attempt=1, adequate=None, reward=0.75, cost_usd=0.5),
        decision("d3", **KNOWN),
        outcome("d3", model="large", adequate=True),
        decision("d4", **KNOWN),
    ]
    write_log(tmp_path, rows)
    found = load(tmp_path)
    nan = np.nan
    np.testing.assert_array_equal(found.adequate, [0.0, 1.0, nan, nan])
    np.testing.assert_array_equal(found.reward, [0.0, 0.75, nan, nan])
    np.testing.assert_array_equal(found.weight, [1.0, 1.0, nan, nan])
    np.testing.assert_array_equal(found.cost_usd, [0.25, 0.5, nan, nan])
    np.testing.assert_array_equal(found.latency_ms, [100.0, 900.0, nan, nan])
    np.testing.assert_array_equal(found.tool_call_latency_ms_observed, [50.0, nan, nan, nan])
    assert (found.n, found.n_observed) == (4, 2)


def test_with_a_catalog_usage_is_a_bill_and_a_failure_without_one_cost_nothing(
    tmp_path: Path,
) -> None:
    usage = {"input_tokens": 1_000, "cached_tokens": 400, "output_tokens": 10}
    told = [
        outcome("d1", cost_usd=0.25),
        outcome("d2", cost_usd=None, usage=usage),
        outcome("d3", cost_usd=None, usage=None, error="timeout", adequate=None),
        outcome("d4", cost_usd=None, usage=None),
        outcome("d5", cost_usd=None, usage=usage, model="large"),
    ]
    asked = [decision(f"d{n}", **KNOWN) for n in range(1, 5)]
    write_log(tmp_path, [*asked, decision("d5", model="large", **KNOWN), *told])
    card = ModelCard(
        id="small",
        provider="p",
        snapshot="small",
        family="f",
        context_window=10**6,
        max_output_tokens=10**4,
        price=PriceCard(input=10.0, output=50.0, cache_read=1.0),
    )
    found = load(tmp_path, catalog=catalog_of([card], as_of="2026-01-01"))
    billed = (600 * 10.0 + 400 * 1.0 + 10 * 50.0) / 1e6
    np.testing.assert_allclose(found.cost_usd, [0.25, billed, 0.0, np.nan, np.nan])
    np.testing.assert_array_equal(load(tmp_path).cost_usd, [0.25, *[np.nan] * 4])


def test_what_is_known_of_the_request_comes_along(tmp_path: Path) -> None:
    rows = [
        decision("d1", step_type="title", client="claude-code", **KNOWN),
        decision("d2", key=None, session=None, **KNOWN),
    ]
    write_log(tmp_path, rows)
    found = load(tmp_path)
    assert found.is_side_call.tolist() == [True, False]
    assert found.step_type.tolist() == found.task.tolist() == ["title", "main"]
    assert found.client.tolist() == ["claude-code", ""]
    assert found.key.tolist() == ["key-1", ""]
    assert found.session.tolist() == ["s1", "d2"]
    assert found.tenant.tolist() == ["acme", "acme"]
    assert found.artifact.tolist() == ["a1", "a1"]
    assert found.dataset.tolist() == ["log", "log"]
    np.testing.assert_array_equal(found.features, [VALUES, VALUES])
    np.testing.assert_array_equal(found.embedding, [VALUES, VALUES])
    assert (found.feature_schema, found.encoder) == ("f1", "e1")


def test_only_drawn_decisions_of_the_asked_tenant_and_time_are_read(tmp_path: Path) -> None:
    rows = [
        decision("d1", ts_ms=10, **KNOWN),
        decision("d2", ts_ms=20, **KNOWN),
        decision("d3", ts_ms=30, **KNOWN),
        decision("d4", ts_ms=20, tenant="other", **KNOWN),
        decision("d5", ts_ms=20, feedback="full", model="", candidates=[], **KNOWN),
        decision("d6", ts_ms=20, feedback="observational", propensity=None, **KNOWN),
        decision("d7", ts_ms=20, **KNOWN | {"feature_schema": "old"}),
    ]
    write_log(tmp_path, [*rows, outcome("d2", ts_ms=25)])
    found = load(tmp_path, tenant="acme", since_ms=15, until_ms=30)
    assert found.decision_id.tolist() == ["d2"]
    assert found.skipped == {
        "decision: feedback full": 1,
        "decision: feedback observational": 1,
        "decision: features of another schema": 1,
    }
    assert load(tmp_path).decision_id.tolist() == ["d1", "d2", "d3", "d4"]
    assert np.isnan(load(tmp_path, until_ms=25).adequate[1])


def test_weak_signals_and_the_open_window_follow_the_rule(tmp_path: Path) -> None:
    rows = [
        decision("d1", ts_ms=0, **KNOWN),
        outcome("d1", adequate=None, signals={"retried": True}),
        decision("d2", ts_ms=60_000, session="s2", **KNOWN),
        outcome("d2", ts_ms=61_000, adequate=None, signals={"retried": True}),
    ]
    write_log(tmp_path, rows)
    np.testing.assert_array_equal(load(tmp_path).weight, [0.6, 0.6])
    found = load(tmp_path, rule=AdequacyRule(retried=0.3, outcome_window_s=30.0))
    np.testing.assert_array_equal(found.weight, [0.3, np.nan])
    np.testing.assert_array_equal(found.adequate, [0.0, np.nan])
    assert found.skipped == {"decision: outcome window still open": 1}


def test_evidence_tells_a_verdict_from_a_fact_from_a_signal_from_a_report(tmp_path: Path) -> None:
    silent: dict[str, Any] = {"adequate": None, "signals": {}}
    outcomes: dict[str, dict[str, Any]] = {
        "verdict": silent | {"adequate": True, "signals": {"retried": True}},
        "reward": silent | {"reward": 0.2},
        "error": silent | {"error": "timeout", "signals": {"test_passed": True}},
        "invalid": silent | {"tool_call_valid": False},
        "signal": silent | {"signals": {"user_corrected": True}},
        "silent": silent,
    }
    rows = [decision(name, session=name, **KNOWN) for name in (*outcomes, "nothing")]
    write_log(tmp_path, [*rows, *(outcome(name, **given) for name, given in outcomes.items())])
    found = load(tmp_path)
    evidence = dict(zip(found.decision_id.tolist(), found.evidence.tolist(), strict=True))
    assert evidence == {
        "verdict": Evidence.VERDICT,
        "reward": Evidence.VERDICT,
        "error": Evidence.FACT,
        "invalid": Evidence.FACT,
        "signal": Evidence.SIGNAL,
        "silent": Evidence.REPORTED,
        "nothing": Evidence.NOTHING,
    }
    rule = AdequacyRule()
    signal = dict(zip(found.decision_id.tolist(), found.signal.tolist(), strict=True))
    assert signal["verdict"] == -rule.retried
    assert signal["error"] == rule.test_passed
    assert signal["signal"] == -rule.user_corrected
    assert signal["silent"] == signal["nothing"] == 0.0


def test_an_empty_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no decision with a known propensity: empty log"):
        load(tmp_path)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_selecting_keeps_exactly_the_chosen_decisions(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    rows = [decision(f"d{i}", ts_ms=i, **KNOWN) for i in range(6)]
    write_log(folder, [*rows, outcome("d2"), outcome("d5")])
    found = load(folder)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=6, max_size=6)), dtype=bool)
    chosen = found.select(mask)
    assert chosen.models == found.models
    np.testing.assert_array_equal(chosen.decision_id, found.decision_id[mask])
    np.testing.assert_array_equal(chosen.distribution, found.distribution[mask])
    np.testing.assert_array_equal(chosen.adequate, found.adequate[mask])


def test_a_mask_or_column_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(**KNOWN)])
    found = load(tmp_path)
    with pytest.raises(DatasetError, match="mask: got bool"):
        found.select(np.ones(2, dtype=bool))
    with pytest.raises(DatasetError, match="mask: got int64"):
        found.select(np.zeros(1, dtype=np.int64))
    with pytest.raises(DatasetError, match="cost_usd: got 2 entries, expected 1"):
        replace(found, cost_usd=np.zeros(2))


def test_a_simulated_policy_comes_back_with_its_propensities(tmp_path: Path) -> None:
    simulate(60, n_models=4, seed=2).write_tables(tmp_path / "tables")
    import_tables(
        tmp_path / "tables",
        tmp_path / "var",
        encoder=HashEncoder(),
        policy=LoggingPolicy("biased", epsilon=0.2, seed=1),
        progress=False,
    )
    found = load_logged(tmp_path / "var")
    rounds = load_rounds(tmp_path / "var")
    np.testing.assert_allclose(found.distribution.sum(axis=1), 1.0)
    chosen = found.distribution[np.arange(found.n), found.action]
    np.testing.assert_array_equal(chosen, found.propensity)
    np.testing.assert_array_equal(found.propensity, rounds.propensity)
    np.testing.assert_array_equal(found.adequate, rounds.adequate)
    np.testing.assert_array_equal(found.features, rounds.features)
    names = np.array(found.models, dtype=object)[found.action]
    assert names.tolist() == rounds.model.tolist()
    assert found.skipped == {}
