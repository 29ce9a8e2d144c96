"""The outcome matrix and what of a data set it covers."""

import numpy as np
import pytest
from matrices import matrix
from synthetic_rounds import synthetic_rounds

from router_model.errors import DatasetError
from router_training.matrix import complete_part, matrix_of, pick, with_call_cost


def test_rows_and_columns_stay_aligned() -> None:
    whole = matrix(score=[[0, 1, 2], [3, 4, 5]], cost=[[6, 7, 8], [9, 10, 11]])
    part = whole.rows([1]).columns(["m2", "m0"])
    assert part.models == ("m2", "m0")
    assert part.score.tolist() == [[5, 3]]
    assert part.cost.tolist() == [[11, 9]]
    assert part.group.tolist() == ["1"]


def test_the_complete_part_has_no_gap_and_keeps_most_cells() -> None:
    observed = np.ones((10, 4), dtype=bool)
    observed[:, 3] = False
    observed[0, 1] = False
    rows, columns = complete_part(observed)
    assert observed[np.ix_(rows, columns)].all()
    assert (rows.sum(), columns.sum()) == (9, 3)


def test_a_sparse_model_is_left_out_rather_than_most_requests() -> None:
    observed = np.ones((100, 3), dtype=bool)
    observed[5:, 2] = False
    rows, columns = complete_part(observed)
    assert (rows.sum(), columns.tolist()) == (100, [True, True, False])


def test_two_models_that_share_a_row_are_kept_over_one_with_more_cells() -> None:
    observed = np.zeros((20, 2), dtype=bool)
    observed[:, 0] = True
    observed[:3, 1] = True
    rows, columns = complete_part(observed)
    assert (rows.sum(), columns.sum()) == (3, 2)


def test_rounds_become_a_matrix_with_costs() -> None:
    rounds = synthetic_rounds(30)
    found, coverage = matrix_of(rounds)
    assert found.n == coverage.n_contexts == 30
    assert found.models == ("cheap", "middle", "strong")
    assert found.has_cost
    assert coverage.models_left_out == ()
    assert found.score.ravel().tolist() == rounds.reward.tolist()


def test_without_costs_there_is_a_matrix_of_scores() -> None:
    found, coverage = matrix_of(synthetic_rounds(30, has_cost=False))
    assert not found.has_cost
    assert not coverage.has_cost


def test_a_model_without_costs_is_left_out_and_named() -> None:
    rounds = synthetic_rounds(30)
    rounds.cost_usd[rounds.model == "strong"] = np.nan
    found, coverage = matrix_of(rounds)
    assert found.models == ("cheap", "middle")
    assert coverage.models_left_out == ("strong",)


def test_one_model_is_an_error_that_names_it() -> None:
    with pytest.raises(DatasetError, match=r"only \['cheap'\], expected .* at least 2 models"):
        matrix_of(synthetic_rounds(10, models=("cheap",)))


def test_models_that_never_meet_are_an_error() -> None:
    rounds = synthetic_rounds(10, models=("cheap", "strong"))
    rounds.reward[(rounds.context_index % 2) == rounds.model_index] = np.nan
    with pytest.raises(DatasetError, match="no two models were scored on the same request"):
        matrix_of(rounds)


def test_call_costs_charge_the_model_with_the_higher_score() -> None:
    found = with_call_cost(matrix(score=[[1, 0], [1, 1]]))
    assert found.cost.tolist() == [[1, 0], [1, 0]]
    assert found.cost_unit == "strong_calls"
    with pytest.raises(DatasetError, match="exactly 2 models, got 3"):
        with_call_cost(matrix(score=[[1, 0, 0]]))


def test_pick_takes_one_or_many_choices() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert pick(values, np.array([1, 0])).tolist() == [2, 3]
    assert pick(values, np.array([[0, 1], [1, 1]])).tolist() == [[1, 2], [4, 4]]
