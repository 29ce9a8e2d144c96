"""Linear scores of a context for a model, with strength shared between models.

The score of model m for context z is

    intercept_m + z . coef_m,   coef_m = W l_m + V_m,   intercept_m = beta . l_m + u_m

where the loadings l_m describe the model (a constant, its ability, components of its
descriptors). W and beta are shared by all models; V and u are what one model shows beyond its
description and are zero for a model that was never seen. It is the matrix-factor form of a
multi-level regression (Gelman and Hill, 2007, ch. 13): few rows lean on the shared part.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_CLIP = 5.0


class ContextScaler(Struct, frozen=True):
    """Turns raw context vectors into z: centred, scaled, clipped; unknown values become 0."""

    mean: Floats
    scale: Floats

    def transform(self, vectors: NDArray[np.floating]) -> Floats:
        """Array of the same shape, float64, within +-5 standard deviations."""
        with np.errstate(invalid="ignore"):  # an infinite value in a column that says nothing
            z = (np.asarray(vectors, np.float64) - self.mean) / self.scale
        return _clipped(z)


class ModelSpace(Struct, frozen=True):
    """Where models stand: traits learned from outcomes, and components of their descriptors.

    `traits` (n_seen, t) of the models in `names`: first the ability (log-odds of being adequate
    on the average context), then skills (how its odds depart from the others' along the main
    directions in which models differ). Any other model's traits are estimated from its
    descriptors by `trait_coef` (d, t), the ridge regression of the seen ones.
    """

    names: tuple[str, ...]
    traits: Floats
    trait_mean: Floats
    trait_scale: Floats
    trait_coef: Floats
    descriptor_mean: Floats
    descriptor_scale: Floats
    components: Floats

    def standardise(self, descriptors: NDArray[np.floating]) -> Floats:
        """Descriptors in standard units, unknown ones at the mean."""
        known = np.asarray(descriptors, np.float64)
        return _clipped((known - self.descriptor_mean) / self.descriptor_scale)

    def positions(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Index into `names` for each model, -1 for models never seen.

        A name that was not seen exactly is found without regard to case and "provider/".
        """
        plain = {plain_name(name): index for index, name in enumerate(self.names)}
        exact = {name: index for index, name in enumerate(self.names)}
        found = [exact.get(name, plain.get(plain_name(name), -1)) for name in names]
        return np.array(found, dtype=np.int64)

    def traits_of(self, names: Sequence[str], descriptors: NDArray[np.floating]) -> Floats:
        """Traits of each model, shape (n_models, t): learned, or estimated where never seen."""
        place = self.positions(names)
        traits: Floats = self.trait_mean + self.standardise(descriptors) @ self.trait_coef
        traits[place >= 0] = self.traits[place[place >= 0]]
        return traits

    def loadings(self, names: Sequence[str], descriptors: NDArray[np.floating]) -> Floats:
        """Shape (n_models, 1 + t + n_components): one, standard traits, descriptor components."""
        traits = (self.traits_of(names, descriptors) - self.trait_mean) / self.trait_scale
        parts = self.standardise(descriptors) @ self.components
        return np.column_stack([np.ones(len(names)), traits, parts])


class LinearHead(Struct, frozen=True):
    """Weights of one target.

    `shared` (p, k), `own` (p, n_seen), `beta` (k,), `offset` (n_seen,).
    """

    shared: Floats
    own: Floats
    beta: Floats
    offset: Floats

    def coefficients(self, loadings: Floats, place: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """(coef (p, n_models), intercept (n_models,)) for models with these loadings.

        `place` holds each model's column in `own`, or -1.
        """
        is_seen = place >= 0
        coef = self.shared @ loadings.T
        intercept = loadings @ self.beta
        if self.own.shape[1]:
            coef = coef + np.where(is_seen, self.own[:, place], 0.0)
            intercept = intercept + np.where(is_seen, self.offset[place], 0.0)
        return coef, intercept


def _clipped(scaled: Floats) -> Floats:
    """Within +-5, unknown values at 0; what is given is used up."""
    # On a few hundred numbers np.clip and np.nan_to_num cost several times these.
    np.minimum(scaled, _CLIP, out=scaled)
    np.maximum(scaled, -_CLIP, out=scaled)
    scaled[np.isnan(scaled)] = 0.0
    return scaled


def plain_name(name: str) -> str:
    """A model's name without case and "provider/", for a log that spells it otherwise.

    >>> plain_name("OpenAI/GPT-X")
    'gpt-x'
    """
    return name.lower().rsplit("/", 1)[-1]
