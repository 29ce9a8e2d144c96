import numpy as np
import pytest

from router_model.calibration import sigmoid
from router_training.bilinear import Cells
from router_training.boost import TreeTable, fit_trees
from router_training.params import TrainingParams

PARAMS = TrainingParams(n_estimators=40, num_leaves=4, min_data_in_leaf=10, learning_rate=0.2)
N, M = 300, 3
RNG = np.random.default_rng(0)
TABLE = TreeTable(RNG.normal(size=(N, 4)), np.array([[-1.0], [0.0], [1.0]]))
CONTEXT, MODEL = (index.ravel() for index in np.indices((N, M)))
# A context suits one kind of model or the other: no sum of two scores can say that.
ETA = 2.0 * TABLE.contexts[CONTEXT, 0] * TABLE.models[MODEL, 0]
Y = (RNG.random(N * M) < sigmoid(ETA)).astype(float)
CELLS = Cells(CONTEXT, MODEL, Y)
FOLDS = np.arange(N) % 3


def test_a_row_is_its_context_then_its_model() -> None:
    rows = TABLE.rows(CELLS)
    assert rows.shape == (N * M, 5)
    assert rows[4].tolist() == [*TABLE.contexts[1].tolist(), 0.0]


def test_trees_learn_which_context_suits_which_model() -> None:
    trees, held_out = fit_trees(TABLE, CELLS, FOLDS, params=PARAMS, seed=0)
    loss = np.mean(np.logaddexp(0, held_out) - Y * held_out)
    assert loss < 0.95 * np.log(2.0)
    assert np.corrcoef(trees.score(TABLE.rows(CELLS)), ETA)[0, 1] > 0.6


def test_held_out_scores_do_not_know_their_own_outcomes() -> None:
    noise = Cells(CONTEXT, MODEL, (RNG.random(N * M) < 0.5).astype(float))
    trees, held_out = fit_trees(TABLE, noise, FOLDS, params=PARAMS, seed=0)
    inside = np.corrcoef(trees.score(TABLE.rows(noise)), noise.y)[0, 1]
    outside = np.corrcoef(held_out, noise.y)[0, 1] if held_out.std() > 0 else 0.0
    assert outside < 0.1
    assert inside >= outside


def test_trees_are_the_same_under_one_seed() -> None:
    one, other = (fit_trees(TABLE, CELLS, FOLDS, params=PARAMS, seed=4) for _ in range(2))
    assert one[0].text == other[0].text
    assert one[1].tolist() == other[1].tolist()


def test_missing_values_are_learned_from() -> None:
    contexts = TABLE.contexts.copy()
    contexts[::2, 1] = np.nan
    y = np.isnan(contexts[CONTEXT, 1]).astype(float)
    trees, _ = fit_trees(
        TreeTable(contexts, TABLE.models), Cells(CONTEXT, MODEL, y), FOLDS, params=PARAMS, seed=0
    )
    scores = trees.score(TreeTable(contexts, TABLE.models).rows(CELLS))
    assert scores[y == 1].mean() > scores[y == 0].mean() + 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_outcomes_that_are_all_alike_give_finite_scores(value: float) -> None:
    same = Cells(CONTEXT, MODEL, np.full(N * M, value))
    trees, held_out = fit_trees(TABLE, same, FOLDS, params=PARAMS, seed=0)
    assert np.isfinite(held_out).all()
    assert np.isfinite(trees.score(TABLE.rows(same))).all()


def test_a_single_fold_has_nothing_held_out() -> None:
    trees, held_out = fit_trees(TABLE, CELLS, np.zeros(N, dtype=np.int64), params=PARAMS, seed=0)
    assert held_out.tolist() == [0.0] * (N * M)
    assert trees.n_columns == 5


def test_a_fold_without_rows_is_passed_over() -> None:
    part = CELLS.select(CONTEXT % 3 != 1)
    _, held_out = fit_trees(TABLE, part, FOLDS, params=PARAMS, seed=0)
    assert np.isfinite(held_out).all()


def test_fewer_rows_than_a_leaf_needs_give_trees_that_say_one_thing() -> None:
    few = CELLS.select(CONTEXT < 3)
    trees, held_out = fit_trees(TABLE, few, FOLDS, params=PARAMS, seed=0)
    assert np.ptp(trees.score(TABLE.rows(few))) == 0.0
    assert np.isfinite(held_out).all()


def test_rows_without_weight_are_not_learned_from() -> None:
    weight = (CONTEXT < N // 2).astype(float)
    flipped = np.where(weight > 0, Y, 1 - Y)
    first, second = [
        fit_trees(TABLE, Cells(CONTEXT, MODEL, y, weight=weight), FOLDS * 0, params=PARAMS, seed=0)[
            0
        ].score(TABLE.rows(CELLS))
        for y in (Y, flipped)
    ]
    assert np.corrcoef(first, second)[0, 1] > 0.999
