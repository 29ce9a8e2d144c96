"""Fit of a linear head: ridge regression over contexts x models, logistic or squared loss.

Minimises  sum_r s_r loss(y_r, eta_r) + 1/2 (ridge |W|^2 + ridge_own (|V|^2 + ...) ),  with eta as
in `router_model.heads`, by L-BFGS. Contexts are kept once: the gradient needs one product of the
context matrix with the residuals summed per (context, model).
"""

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from router_model.heads import Floats, LinearHead

Link = Literal["logit", "identity"]
Ints = NDArray[np.int64]


class Cells:
    """Rows of a training table: context, model and nuisance group of each, target and weight."""

    def __init__(
        self,
        context: Ints,
        model: Ints,
        y: Floats,
        *,
        weight: Floats | None = None,
        nuisance: Ints | None = None,
    ) -> None:
        self.context = context
        self.model = model
        self.y = y
        self.weight = np.ones(len(y)) if weight is None else weight
        self.nuisance = np.zeros(len(y), dtype=np.int64) if nuisance is None else nuisance
        self.n_nuisance = int(self.nuisance.max(initial=0)) + 1

    def select(self, mask: NDArray[np.bool_]) -> Self:
        """The rows where the mask is true; context and model numbers stay."""
        part = type(self)(
            self.context[mask],
            self.model[mask],
            self.y[mask],
            weight=self.weight[mask],
            nuisance=self.nuisance[mask],
        )
        part.n_nuisance = self.n_nuisance
        return part


def fit_head(
    z: Floats,
    loadings: Floats,
    cells: Cells,
    *,
    link: Link,
    ridge: float,
    ridge_own: float,
    ridge_offset: float = 1.0,
    ridge_nuisance: float = 0.1,
    prior: Floats | None = None,
    max_iter: int = 150,
) -> LinearHead:
    """Head fitted on the cells; `z` is (n_contexts, p), `loadings` (n_models, k).

    `ridge` holds the shared weights back, `ridge_own` each model's own, `ridge_offset` its
    intercept. Intercepts of nuisance groups (data sets of different difficulty) are fitted
    beside them; their mean is folded into `beta[0]`, loading 0 being the constant. `prior`
    (n_models,) is what each intercept is expected to be; the returned `offset` includes it.
    """
    objective = _Objective(
        z, loadings, cells, link, np.array([ridge, ridge_own, ridge_offset, ridge_nuisance])
    )
    if prior is not None:
        objective.prior = prior
    start = np.zeros(objective.size)
    start[objective.beta_at] = objective.mean_target()
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iter, "maxcor": 20}
    )
    shared, own, beta, offset, nuisance = objective.unpack(found.x)
    beta = beta.copy()
    beta[0] += float(np.mean(nuisance))
    return LinearHead(shared=shared, own=own, beta=beta, offset=offset + objective.prior)


class _Objective:
    """Penalised loss and its gradient as a function of the flat parameter vector."""

    def __init__(
        self, z: Floats, loadings: Floats, cells: Cells, link: Link, ridges: Floats
    ) -> None:
        self.z, self.loadings, self.cells, self.link = z, loadings, cells, link
        (n, p), (m, k) = z.shape, loadings.shape
        self.prior = np.zeros(m)
        self.shape = (n, m)
        self.shapes = ((p, k), (p, m), (k,), (m,), (cells.n_nuisance,))
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.cuts = np.cumsum(sizes)[:-1]
        self.size = sum(sizes)
        self.beta_at = sizes[0] + sizes[1]
        # The constant's weight is not held back: it is the mean.
        penalty = [
            np.full(size, ridge) for size, ridge in zip(sizes, ridges[[0, 1, 2, 2, 3]], strict=True)
        ]
        penalty[2][0] = 1e-6
        self.penalty = np.concatenate(penalty)

    def mean_target(self) -> float:
        mean = float(np.average(self.cells.y, weights=self.cells.weight))
        if self.link == "identity":
            return mean
        mean = min(max(mean, 0.01), 0.99)
        return float(np.log(mean / (1 - mean)))

    def unpack(self, flat: Floats) -> list[Floats]:
        parts = np.split(flat, self.cuts)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def __call__(self, flat: Floats) -> tuple[float, Floats]:
        shared, own, beta, offset, nuisance = self.unpack(flat)
        cells = self.cells
        table = (self.z @ shared) @ self.loadings.T + self.z @ own
        intercept = self.loadings @ beta + offset + self.prior
        eta = table[cells.context, cells.model] + intercept[cells.model] + nuisance[cells.nuisance]
        if self.link == "logit":
            loss = np.logaddexp(0.0, eta) - cells.y * eta
            slope = cells.weight * (expit(eta) - cells.y)
        else:
            loss = 0.5 * np.square(eta - cells.y)
            slope = cells.weight * (eta - cells.y)
        residual = csr_matrix((slope, (cells.context, cells.model)), shape=self.shape)
        by_model = np.bincount(cells.model, slope, minlength=self.shape[1])
        gradient = np.concatenate(
            [
                np.asarray(self.z.T @ np.asarray(residual @ self.loadings)).ravel(),
                np.asarray(residual.T @ self.z).T.ravel(),
                self.loadings.T @ by_model,
                by_model,
                np.bincount(cells.nuisance, slope, minlength=cells.n_nuisance),
            ]
        )
        value = float(cells.weight @ loss + 0.5 * flat @ (self.penalty * flat))
        return value, gradient + self.penalty * flat
