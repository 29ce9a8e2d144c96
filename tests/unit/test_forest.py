from typing import Any

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from router_model.forest import MAX_LEAVES, Forest
from router_model.trees import Trees

N_CONTEXT, N_MODEL = 6, 3
RNG = np.random.default_rng(3)
MODELS = RNG.normal(size=(7, N_MODEL))
MODELS[2] = np.nan
ALL = slice(None)


def trees(missing: float = np.nan, **params: Any) -> Trees:
    rows = RNG.normal(size=(900, N_CONTEXT + N_MODEL)).round(1)
    rows[RNG.random(rows.shape) < 0.2] = missing
    known = np.nan_to_num(rows)
    y = known[:, 0] * known[:, 7] + (known[:, 2] > 0.3) + RNG.normal(size=900) * 0.1
    settings = {"min_data_in_leaf": 3, "verbose": -1, "num_threads": 1} | params
    found = lightgbm.train(settings, lightgbm.Dataset(rows, y), num_boost_round=12)
    return Trees(found.model_to_string())


def forest(trained: Trees) -> Forest:
    found = Forest.of(trained.text, n_context=N_CONTEXT)
    assert found is not None
    return found


def rows_of(context: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([np.tile(context, (len(MODELS), 1)), MODELS])


@pytest.mark.parametrize("num_leaves", [2, 5, 31, MAX_LEAVES])
@pytest.mark.parametrize("use_missing", [True, False])
def test_a_forest_says_to_the_last_bit_what_its_trees_say_row_by_row(
    num_leaves: int, use_missing: bool
) -> None:
    trained = trees(num_leaves=num_leaves, use_missing=use_missing)
    bound = forest(trained).bind(MODELS)
    # One decimal: many values lie on a threshold.
    for context in RNG.normal(size=(100, N_CONTEXT)).round(1):
        context[RNG.random(N_CONTEXT) < 0.1] = RNG.choice([np.nan, np.inf, -np.inf, 0.0])
        expected = trained.score(rows_of(context)).tolist()
        assert bound.score(context, ALL).tolist() == expected
        assert [bound.score(context, np.array([i])).item() for i in range(7)] == expected


def test_a_forest_of_trees_that_learned_nothing_gives_their_one_value() -> None:
    trained = trees(min_data_in_leaf=900)
    context = np.zeros(N_CONTEXT)
    expected = trained.score(rows_of(context)).tolist()
    assert forest(trained).bind(MODELS).score(context, ALL).tolist() == expected


def test_no_models_have_no_scores() -> None:
    none = forest(trees()).bind(MODELS).score(np.zeros(N_CONTEXT), np.array([], dtype=np.intp))
    assert none.tolist() == []


def test_trees_with_more_leaves_than_a_word_has_bits_are_left_to_lightgbm() -> None:
    trained = trees(num_leaves=MAX_LEAVES + 36)
    assert Forest.of(trained.text, n_context=N_CONTEXT) is None


def test_trees_that_take_0_for_missing_are_left_to_lightgbm() -> None:
    trained = trees(missing=0.0, zero_as_missing=True)
    assert Forest.of(trained.text, n_context=N_CONTEXT) is None
