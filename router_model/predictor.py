"""P(adequate), output tokens, tool-call latency, cost of every model for a context.

P(adequate) is calibrated; its log-odds blend a linear score (`heads`) with LightGBM trees
(`trees`), both joint models over request and model features: the first reads text well, the
second knows which kind of request suits which kind of model. The other targets are linear in
logarithms. A model that was never seen gets its place from its descriptors.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.calibration import Calibration
from router_model.embedding import N_MATCH
from router_model.errors import PredictionError
from router_model.forest import BoundForest, Forest
from router_model.heads import ContextScaler, Floats, LinearHead, ModelSpace
from router_model.trees import Trees

Vectors = NDArray[np.float32]
ADEQUACY, OUTPUT_TOKENS, LATENCY, COST = "adequacy", "output_tokens", "latency", "cost"
_MAX_LOG = 20.0
# Positions of models: all of them, or some by number.
Columns = slice | NDArray[np.intp]
_ALL: Final = slice(None)


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


class Blend(Struct, frozen=True):
    """Weights of the linear score and of the trees in the log-odds."""

    linear: float
    trees: float


class JointPredictor:
    """The learned part of the router; immutable once built.

    `n_features` structural features and an embedding make a context vector. The trees see the
    features, the embedding's match values, `text_components` (e, t) of its text part, and the
    model's traits and descriptors.
    """

    def __init__(
        self,
        *,
        n_features: int,
        scaler: ContextScaler,
        space: ModelSpace,
        adequacy: LinearHead,
        log_heads: Mapping[str, LogHead],
        trees: Trees,
        text_components: Floats,
        blend: Blend,
        calibration: Calibration,
    ) -> None:
        self.n_features = n_features
        self.scaler = scaler
        self.space = space
        self.adequacy = adequacy
        self.log_heads = dict(log_heads)
        self.trees = trees
        self.text_components = text_components
        self.blend = blend
        self.calibration = calibration

    @property
    def n_dimensions(self) -> int:
        """Length of the text vectors it reads."""
        return int(self.text_components.shape[0])

    @property
    def n_descriptors(self) -> int:
        """How many numbers describe a model to it."""
        return len(self.space.descriptor_mean)

    @property
    def n_tree_columns(self) -> int:
        """Width of the rows that its trees read."""
        n_text, n_traits = self.text_components.shape[1], self.space.traits.shape[1]
        return self.n_features + N_MATCH + int(n_text) + int(n_traits) + self.n_descriptors

    @cached_property
    def forest(self) -> Forest | None:
        """Its trees, for one context and many models; None where `trees` alone can score them."""
        if self.trees.n_columns != self.n_tree_columns:
            return None
        n_models = int(self.space.traits.shape[1]) + self.n_descriptors
        return Forest.of(self.trees.text, n_context=self.n_tree_columns - n_models)

    def bind(self, names: Sequence[str], descriptors: Vectors) -> "BoundPredictor":
        """The predictor for a fixed list of models; `descriptors` is (n_models, d)."""
        return BoundPredictor(self, names, descriptors)

    def predict(
        self,
        features: Vectors,
        embedding: Vectors,
        *,
        names: Sequence[str],
        descriptors: Vectors,
        shift: Floats | None = None,
    ) -> Prediction:
        """Predictions for features and embeddings (one context a row) and all named models.

        Arrays of shape (n_contexts, n_models), `shift` (added log-odds) too.
        """
        return self.bind(names, descriptors).predict_batch(features, embedding, shift=shift)


class BoundPredictor:
    """A predictor with the coefficients of its models worked out.

    `abilities` are the log-odds of each model being adequate on the average context.
    """

    def __init__(
        self, predictor: JointPredictor, names: Sequence[str], descriptors: Vectors
    ) -> None:
        self.predictor = predictor
        self.names = tuple(names)
        loadings = predictor.space.loadings(names, descriptors)
        place = predictor.space.positions(names)
        self.coef, self.intercept = predictor.adequacy.coefficients(loadings, place)
        traits = predictor.space.traits_of(names, descriptors)
        self.abilities = traits[:, 0]
        self.model_columns = model_columns(traits, descriptors)
        forest = predictor.forest
        self._forest: BoundForest | None = (
            None if forest is None else forest.bind(self.model_columns)
        )
        self._logs = {
            target: (*log.head.coefficients(loadings, place), np.log(log.smearing))
            for target, log in predictor.log_heads.items()
        }
        self._unknown_cost = np.ones(len(names), dtype=bool)
        if COST in predictor.log_heads:
            known = predictor.log_heads[COST].is_known
            self._unknown_cost = ~np.where(place >= 0, known[place], False)

    def predict(
        self,
        features: Vectors,
        embedding: Vectors,
        *,
        only: Columns = _ALL,
        shift: Floats | None = None,
        with_cost: bool = True,
    ) -> Prediction:
        """Predictions for one context, shape (n_models,).

        `only` limits them to the models at these positions; `shift` is added to the calibrated
        log-odds of those (`TenantOffsets.for_models`). The cost is NaN unless it is asked for with
        `with_cost`. Raises PredictionError when a
        probability can't be computed or is not a finite number.
        """
        z = self._standardised(features, embedding)
        corrections = self._corrections(features, embedding, only)
        return self._prediction(z, corrections, only, shift, with_cost=with_cost)

    def predict_batch(
        self, features: Vectors, embedding: Vectors, *, shift: Floats | None = None
    ) -> Prediction:
        """Predictions for contexts (n, f) and (n, e), shape (n, n_models), as `shift` has."""
        z = self._standardised(features, embedding)
        corrections = self.predictor.trees.score_batch(self.tree_rows(features, embedding))
        table = corrections.reshape(len(z), len(self.names))
        return self._prediction(z, table, _ALL, shift, with_cost=True)

    def tree_rows(self, features: Vectors, embedding: Vectors, *, only: Columns = _ALL) -> Floats:
        """Inputs of the trees, one row a (context, model), models varying fastest."""
        contexts: Floats = context_columns(features, embedding, self.predictor.text_components)
        models = self.model_columns[only]
        n, m, cut = len(contexts), len(models), contexts.shape[1]
        rows: Floats = np.empty((n, m, cut + models.shape[1]))
        rows[:, :, :cut] = contexts[:, None, :]
        rows[:, :, cut:] = models
        return rows.reshape(n * m, cut + models.shape[1])

    def linear_contributions(self, features: Vectors, embedding: Vectors) -> Floats:
        """What each input adds to the linear log-odds, shape (n_models, p)."""
        z = self._standardised(features, embedding)
        contributions: Floats = (z[:, None] * self.coef).T
        return contributions

    def _standardised(self, features: Vectors, embedding: Vectors) -> Floats:
        return self.predictor.scaler.transform(np.concatenate([features, embedding], axis=-1))

    def _corrections(self, features: Vectors, embedding: Vectors, only: Columns) -> Floats:
        """What the trees say of one context and these models, shape (n_models,)."""
        if self._forest is None:
            rows = self.tree_rows(features[None], embedding[None], only=only)
            return self.predictor.trees.score(rows)
        columns = context_columns(features, embedding, self.predictor.text_components)
        return self._forest.score(columns, only)

    def _prediction(
        self,
        z: Floats,
        corrections: Floats,
        only: Columns,
        shift: Floats | None,
        *,
        with_cost: bool,
    ) -> Prediction:
        """The prediction for one z (p,), or for many (n, p)."""
        blend = self.predictor.blend
        linear = (z @ self.coef + self.intercept)[..., only]
        raw = blend.linear * linear + blend.trees * corrections
        p = self.predictor.calibration.probability(raw, shift=shift)
        if not np.isfinite(p).all():
            raise PredictionError("p_adequate: got a value that is not a finite number")
        cost = np.full(p.shape, np.nan)
        if with_cost:
            cost = np.where(self._unknown_cost, np.nan, self._exponential(COST, z))[..., only]
        return Prediction(
            p,
            self._exponential(OUTPUT_TOKENS, z)[..., only],
            self._exponential(LATENCY, z)[..., only],
            cost,
        )

    def _exponential(self, target: str, z: Floats) -> Floats:
        if target not in self._logs:
            return np.full((*z.shape[:-1], len(self.names)), np.nan)
        coef, intercept, log_smearing = self._logs[target]
        log_value = z @ coef + intercept + log_smearing
        return np.asarray(np.exp(np.minimum(np.maximum(log_value, -_MAX_LOG), _MAX_LOG)))


def context_columns(features: Vectors, embedding: Vectors, text_components: Floats) -> Floats:
    """What the trees see of one context, shape (f + N_MATCH + t,), or of many, a row each.

    Features, match values as they are, and components of the text's vector.
    """
    text, match = embedding[..., :-N_MATCH], embedding[..., -N_MATCH:]
    components: Floats = np.asarray(text, np.float64) @ text_components
    return np.concatenate([np.asarray(features, np.float64), match, components], axis=-1)


def model_columns(traits: Floats, descriptors: Vectors) -> Floats:
    """What the trees see of models, shape (n_models, t + d)."""
    return np.concatenate([traits, np.asarray(descriptors, np.float64)], axis=1)
