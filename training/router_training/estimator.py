"""The joint predictor of adequacy as a scikit-learn classifier."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from router_model.embedding import N_MATCH
from router_model.heads import Floats
from router_model.predictor import JointPredictor, Vectors
from router_model.trees import Trees
from router_training.bilinear import Cells, Ints, Nuisance
from router_training.fit import cross_fitted
from router_training.params import TrainingParams
from router_training.training_table import DATASET_RIDGE, Table

# The log-odds of a probability of exactly 0 or 1 are infinite.
_LEAST_P = 1e-12


class AdequacyClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """P(adequate) of (context, model) pairs, fitted as `fit_predictor` fits it on a log.

    A row of X is a pair: columns of the context, then `n_model_columns` that describe the model
    (none: there is one model). Equal context columns are one context, equal model columns one
    model. A model that was not fitted on is placed by its columns; NaN in them means unknown.
    `params=None` means the defaults of TrainingParams.
    """

    def __init__(
        self, n_model_columns: int = 0, params: TrainingParams | None = None, seed: int = 0
    ) -> None:
        self.n_model_columns = n_model_columns
        self.params = params
        self.seed = seed

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit on pairs `X` (n, f) and two classes `y` (n,), of which the greater is adequate.

        `groups` (n,) stay whole in the cross-fit; equal contexts of different groups are
        different contexts. Rows of one pair count as one row of their total weight, so that
        a weight of 2 is the same as a row given twice, and a weight of 0 as none.
        """
        values, classes = validate_data(
            self, X, y, dtype=np.float32, ensure_all_finite="allow-nan", ensure_min_samples=2
        )
        rows, models = self._split(values)
        self.classes_, target = _two_classes(classes)
        weight = _check_sample_weight(
            sample_weight, values, dtype=np.float64, ensure_non_negative=True
        )
        group = _group_of(groups, len(rows))
        used = weight > 0
        table = _table(
            rows[used], models[used], group[used], target=target[used], weight=weight[used]
        )
        params = TrainingParams() if self.params is None else self.params
        self.joint_, _ = cross_fitted(table, params=params, seed=self.seed)
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Calibrated probabilities (n, 2) of both classes, in the order of `classes_`."""
        p = self._p_adequate(X)
        return np.column_stack([1.0 - p, p])

    def decision_function(self, X: ArrayLike) -> Floats:
        """Calibrated log-odds (n,) of the second class; finite."""
        p = np.clip(self._p_adequate(X), _LEAST_P, 1.0 - _LEAST_P)
        return np.asarray(logit(p))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likelier class of each row, shape (n,)."""
        is_second = self.decision_function(X) > 0.0
        chosen: NDArray[Any] = self.classes_[is_second.astype(np.int64)]
        return chosen

    def _p_adequate(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        values = validate_data(
            self, X, dtype=np.float32, ensure_all_finite="allow-nan", reset=False
        )
        rows, models = self._split(values)
        kinds, index = _distinct(models)
        p = np.empty(len(rows))
        # Pairs are few beside all contexts times all models: predict model by model.
        for number, name in enumerate(_names(kinds)):
            of = index == number
            p[of] = self.joint_.predict(
                rows[of],
                _no_text(rows[of]),
                names=(name,),
                descriptors=kinds[number : number + 1],
            ).p_adequate[:, 0]
        return p

    def _split(self, X: Vectors) -> tuple[Vectors, Vectors]:
        """The columns of contexts and those of models."""
        if not 0 <= self.n_model_columns < X.shape[1]:
            raise ValueError(
                f"n_model_columns: got {self.n_model_columns}, expected 0 to {X.shape[1] - 1}, "
                "one less than the columns of X"
            )
        cut = X.shape[1] - self.n_model_columns
        assert_all_finite(X[:, :cut], input_name="X")
        return X[:, :cut], X[:, cut:]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "joint_" in state:  # LightGBM's handles can't be pickled, the trees' text can
            parts = vars(state["joint_"])
            state["joint_"] = {**parts, "trees": parts["trees"].text}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "joint_" in state:
            parts = state["joint_"]
            joint = JointPredictor(**{**parts, "trees": Trees(parts["trees"])})
            state = {**state, "joint_": joint}
        super().__setstate__(state)


def _two_classes(y: NDArray[Any]) -> tuple[NDArray[Any], Floats]:
    """The two classes, and 1.0 where y is the second."""
    check_classification_targets(y)
    kind = type_of_target(y)
    if kind != "binary":
        raise ValueError(
            f"Only binary classification is supported. The type of the target is {kind}."
        )
    classes, target = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y: got one class ({classes[0]!r}), expected two classes")
    return classes, target.astype(np.float64)


def _group_of(groups: ArrayLike | None, n_rows: int) -> NDArray[np.str_]:
    if groups is None:
        return np.full(n_rows, "")
    group = column_or_1d(groups)
    check_consistent_length(group, np.empty(n_rows))
    return np.asarray(group).astype(str)


def _table(
    rows: Vectors, models: Vectors, group: NDArray[np.str_], *, target: Floats, weight: Floats
) -> Table:
    """Contexts and models kept once, and one cell a pair: its total weight and mean target."""
    _, plain = _distinct(rows)
    names, group_index = np.unique(group, return_inverse=True)
    _, first, context = np.unique(
        plain * len(names) + group_index, return_index=True, return_inverse=True
    )
    kinds, model = _distinct(models)
    pair, cell = np.unique(context * len(kinds) + model, return_inverse=True)
    total = np.asarray(np.bincount(cell, weight), dtype=np.float64)
    mean = np.bincount(cell, weight * target) / total
    features = rows[first]
    one_data_set = Nuisance.none(len(pair)).beside(np.zeros_like(pair), ridge=DATASET_RIDGE)
    return Table(
        features,
        _no_text(features),
        group[first],
        _names(kinds),
        kinds,
        Cells(pair // len(kinds), pair % len(kinds), mean, weight=total, nuisance=one_data_set),
    )


def _distinct(rows: Vectors) -> tuple[Vectors, Ints]:
    """The distinct rows in order, and the number of each row among them; NaN equals NaN."""
    # No two NaN are equal to numpy here; infinity is free, as no valid input holds it.
    finite = np.where(np.isnan(rows), np.float32(np.inf), rows)
    _, first, index = np.unique(finite, axis=0, return_index=True, return_inverse=True)
    return rows[first], index.reshape(-1)


def _names(kinds: Vectors) -> tuple[str, ...]:
    """A name for each model that says its columns; -0.0 and 0.0 are one number."""
    return tuple(",".join(map(str, row)) for row in (kinds + np.float32(0)).tolist())


def _no_text(rows: Vectors) -> Vectors:
    """Embeddings of contexts without text or tools."""
    return np.zeros((len(rows), N_MATCH), dtype=np.float32)
