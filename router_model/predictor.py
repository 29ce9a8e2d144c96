"""P(adequate), output tokens, tool-call latency, cost of every model for a context.

P(adequate) is calibrated; its log-odds are a linear score (`heads`) plus what LightGBM trees
correct (`trees`), in one joint model over request and model features. The other targets are
linear in logarithms. A model that was never seen gets its place from its descriptors.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.calibration import Calibration
from router_model.heads import ContextScaler, Floats, LinearHead, ModelSpace
from router_model.trees import Trees

Vectors = NDArray[np.float32]
ADEQUACY, OUTPUT_TOKENS, LATENCY, COST = "adequacy", "output_tokens", "latency", "cost"
_MAX_LOG = 20.0


class Prediction(Struct, frozen=True):
    """Arrays (n_models,) for one context or (n_contexts, n_models) for many.

    `expected_cost` is what past bills suggest, in US dollars, NaN where there were none; where
    a price is known, `pricing` says it better.
    """

    p_adequate: Floats
    output_tokens: Floats
    tool_call_latency_ms: Floats
    expected_cost: Floats


class LogHead(Struct, frozen=True):
    """A positive target: a linear head of its logarithm and the factor from median to mean."""

    head: LinearHead
    smearing: float
    is_known: NDArray[np.bool_]


class JointPredictor:
    """The learned part of the router; immutable once built.

    `n_features` structural features and an embedding make a context vector.
    """

    def __init__(
        self,
        *,
        n_features: int,
        scaler: ContextScaler,
        space: ModelSpace,
        adequacy: LinearHead,
        log_heads: Mapping[str, LogHead],
        trees: Trees | None,
        calibration: Calibration,
    ) -> None:
        self.n_features = n_features
        self.scaler = scaler
        self.space = space
        self.adequacy = adequacy
        self.log_heads = dict(log_heads)
        self.trees = trees
        self.calibration = calibration

    def bind(self, names: Sequence[str], descriptors: Vectors) -> "BoundPredictor":
        """The predictor for a fixed list of models; `descriptors` is (n_models, d)."""
        return BoundPredictor(self, names, descriptors)

    def predict(
        self, features: Vectors, embedding: Vectors, *, names: Sequence[str], descriptors: Vectors
    ) -> Prediction:
        """Predictions for contexts (n, f) and (n, e) and all named models, shape (n, n_models)."""
        return self.bind(names, descriptors).predict_batch(features, embedding)


class BoundPredictor:
    """A predictor with the coefficients of its models worked out."""

    def __init__(
        self, predictor: JointPredictor, names: Sequence[str], descriptors: Vectors
    ) -> None:
        self.predictor = predictor
        self.names = tuple(names)
        self.loadings = predictor.space.loadings(names, descriptors)
        place = predictor.space.positions(names)
        self.coef, self.intercept = predictor.adequacy.coefficients(self.loadings, place)
        self._model_columns = np.column_stack(
            [predictor.space.traits_of(names, descriptors), np.asarray(descriptors, np.float64)]
        )
        self._logs = {
            target: (*log.head.coefficients(self.loadings, place), np.log(log.smearing))
            for target, log in predictor.log_heads.items()
        }
        self._unknown_cost = np.ones(len(names), dtype=bool)
        if COST in predictor.log_heads:
            known = predictor.log_heads[COST].is_known
            self._unknown_cost = ~np.where(place >= 0, known[place], False)

    def predict(self, features: Vectors, embedding: Vectors) -> Prediction:
        """Predictions for one context, shape (n_models,)."""
        z, raw = self._linear(features[None, :], embedding[None, :])
        if self.predictor.trees is not None:
            raw = raw + self.predictor.trees.score(self.tree_rows(features[None, :], z, raw))
        return self._prediction(z, raw, one=True)

    def predict_batch(self, features: Vectors, embedding: Vectors) -> Prediction:
        """Predictions for contexts (n, f) and (n, e), shape (n, n_models)."""
        z, raw = self._linear(features, embedding)
        if self.predictor.trees is not None:
            rows = self.tree_rows(features, z, raw)
            raw = raw + self.predictor.trees.score_batch(rows).reshape(raw.shape)
        return self._prediction(z, raw, one=False)

    def tree_rows(self, features: Vectors, z: Floats, raw: Floats) -> Floats:
        """Inputs of the trees, one row a (context, model), models varying fastest."""
        shared = z @ self.predictor.adequacy.shared
        n, m = raw.shape
        rows = np.empty((n, m, tree_width(self.predictor.n_features, shared.shape[1], self)))
        cut = features.shape[1]
        rows[:, :, :cut] = features[:, None, :]
        rows[:, :, cut : cut + shared.shape[1]] = shared[:, None, :]
        rows[:, :, cut + shared.shape[1]] = raw
        rows[:, :, cut + shared.shape[1] + 1 :] = self._model_columns
        return rows.reshape(n * m, -1)

    def tree_inputs(self, features: Vectors, embedding: Vectors) -> Floats:
        """Inputs of the trees for one context, one row a model."""
        return self.tree_rows(features[None, :], *self._linear(features[None], embedding[None]))

    @property
    def n_model_columns(self) -> int:
        """Columns of the trees that describe the model."""
        return int(self._model_columns.shape[1])

    def linear_contributions(self, features: Vectors, embedding: Vectors) -> Floats:
        """What each standardised input adds to the linear log-odds, shape (n_models, p)."""
        z = self.predictor.scaler.transform(np.concatenate([features, embedding]))
        return (z[:, None] * self.coef).T

    def _linear(self, features: Vectors, embedding: Vectors) -> tuple[Floats, Floats]:
        z = self.predictor.scaler.transform(np.concatenate([features, embedding], axis=1))
        return z, z @ self.coef + self.intercept

    def _prediction(self, z: Floats, raw: Floats, *, one: bool) -> Prediction:
        p = self.predictor.calibration.probability(raw.reshape(z.shape[0], -1))
        outputs = self._exponential(OUTPUT_TOKENS, z)
        latency = self._exponential(LATENCY, z)
        cost = np.where(self._unknown_cost, np.nan, self._exponential(COST, z))
        arrays = (p, outputs, latency, cost)
        return Prediction(*(array[0] for array in arrays)) if one else Prediction(*arrays)

    def _exponential(self, target: str, z: Floats) -> Floats:
        if target not in self._logs:
            return np.full((z.shape[0], len(self.names)), np.nan)
        coef, intercept, log_smearing = self._logs[target]
        log_value = z @ coef + intercept + log_smearing
        return np.asarray(np.exp(np.clip(log_value, -_MAX_LOG, _MAX_LOG)))


def tree_width(n_features: int, n_shared: int, bound: BoundPredictor) -> int:
    """Columns of a tree row: features, shared directions, linear score, model columns."""
    return n_features + n_shared + 1 + bound.n_model_columns
