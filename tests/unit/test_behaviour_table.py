"""Calls and how models behaved, as they are read from the log."""

from pathlib import Path

import numpy as np
import pytest
from log_samples import decision, outcome, write_log

from router_data.behaviour_table import load_behaviour
from router_data.rows import encode_features
from router_model.features import SCHEMA

OPTIONS = [
    {"model": "small", "probability": 0.5, "output_tokens": 30.0, "cached_tokens": 80},
    {"model": "large", "probability": 0.5, "output_tokens": 50.0, "cached_tokens": 0},
]


def test_load_counts_the_calls_to_the_model_in_the_minute_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(1_000, 600_000, 120)).tolist()
    models = rng.choice(["small", "large"], 120).tolist()
    rows = []
    for number, (at, model) in enumerate(zip(times, models, strict=True)):
        name = f"d{number:03d}"
        rows.append(decision(name, ts_ms=at, model=model, tenant=f"t{number % 2}"))
        if number % 3:
            rows.append(outcome(name, ts_ms=at + 5, model=model, tenant=f"t{number % 2}"))
    write_log(tmp_path, rows)
    table = load_behaviour(tmp_path)
    assert table.n == 80
    for at, model, load in zip(table.ts_ms, table.model, table.load, strict=True):
        before = [
            1 for t, m in zip(times, models, strict=True) if m == model and at - 60_000 <= t < at
        ]
        assert load == len(before)


def test_what_was_expected_is_preferred_to_what_became(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(candidates=OPTIONS), outcome()])
    table = load_behaviour(tmp_path)
    assert table.output_tokens.tolist() == [30.0]
    assert table.cached_tokens.tolist() == [80.0]


def test_a_prefix_that_may_be_warm_counts_as_likely_as_it_is(tmp_path: Path) -> None:
    options = [OPTIONS[0] | {"p_warm": 0.5}, OPTIONS[1]]
    write_log(tmp_path, [decision(candidates=options), outcome()])
    assert load_behaviour(tmp_path).cached_tokens.tolist() == [40.0]


def test_without_expectations_usual_output_stands_for_them(tmp_path: Path) -> None:
    rows = []
    for number, tokens in enumerate((5, 7, 100)):
        rows += [
            decision(f"d{number}"),
            outcome(f"d{number}", usage={"input_tokens": 9, "output_tokens": tokens}),
        ]
    write_log(tmp_path, rows)
    assert load_behaviour(tmp_path).output_tokens.tolist() == [7.0, 7.0, 7.0]


def test_a_fallback_is_a_row_of_its_own(tmp_path: Path) -> None:
    rows = [
        decision(candidates=OPTIONS),
        outcome(adequate=None, error="timeout"),
        outcome(attempt=1, model="large", n_tool_calls=2, n_tool_call_chunks=9),
    ]
    write_log(tmp_path, rows)
    table = load_behaviour(tmp_path)
    assert table.model.tolist() == ["small", "large"]
    assert table.adequate.tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(table.n_tool_calls, [np.nan, 2.0])
    np.testing.assert_array_equal(table.n_tool_call_chunks, [np.nan, 9.0])
    assert table.output_tokens.tolist() == [30.0, 50.0]


def test_probes_are_told_apart_from_traffic(tmp_path: Path) -> None:
    signals = {"probe": "context", "prefix_tokens": 64_000}
    rows = [
        decision("a"),
        outcome("a"),
        decision("b", dataset="probe", feedback="observational"),
        outcome("b", signals=signals, adequate=False),
    ]
    write_log(tmp_path, rows)
    table = load_behaviour(tmp_path)
    np.testing.assert_array_equal(table.probe_tokens, [np.nan, 64_000.0])


def test_probes_load_a_model_and_imports_do_not(tmp_path: Path) -> None:
    rows = [
        decision("a", ts_ms=1_000, dataset="bench", feedback="full"),
        decision("b", ts_ms=2_000, dataset="probe", feedback="observational"),
        decision("c", ts_ms=3_000),
        decision("d", ts_ms=4_000),
        outcome("d", ts_ms=5_000),
    ]
    write_log(tmp_path, rows)
    assert load_behaviour(tmp_path).load.tolist() == [2.0]


@pytest.mark.parametrize("features", ["AACAPw==", "not base64!", None])
def test_features_of_another_version_are_unknown(tmp_path: Path, features: str | None) -> None:
    rows = [
        decision("a", features=features, feature_schema=SCHEMA.hash),
        outcome("a"),
        decision(
            "b",
            features=encode_features(np.ones(SCHEMA.n, np.float32)),
            feature_schema=SCHEMA.hash,
        ),
        outcome("b"),
    ]
    write_log(tmp_path, rows)
    table = load_behaviour(tmp_path)
    assert np.isfinite(table.complexity).tolist() == [False, True]


def test_an_empty_log_has_no_rows(tmp_path: Path) -> None:
    write_log(tmp_path, [])
    assert load_behaviour(tmp_path).n == 0
