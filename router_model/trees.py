"""LightGBM trees that correct the linear score of a (context, model) pair."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router_model.errors import ArtifactError, PredictionError
from router_model.lightgbm_c import CONTRIBUTIONS, RAW_SCORE, Booster, LightGBMError
from router_model.tree_text import check_tree_text

Floats = NDArray[np.float64]


class Trees:
    """A trained booster, scored in batch or row by row."""

    def __init__(self, model_text: str) -> None:
        try:
            self._booster = Booster(model_text)
        except LightGBMError as error:
            raise ArtifactError(f"trees: LightGBM can't read the model: {error}") from error
        self.text = model_text
        self.n_columns = self._booster.n_columns
        self.n_trees = self._booster.n_trees

    @classmethod
    def load(cls, path: Path) -> "Trees":
        """Read LightGBM's text format; ArtifactError when it can't be read."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"trees: {path} can't be read: {error}") from error
        check_tree_text(text)  # LightGBM's own loader may crash instead
        return cls(text)

    def score(self, rows: Floats) -> Floats:
        """Raw score of each row, one fast call a row; PredictionError when one can't be scored."""
        try:
            return self._booster.score_rows(self._packed(rows))
        except LightGBMError as error:
            raise PredictionError(f"trees: {error}") from error

    def score_batch(self, rows: Floats) -> Floats:
        """Raw score of each row, all in one call; PredictionError when that fails."""
        return self._predict(rows, kind=RAW_SCORE)

    def contributions(self, rows: Floats) -> Floats:
        """Tree SHAP values (Lundberg et al., 2018), shape (n, n_columns + 1), bias last."""
        return self._predict(rows, kind=CONTRIBUTIONS)

    def _predict(self, rows: Floats, *, kind: int) -> Floats:
        try:
            return self._booster.predict(self._packed(rows), kind=kind)
        except LightGBMError as error:
            raise PredictionError(f"trees: {error}") from error

    def _packed(self, rows: Floats) -> Floats:
        if rows.ndim != 2 or rows.shape[1] != self.n_columns:  # would be read past its end
            raise PredictionError(f"trees: got rows {rows.shape}, expected (n, {self.n_columns})")
        return np.ascontiguousarray(rows, dtype=np.float64)
