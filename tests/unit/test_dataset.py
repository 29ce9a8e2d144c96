from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_samples import (
    KNOWN,
    VALUES,
    HashEncoder,
    decision,
    outcome,
    write_log,
    write_tables,
)
from paths import DATA, requires_data

from router_data.compact import compact
from router_data.dataset import load_rounds, rounds_from_tables
from router_data.importer import import_tables
from router_data.log import segment_paths
from router_data.rewards import STEP_SIGNALS, AdequacyRule, adequacy
from router_data.rounds import ROW_COLUMNS, Rounds
from router_data.rows import encode_embedding, encode_features, outcome_row
from router_data.simulator import simulate
from router_model import features
from router_model.errors import DatasetError
from router_model.types import Outcome

flags = st.none() | st.booleans()
values = st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-2.0, 2.0) | st.text(max_size=3)
observed = st.builds(
    Outcome,
    decision_id=st.just("d"),
    model=st.just("m"),
    adequate=flags,
    reward=st.none() | st.floats(0.0, 1.0),
    tool_call_valid=flags,
    error=st.none() | st.just("timeout"),
    signals=st.dictionaries(st.sampled_from([*STEP_SIGNALS, "edits"]), values),
)


def load(log: Path, **options: object) -> Rounds:
    return load_rounds(log, feature_schema="f1", **options)  # type: ignore[arg-type] # differ


def assert_equal(first: Rounds, second: Rounds) -> None:
    for field in fields(Rounds):
        if field.name != "skipped":
            left, right = getattr(first, field.name), getattr(second, field.name)
            np.testing.assert_array_equal(left, right, err_msg=field.name)
    assert first.snapshot_hash == second.snapshot_hash


# --- from the log ---


def test_contexts_of_another_schema_or_encoder_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        decision("d1", **KNOWN),
        decision("d2", **KNOWN | {"feature_schema": "old"}),
        decision("d3", **KNOWN | {"encoder": "old"}),
        decision("d4", **KNOWN),
        decision("d5"),
        decision("d6", **KNOWN),
    ]
    write_log(tmp_path, [*rows, *(outcome(f"d{i}") for i in (1, 2, 3, 5, 6)), outcome("lost")])
    rounds = load(tmp_path)
    assert rounds.decision_id.tolist() == ["d1", "d4", "d6"]
    assert rounds.encoder == "e1"
    assert rounds.skipped == {
        "decision: logged without its request": 1,
        "decision: features of another schema": 1,
        "decision: embedding of another encoder": 1,
        "outcome: no decision": 1,
    }
    assert load(tmp_path, encoder="old").decision_id.tolist() == ["d3"]
    np.testing.assert_array_equal(rounds.features, [VALUES] * 3)
    np.testing.assert_array_equal(rounds.embedding, [VALUES] * 3)


def test_features_or_embeddings_cut_short_or_garbled_are_left_out_and_counted(
    tmp_path: Path,
) -> None:
    short = {"features": encode_features(VALUES[:2])}
    rows = [decision(f"d{i}", **KNOWN) for i in range(3)]
    rows.append(decision("d3", **KNOWN | short))
    rows.append(decision("d4", **KNOWN | {"embedding": encode_embedding(VALUES[:1])}))
    rows.append(decision("d5", **KNOWN | {"features": "!" * len(KNOWN["features"])}))
    write_log(tmp_path, rows)
    rounds = load(tmp_path)
    assert rounds.decision_id.tolist() == ["d0", "d1", "d2"]
    assert rounds.skipped == {"decision: features or embedding unreadable": 3}


def test_a_drawn_action_without_outcome_has_a_row_with_its_propensity_alone(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(**KNOWN), decision("d2", **KNOWN), outcome("d2")])
    rounds = load(tmp_path)
    assert (rounds.n_contexts, rounds.n_rows, rounds.n_observed) == (2, 2, 1)
    assert rounds.model.tolist() == ["small", "small"]
    assert rounds.propensity.tolist() == [0.5, 0.5]
    for name in set(ROW_COLUMNS) - {"attempt", "propensity"}:
        assert np.isnan(getattr(rounds, name)[0]), name


def test_other_decisions_without_outcome_are_left_out_and_counted(tmp_path: Path) -> None:
    full = {"feedback": "full", "model": "", "candidates": []}
    rows = [decision("d1", **KNOWN | full), decision("d2", **KNOWN | {"feedback": "observational"})]
    write_log(tmp_path, [*rows, decision("d3", **KNOWN)])
    rounds = load(tmp_path)
    assert rounds.decision_id.tolist() == ["d3"]
    assert rounds.skipped == {"decision: no outcome": 2}


def test_observational_feedback_may_train_without_a_propensity(tmp_path: Path) -> None:
    row = decision(feedback="observational", propensity=0.5, candidates=[], **KNOWN)
    write_log(tmp_path, [row, outcome(model="anything")])
    rounds = load(tmp_path)
    assert (rounds.adequate.tolist(), rounds.weight.tolist()) == ([1.0], [1.0])
    assert np.isnan(rounds.propensity).all()
    assert rounds.key.tolist() == ["key-1"]


def test_the_calls_of_a_probe_are_no_traffic_to_learn_from(tmp_path: Path) -> None:
    probed = decision("d1", dataset="probe", feedback="observational", **KNOWN)
    write_log(tmp_path, [probed, decision("d2", **KNOWN), outcome("d1"), outcome("d2")])
    rounds = load(tmp_path)
    assert rounds.decision_id.tolist() == ["d2"]
    assert rounds.skipped == {"decision: made by a probe": 1}


@settings(max_examples=25, deadline=None)
@given(several=st.lists(observed, min_size=1, max_size=8))
def test_the_log_judges_outcomes_as_single_ones_are_judged(
    tmp_path_factory: pytest.TempPathFactory, several: list[Outcome]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    rows = [decision(**KNOWN)]
    for attempt, value in enumerate(several):
        row = outcome_row(value, tenant="acme", now_ms=2_000)
        rows.append(row | {"decision_id": "d1", "attempt": attempt, "model": "small"})
    write_log(folder, rows)
    expected = [adequacy(value) for value in several]
    numbers = [np.nan if label is None else float(label) for label in expected]
    np.testing.assert_array_equal(load(folder).adequate, numbers)


def test_only_the_asked_tenant_is_read(tmp_path: Path) -> None:
    rows = [decision(**KNOWN), outcome(), decision(tenant="b", **KNOWN), outcome(tenant="b")]
    write_log(tmp_path, rows)
    assert load(tmp_path, tenant="b").tenant.tolist() == ["b"]
    assert load(tmp_path).tenant.tolist() == ["acme", "b"]


def test_a_snapshot_in_time_ignores_what_came_later_corrections_included(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(ts_ms=10, **KNOWN), outcome(ts_ms=20, adequate=False)])
    before = load(tmp_path, until_ms=100)
    later = [outcome(ts_ms=200), decision("d2", ts_ms=200, **KNOWN), outcome("d2", ts_ms=201)]
    write_log(tmp_path, later)
    assert_equal(load(tmp_path, until_ms=100), before)
    assert before.adequate.tolist() == [0.0]
    assert load(tmp_path).adequate.tolist() == [1.0, 1.0]


def test_live_decisions_are_grouped_by_session(tmp_path: Path) -> None:
    row = decision(session="s9", step_type="title", **KNOWN)
    write_log(tmp_path, [row, outcome(), decision("d2", session=None, **KNOWN), outcome("d2")])
    rounds = load(tmp_path)
    assert rounds.group.tolist() == ["s9", "d2"]
    assert rounds.task.tolist() == ["title", "main"]
    assert rounds.dataset.tolist() == ["log", "log"]


def test_the_rule_decides_what_is_adequate(tmp_path: Path) -> None:
    bad = outcome(adequate=None, reward=0.6, cost_usd=None, usage=None)
    write_log(tmp_path, [decision(**KNOWN), bad, outcome(attempt=1, adequate=None, error="x")])
    assert load(tmp_path).adequate.tolist() == [1.0, 0.0]
    assert load(tmp_path, rule=AdequacyRule(min_reward=0.7)).adequate.tolist() == [0.0, 0.0]
    assert load(tmp_path).reward.tolist() == [0.6, 0.0]
    assert np.isnan(load(tmp_path).input_tokens[0])


def test_fallback_attempts_have_no_propensity(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(**KNOWN), outcome(), outcome(attempt=1, model="large")])
    np.testing.assert_array_equal(load(tmp_path).propensity, [0.5, np.nan])


def test_an_outcome_may_name_the_drawn_model_by_its_snapshot(tmp_path: Path) -> None:
    row = decision(snapshot="small-2026-01-01", **KNOWN)
    write_log(tmp_path, [row, outcome(model="small-2026-01-01")])
    rounds = load(tmp_path)
    assert (rounds.models, rounds.propensity.tolist()) == (("small",), [0.5])


def test_an_empty_log_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="empty log"):
        load(tmp_path)
    write_log(tmp_path, [decision("d1"), outcome("d1")])
    with pytest.raises(DatasetError, match="logged without its request"):
        load(tmp_path)


def test_the_hash_does_not_depend_on_files_workers_or_order(tmp_path: Path) -> None:
    rows = [row for i in range(9) for row in (decision(f"d{i}", **KNOWN), outcome(f"d{i}"))]
    write_log(tmp_path / "a", rows)
    write_log(tmp_path / "b", rows[::-1], worker="w7", segments=4)
    write_log(tmp_path / "b", rows[:3], worker="w1")
    assert_equal(load(tmp_path / "a"), load(tmp_path / "b"))
    compact(tmp_path / "b")
    assert_equal(load(tmp_path / "a"), load(tmp_path / "b"))


# --- from tables ---


def test_tables_and_their_imported_log_give_the_same_rounds(tmp_path: Path) -> None:
    simulate(40, seed=1).write_tables(tmp_path / "tables")
    direct = rounds_from_tables(tmp_path / "tables", encoder=HashEncoder(), progress=False)
    import_tables(tmp_path / "tables", tmp_path / "var", encoder=HashEncoder(), progress=False)
    assert_equal(load_rounds(tmp_path / "var"), direct)
    assert direct.feature_schema == features.SCHEMA.hash
    assert direct.features.shape == (40, features.SCHEMA.n)
    assert set(direct.propensity.tolist()) == {1.0}


@requires_data
@pytest.mark.parametrize("name", ["tau_bench", "swebench_verified_mini"])
def test_real_tables_and_their_imported_log_give_the_same_rounds(tmp_path: Path, name: str) -> None:
    direct = rounds_from_tables(DATA / name, encoder=HashEncoder(), progress=False)
    import_tables(DATA / name, tmp_path, encoder=HashEncoder(), progress=False)
    assert_equal(load_rounds(tmp_path), direct)
    compact(tmp_path)
    compact(tmp_path, grace_s=0)
    assert segment_paths(tmp_path / "log") == []
    assert_equal(load_rounds(tmp_path), direct)


def test_features_of_equal_requests_are_computed_once_and_equal(tmp_path: Path) -> None:
    encoder = HashEncoder()
    calls: list[str] = []

    class Counting(HashEncoder):
        def encode(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            calls.append(text)
            return encoder.encode(text)

    requests = [{"request_id": f"r{i}", "prompt": "same" if i else "other"} for i in range(5)]
    outcomes = [{"request_id": f"r{i}", "model": "m", "score": 1} for i in range(5)]
    folder = write_tables(tmp_path, requests, outcomes)
    rounds = rounds_from_tables(folder, encoder=Counting(), progress=False)
    assert sorted(calls) == ["other", "same"]
    assert rounds.n_contexts == 5
    assert len(set(rounds.group.tolist())) == 2


def test_groups_stay_together_in_time(tmp_path: Path) -> None:
    requests = [{"request_id": f"r{i}", "prompt": str(i), "group": f"g{i % 7}"} for i in range(70)]
    outcomes = [{"request_id": f"r{i}", "model": "m", "score": 1} for i in range(70)]
    folder = write_tables(tmp_path, requests, outcomes)
    rounds = rounds_from_tables(folder, encoder=HashEncoder(), progress=False)
    by_time = rounds.group[np.argsort(rounds.ts_ms)]
    changes = int((by_time[1:] != by_time[:-1]).sum())
    assert changes == 6


def test_unreadable_requests_are_counted_with_their_outcomes(tmp_path: Path) -> None:
    requests = [
        {"request_id": "bad", "messages": '["no message"]'},
        {"request_id": "good", "messages": '[{"role":"user","content":"x"}]'},
        {"request_id": "idle", "messages": '[{"role":"user","content":"y"}]'},
    ]
    outcomes = [{"request_id": key, "model": "m", "score": 1} for key in ("bad", "bad", "good")]
    folder = write_tables(tmp_path, requests, outcomes)
    rounds = rounds_from_tables(folder, encoder=HashEncoder(), progress=False)
    assert rounds.n_rows == 1
    assert rounds.skipped["outcome: its request is unreadable"] == 2
    assert rounds.skipped["request: no outcome"] == 1
    assert any(reason.startswith("request: unreadable: messages[0]") for reason in rounds.skipped)


def test_an_encoder_with_the_wrong_dimension_is_refused(tmp_path: Path) -> None:
    class Wrong(HashEncoder):
        dimension = 99

    folder = write_tables(
        tmp_path,
        [{"request_id": "r", "prompt": "x"}],
        [{"request_id": "r", "model": "m", "score": 1}],
    )
    with pytest.raises(DatasetError, match="encoder"):
        rounds_from_tables(folder, encoder=Wrong(), progress=False)
