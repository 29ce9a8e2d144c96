"""LightGBM trees that correct the linear score of a (context, model) pair."""

import ctypes
from pathlib import Path
from typing import Any

import lightgbm
import lightgbm.basic as lightgbm_c
import numpy as np
from numpy.typing import NDArray

from router_model.errors import ArtifactError, PredictionError
from router_model.tree_text import check_tree_text

Floats = NDArray[np.float64]
# The C API has no public name in the Python package.
_LIB: Any = lightgbm_c.__dict__["_LIB"]
_RAW_SCORE = 1
_FLOAT64 = 1


class Trees:
    """A trained booster, scored in batch or row by row.

    Single rows go through LightGBM's fast single-row call: for ten rows it takes a fifth of the
    time of `Booster.predict` and gives the same numbers.
    """

    def __init__(self, model_text: str) -> None:
        try:
            self._booster = lightgbm.Booster(model_str=model_text)
        except lightgbm_c.LightGBMError as error:
            raise ArtifactError(f"trees: LightGBM can't read the model: {error}") from error
        self.text = model_text
        self.n_columns: int = self._booster.num_feature()
        self.n_trees: int = self._booster.num_trees()
        self._fast = ctypes.c_void_p()
        self._free = _LIB.LGBM_FastConfigFree  # at exit the module's names may be gone first
        self._n_out = ctypes.c_int64()
        lightgbm_c._safe_call(
            _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._booster._handle,
                ctypes.c_int(_RAW_SCORE),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(self.n_columns),
                lightgbm_c._c_str("num_threads=1"),
                ctypes.byref(self._fast),
            )
        )
        self._score = _LIB.LGBM_BoosterPredictForMatSingleRowFast

    def __del__(self) -> None:
        if getattr(self, "_fast", None):
            self._free(self._fast)

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
        if rows.ndim != 2 or rows.shape[1] != self.n_columns:  # would be read past its end
            raise PredictionError(f"trees: got rows {rows.shape}, expected (n, {self.n_columns})")
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        out = np.empty(len(rows), dtype=np.float64)
        step = rows.strides[0]
        start = rows.ctypes.data
        target = out.ctypes.data
        for index in range(len(rows)):
            failed = self._score(
                self._fast,
                ctypes.c_void_p(start + index * step),
                ctypes.byref(self._n_out),
                ctypes.cast(target + 8 * index, ctypes.POINTER(ctypes.c_double)),
            )
            if failed:
                raise PredictionError(f"trees: LightGBM could not score row {index}")
        return out

    def score_batch(self, rows: Floats) -> Floats:
        """Raw score of each row through `Booster.predict`; PredictionError when that fails."""
        return self._predict(rows, raw_score=True)

    def contributions(self, rows: Floats) -> Floats:
        """Tree SHAP values (Lundberg et al., 2018), shape (n, n_columns + 1), bias last."""
        return self._predict(rows, pred_contrib=True)

    def _predict(self, rows: Floats, **options: bool) -> Floats:
        try:
            return np.asarray(self._booster.predict(rows, **options), dtype=np.float64)
        except lightgbm_c.LightGBMError as error:
            raise PredictionError(f"trees: {error}") from error
