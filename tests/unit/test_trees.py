from pathlib import Path

import numpy as np
import pytest
from routers import grown

from router_model.errors import ArtifactError, PredictionError
from router_model.trees import Trees

N = 6
BOOSTER = grown(N, n_trees=8)
TREES = Trees(BOOSTER.model_to_string())


def rows(n: int, *, seed: int = 1) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(n, N))
    table[rng.random(table.shape) < 0.2] = np.nan
    return table


def test_sizes_are_those_of_the_booster() -> None:
    assert TREES.n_columns == N
    assert TREES.n_trees == 8


def test_no_rows_give_no_scores() -> None:
    assert TREES.score(np.empty((0, N))).shape == (0,)


def test_rows_of_any_memory_layout_and_float_type_are_scored_alike() -> None:
    # Strided, Fortran-ordered and float32 rows were read as if they were packed float64.
    table = rows(40).astype(np.float32).astype(np.float64)
    expected = TREES.score(table).tolist()
    wide = np.repeat(table, 2, axis=1)
    assert TREES.score(wide[:, ::2]).tolist() == expected
    assert TREES.score(np.asfortranarray(table)).tolist() == expected
    assert TREES.score(table.astype(np.float32)).tolist() == expected


@pytest.mark.parametrize("width", [N - 1, N + 1])
def test_rows_of_another_width_are_refused_and_not_read_past_their_end(width: int) -> None:
    with pytest.raises(PredictionError, match=rf"expected \(n, {N}\)"):
        TREES.score(np.zeros((2, width)))
    with pytest.raises(PredictionError):
        TREES.score_batch(np.zeros((2, width)))


def test_contributions_and_the_bias_add_up_to_the_score() -> None:
    table = rows(20)
    shap = TREES.contributions(table)
    assert shap.shape == (20, N + 1)
    assert np.allclose(shap.sum(axis=1), TREES.score(table))


def test_text_that_is_no_model_is_refused() -> None:
    with pytest.raises(ArtifactError, match="can't read the model"):
        Trees("not a model")


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="can't be read"):
        Trees.load(tmp_path / "none.txt")
    (tmp_path / "trees.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArtifactError, match="can't be read"):
        Trees.load(tmp_path / "trees.txt")


def test_a_file_gives_the_trees_that_were_written(tmp_path: Path) -> None:
    (tmp_path / "trees.txt").write_text(TREES.text)
    again = Trees.load(tmp_path / "trees.txt")
    assert again.text == TREES.text
    assert again.score(rows(10)).tolist() == TREES.score(rows(10)).tolist()
