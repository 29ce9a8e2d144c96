"""Where models stand: traits from the log, and from descriptors where there is no log."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router_model.descriptors import DESCRIPTOR_NAMES
from router_model.heads import Floats, ModelSpace
from router_training.bilinear import Cells, fit_head

# Prior standard deviation of a trait around what descriptors say, in log-odds.
_TRAIT_SD = 0.7
# How much one standard deviation of a descriptor may move a trait.
_DESCRIPTOR_SD = 0.3
# Log-odds that models gain in a year at equal price. It places data sets of different years,
# which share no model, on one scale. Within tau2-bench the least-squares slope is 0.50 (20
# models), within other matrices 0.2 to 1.3.
_ABILITY_PER_YEAR = 0.5
_RELEASED = DESCRIPTOR_NAMES.index("release_years")
_RIDGE_SHARED = 2000.0
_RIDGE_OWN = 300.0


def fit_space(
    z: Floats,
    cells: Cells,
    *,
    names: Sequence[str],
    descriptors: NDArray[np.floating],
    n_skills: int,
    n_components: int,
) -> ModelSpace:
    """Traits of the models in `names`, and how to estimate those of others.

    A linear score with weights of each model's own is fitted first, which works on partial
    feedback too. Abilities are its intercepts, so they are controlled for the difficulty of
    the contexts that each model was seen on. Skills are the main directions of what is left:
    the singular vectors of the centred table of scores (reduced-rank regression, Izenman,
    1975). The regression on descriptors (n_models, d) weighs each model by the rows behind it,
    so that a few models can't fit many descriptors.
    """
    head, _ = fit_head(
        z,
        np.ones((len(names), 1)),
        cells,
        link="logit",
        ridge=_RIDGE_SHARED,
        ridge_own=_RIDGE_OWN,
        prior=_progress(np.asarray(descriptors, dtype=np.float64)),
        max_iter=60,
    )
    ability = head.beta[0] + head.offset
    traits = np.column_stack([ability, _skills(z @ head.own, n_skills)])
    n_rows = np.bincount(cells.model, cells.weight, minlength=len(names))
    # Variance of a trait: binomial noise of its rows plus what descriptors leave open.
    precision = 1.0 / (4.0 / np.maximum(n_rows, 1.0) + _TRAIT_SD**2)
    trait_mean = np.average(traits, axis=0, weights=precision)
    mean, scale = _moments(np.asarray(descriptors, dtype=np.float64))
    standard = np.clip(np.nan_to_num((descriptors - mean) / scale), -5, 5)
    return ModelSpace(
        names=tuple(names),
        traits=traits,
        trait_mean=trait_mean,
        trait_scale=np.maximum(traits.std(axis=0), 0.1),
        trait_coef=_ridge(standard, traits - trait_mean, precision),
        descriptor_mean=mean,
        descriptor_scale=scale,
        components=_components(standard, n_components),
    )


def _progress(descriptors: Floats) -> Floats:
    """Expected ability of each model from its release date, zero on average.

    Descriptors other than the catalog's have no known column of dates: zero for every model.
    """
    if descriptors.shape[1] != len(DESCRIPTOR_NAMES):
        return np.zeros(len(descriptors))
    release_years = descriptors[:, _RELEASED]
    known = np.isfinite(release_years)
    if not known.any():
        return np.zeros(len(release_years))
    centred = np.where(known, release_years - release_years[known].mean(), 0.0)
    return np.asarray(_ABILITY_PER_YEAR * centred)


def _skills(scores: Floats, n_skills: int) -> Floats:
    """Coordinates of the models (n_models, <= n_skills) in the table of scores (n, n_models)."""
    n_models = scores.shape[1]
    wanted = max(0, min(n_skills, n_models - 2))
    centred = scores - scores.mean(axis=0)
    centred = centred - centred.mean(axis=1, keepdims=True)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    found = min(wanted, int((singular > 1e-9).sum()))
    skills = (directions[:found] * singular[:found, None] / np.sqrt(len(scores))).T
    # The sign of a singular vector is arbitrary: fix it, so that equal data give equal traits.
    signs = np.sign(skills[np.abs(skills).argmax(axis=0), np.arange(found)])
    return np.asarray(skills * signs, dtype=np.float64)


def _moments(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column's known values; scale 1 where none vary."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    scale = np.sqrt(np.where(known, np.square(values - mean), 0.0).sum(axis=0) / count)
    scale[scale < 1e-6] = 1.0
    return mean, scale


def _ridge(X: Floats, y: Floats, weight: Floats) -> Floats:
    """Ridge weights (d, t) of the targets y (n, t)."""
    gram = X.T @ (X * weight[:, None])
    held = gram + np.eye(X.shape[1]) / _DESCRIPTOR_SD**2
    return np.asarray(np.linalg.solve(held, X.T @ (weight[:, None] * y)), dtype=np.float64)


def _components(X: Floats, n_components: int) -> Floats:
    """Principal directions scaled to unit variance, shape (d, n); fewer where rank is lower."""
    if len(X) < 3:
        return np.zeros((X.shape[1], 0))
    _, singular, directions = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    n = min(n_components, int((singular > 1e-6 * singular[0]).sum()), len(X) - 2)
    return np.asarray(directions[:n].T / (singular[:n] / np.sqrt(len(X))), dtype=np.float64)
