from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_samples import KNOWN, decision, outcome, write_log

from router_data.dataset import load_rounds
from router_data.rounds import CONTEXT_COLUMNS, ROW_COLUMNS
from router_data.simulator import simulate
from router_model.errors import DatasetError


def test_a_matrix_averages_attempts_and_marks_what_was_not_observed(tmp_path: Path) -> None:
    rows = [
        decision("d1", **KNOWN),
        outcome("d1", attempt=0, cost_usd=1.0),
        outcome("d1", attempt=1, cost_usd=3.0),
        outcome("d1", attempt=2, cost_usd=None),
        outcome("d1", attempt=3, model="large", cost_usd=5.0),
        decision("d2", **KNOWN),
        outcome("d2", model="large", cost_usd=None),
    ]
    write_log(tmp_path, rows)
    rounds = load_rounds(tmp_path, feature_schema="f1")
    assert rounds.models == ("large", "small")
    nan = np.nan
    np.testing.assert_array_equal(rounds.matrix("cost_usd"), [[5.0, 2.0], [nan, nan]])
    np.testing.assert_array_equal(
        rounds.matrix("cost_usd", ["small", "unknown"]), [[2.0, nan], [nan, nan]]
    )
    assert rounds.model.tolist() == ["small", "small", "small", "large", "large"]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_selecting_keeps_exactly_the_rows_of_the_chosen_contexts(data: st.DataObject) -> None:
    rounds = simulate(20, seed=3).rounds()
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=20, max_size=20)), dtype=bool)
    chosen = rounds.select(mask)
    np.testing.assert_array_equal(chosen.decision_id, rounds.decision_id[mask])
    np.testing.assert_array_equal(chosen.features, rounds.features[mask])
    np.testing.assert_array_equal(chosen.matrix("reward"), rounds.matrix("reward")[mask])
    assert chosen.n_rows == int(mask.sum()) * len(rounds.models)


def test_selecting_models_keeps_every_context() -> None:
    rounds = simulate(10).rounds()
    chosen = rounds.select_models(["model-03", "model-01", "unknown"])
    assert chosen.models == ("model-01", "model-03")
    assert (chosen.n_contexts, chosen.n_rows) == (10, 20)
    expected = rounds.matrix("cost_usd", chosen.models)
    np.testing.assert_array_equal(chosen.matrix("cost_usd"), expected)


def test_a_mask_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(DatasetError, match="context_mask"):
        simulate(10).rounds().select(np.ones(9, dtype=bool))


def test_columns_of_different_lengths_are_refused() -> None:
    rounds = simulate(10).rounds()
    with pytest.raises(DatasetError, match="cost_usd: got 1 entries, expected 50"):
        replace(rounds, cost_usd=np.zeros(1))


@pytest.mark.parametrize("name", [*CONTEXT_COLUMNS, *ROW_COLUMNS])
def test_the_snapshot_hash_depends_on_every_column(name: str) -> None:
    rounds = replace(simulate(5).rounds(), embedding=np.zeros((5, 2), dtype=np.float32))
    values = getattr(rounds, name).copy()
    values.flat[0] = "other" if values.dtype == object else 7
    assert replace(rounds, **{name: values}).snapshot_hash != rounds.snapshot_hash


def test_the_snapshot_hash_does_not_depend_on_the_kind_of_nan() -> None:
    rounds = simulate(5).rounds()
    negative = np.full(rounds.n_rows, -np.nan)
    positive = np.full(rounds.n_rows, np.nan)
    first, second = (replace(rounds, tool_call_valid=values) for values in (negative, positive))
    assert first.snapshot_hash == second.snapshot_hash


def test_contexts_are_observed_when_any_of_their_rows_is() -> None:
    rounds = simulate(10, n_models=2).rounds()
    assert rounds.n_observed == 10
    missing = np.full(rounds.n_rows, np.nan)
    partly = missing.copy()
    partly[[0, 1, 5]] = 1.0
    assert replace(rounds, adequate=partly, reward=partly).n_observed == 2
    assert replace(rounds, adequate=missing, reward=missing).n_observed == 0
