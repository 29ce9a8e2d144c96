"""Behaviour as training learns it: what is said of whom, and when nothing is."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from behaviour_samples import joined, probes, table
from log_samples import decision, outcome, write_log

from router_model.behaviour import NO_BEHAVIOUR, Behaviour, ModelWindow
from router_training.behaviour import behaviour_note, behaviour_of, fit_behaviour, latency_on_later
from router_training.behaviour_latency import QuantileCheck, fit_latency, observed_ms
from router_training.behaviour_validity import fit_facts, fit_validity
from router_training.behaviour_window import fit_windows
from router_training.learned import learned_beside
from router_training.params import TrainingParams


def test_an_empty_log_teaches_nothing(tmp_path: Path) -> None:
    write_log(tmp_path, [])
    assert fit_behaviour(tmp_path) == NO_BEHAVIOUR
    assert behaviour_note(NO_BEHAVIOUR) == ""


def test_a_log_teaches_latency_and_facts(tmp_path: Path) -> None:
    rows = []
    for number in range(20):
        at = 1_000 * number
        rows += [
            decision(f"d{number:02d}", ts_ms=at),
            outcome(
                f"d{number:02d}",
                ts_ms=at + 9,
                tool_call_latency_ms=500.0 + number,
                n_tool_calls=1 + number % 2,
                n_tool_call_chunks=2,
            ),
        ]
    write_log(tmp_path, rows)
    behaviour = fit_behaviour(tmp_path)
    facts = behaviour.facts_of("small")
    assert facts is not None
    assert (facts.parallel_share, facts.chunked_share, facts.n) == (0.5, 0.5, 20)
    p50, p95 = behaviour.latencies(["small"], input_tokens=0, output_tokens=7, load=0)
    assert 505 < p50[0] < 515 < p95[0] < 525
    assert fit_behaviour(tmp_path, until_ms=5_000) == NO_BEHAVIOUR
    msgspec.json.encode(behaviour)


def test_a_run_learns_nothing_of_what_came_after(tmp_path: Path) -> None:
    rows = []
    for number in range(40):
        ms = 500.0 if number < 30 else 90_000.0
        rows += [
            decision(f"d{number:02d}", ts_ms=1_000 * number),
            outcome(f"d{number:02d}", ts_ms=1_000 * number, tool_call_latency_ms=ms),
        ]
    write_log(tmp_path, rows)
    about = learned_beside(tmp_path, params=TrainingParams(), tags={"trained_until_ms": "30000"})
    p50, _ = about["behaviour"].latencies(["small"], input_tokens=0, output_tokens=7, load=0)
    assert p50[0] == pytest.approx(500.0)
    assert "No model's context window" in about["behaviour_note"]


def test_whole_calls_stand_for_tool_calls_where_these_are_unknown() -> None:
    both = table(
        ["told"] * 12 + ["silent"] * 12,
        latency_ms=np.full(24, 900.0),
        tool_call_latency_ms=np.array([300.0] * 11 + [np.nan] * 13),
    )
    ms = observed_ms(both)
    np.testing.assert_array_equal(ms[:12], [300.0] * 11 + [np.nan])
    np.testing.assert_array_equal(ms[12:], 900.0)


def test_a_model_with_too_few_calls_has_no_latency() -> None:
    calls = table(["a"] * 10 + ["b"] * 9, latency_ms=np.full(19, 700.0))
    assert set(fit_latency(calls).models) == {"a"}
    assert fit_latency(calls.select(calls.model == "b")).models == {}


def test_few_calls_have_no_slopes() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.uniform(1e3, 1e5, 150)
    calls = table(["a"] * 150, input_tokens=tokens, latency_ms=tokens)
    assert fit_latency(calls).p50 == (0.0, 0.0, 0.0, 0.0)


def test_later_calls_of_few_are_not_judged() -> None:
    assert latency_on_later(table(["a"] * 5, latency_ms=np.ones(5))) == ()


def test_valid_calls_of_simple_schemas_are_not_made_worse() -> None:
    complexity = np.repeat([2.0, 8.0], 200)
    valid = np.concatenate([np.tile([1.0, 0.0], 100), np.ones(200)])
    fitted = fit_validity(table(["a"] * 400, complexity=complexity, tool_call_valid=valid))
    assert fitted.slope == 0.0
    behaviour = Behaviour(validity=fitted)
    assert behaviour.p_valid(["a"], 5.0)[0] == pytest.approx(0.75, abs=0.02)
    assert behaviour.validity_factor(["a"], 9.0).tolist() == [1.0]


def test_a_model_that_never_failed_is_not_taken_for_perfect() -> None:
    fitted = fit_validity(table(["a"] * 12, tool_call_valid=np.ones(12)))
    assert 0.9 < Behaviour(validity=fitted).p_valid(["a"], 4.0)[0] < 1.0


def test_validity_says_nothing_without_tools_or_calls() -> None:
    assert fit_validity(table(["a"] * 50)).models == {}
    no_tools = table(["a"] * 50, tool_call_valid=np.ones(50), complexity=np.zeros(50))
    assert fit_validity(no_tools).models == {}


def test_streaming_is_unknown_where_no_answer_told() -> None:
    calls = table(["a"] * 10 + ["b"] * 9, n_tool_calls=np.ones(19))
    facts = fit_facts(calls)
    assert set(facts) == {"a"}
    assert facts["a"].chunked_share is None


def test_windows_need_short_prefixes_to_compare_with() -> None:
    assert fit_windows(probes("m", [64_000], works_to=10, each=9)) == {}
    assert fit_windows(probes("m", [4_000, 64_000], works_to=10_000, each=2)) == {}


def test_a_failed_probe_or_two_cuts_no_window() -> None:
    lengths = [4_000, 8_000, 16_000, 32_000, 64_000]
    sent = probes("m", lengths, works_to=10**6, each=4)
    sent.adequate[-2:] = 0.0
    assert fit_windows(sent) == {}


def test_models_that_all_fail_long_probes_are_all_found() -> None:
    lengths = [4_000, 8_000, 16_000, 32_000, 64_000]
    sent = joined(*(probes(name, lengths, works_to=20_000, each=5) for name in ("a", "b")))
    windows = fit_windows(sent)
    assert {name: 16_000 <= window.tokens < 32_000 for name, window in windows.items()} == {
        "a": True,
        "b": True,
    }


def test_the_note_names_windows_and_calibration() -> None:
    behaviour = Behaviour(windows={"m": ModelWindow(tokens=40_000, loss=0.4, bound=0.2, n=60)})
    check = QuantileCheck(level=0.95, below=0.94, pinball=0.1, constant=0.2, n=70)
    note = behaviour_note(behaviour, (check,))
    assert "- m: 40000 tokens; beyond, P(adequate) is lower by 0.40" in note
    assert "0.940 of 70 later calls were below the 95% quantile" in note


def test_every_part_is_learned_from_one_table() -> None:
    rng = np.random.default_rng(1)
    calls = table(
        ["a"] * 300,
        input_tokens=rng.uniform(1e3, 1e5, 300),
        tool_call_latency_ms=rng.uniform(200, 900, 300),
        tool_call_valid=np.ones(300),
        n_tool_calls=np.ones(300),
    )
    behaviour = behaviour_of(calls)
    behaviour.check()
    assert behaviour.latency.models["a"].n == 300
    assert behaviour.facts["a"].parallel_share == 0.0
    assert behaviour.windows == {}
