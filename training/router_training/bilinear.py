"""Fit of a linear head: ridge regression over contexts x models, logistic or squared loss.

Minimises  sum_r s_r loss(y_r, eta_r) + 1/2 (ridge |W|^2 + ridge_own (|V|^2 + ...) ),  with eta as
in `router_model.heads`, by L-BFGS. Contexts are kept once: the gradient needs one product of the
context matrix with the residuals summed per (context, model).
"""

from typing import Literal, Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from router_model.heads import Floats, LinearHead

Link = Literal["logit", "identity"]
Ints = NDArray[np.int64]


class Nuisance(Struct, frozen=True):
    """Groups whose levels are fitted beside a head and then left out of it.

    Each row is in the groups `index` (n_rows, any number), numbered over all kinds of them.
    `ridge` (n_groups,) holds each group's level back: 1 / variance of levels expected.
    """

    index: Ints
    ridge: Floats

    @classmethod
    def none(cls, n_rows: int) -> "Nuisance":
        """No groups."""
        return cls(np.zeros((n_rows, 0), dtype=np.int64), np.zeros(0))

    def beside(self, group: Ints, *, ridge: float) -> "Nuisance":
        """With another kind of group, numbered from 0, of which each row is in one."""
        levels = np.full(int(group.max(initial=-1)) + 1, ridge)
        return Nuisance(
            np.column_stack([self.index, group + len(self.ridge)]),
            np.concatenate([self.ridge, levels]),
        )


class Cells:
    """Rows of a training table: context, model and nuisance groups of each, target and weight."""

    def __init__(
        self,
        context: Ints,
        model: Ints,
        y: Floats,
        *,
        weight: Floats | None = None,
        nuisance: Nuisance | None = None,
    ) -> None:
        self.context = context
        self.model = model
        self.y = y
        self.weight = np.ones(len(y)) if weight is None else weight
        self.nuisance = Nuisance.none(len(y)) if nuisance is None else nuisance

    def select(self, mask: NDArray[np.bool_] | NDArray[np.integer]) -> Self:
        """The rows where the mask is true, or at these places; context and model numbers stay."""
        return type(self)(
            self.context[mask],
            self.model[mask],
            self.y[mask],
            weight=self.weight[mask],
            nuisance=Nuisance(self.nuisance.index[mask], self.nuisance.ridge),
        )


def fit_head(
    z: Floats,
    loadings: Floats,
    cells: Cells,
    *,
    link: Link,
    ridge: float,
    ridge_own: float,
    ridge_offset: float = 1.0,
    prior: Floats | None = None,
    max_iter: int = 150,
) -> tuple[LinearHead, Floats]:
    """Head fitted on the cells, and the level of every nuisance group.

    `z` is (n_contexts, p), `loadings` (n_models, k). `ridge` holds the shared weights back,
    `ridge_own` each model's own, `ridge_offset` its intercept. Levels of nuisance groups (data
    sets of different difficulty, tenants) are fitted beside them and left out: they are zero on
    average, as nothing holds `beta[0]` back, loading 0 being the constant. `prior` (n_models,)
    is what each intercept is expected to be; the returned `offset` includes it.
    """
    objective = _Objective(z, loadings, cells, link, np.array([ridge, ridge_own, ridge_offset]))
    if prior is not None:
        objective.prior = prior
    start = np.zeros(objective.size)
    start[objective.beta_at] = objective.mean_target()
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iter, "maxcor": 20}
    )
    shared, own, beta, offset, levels = objective.unpack(found.x)
    head = LinearHead(shared=shared, own=own, beta=beta, offset=offset + objective.prior)
    return head, levels


class _Objective:
    """Penalised loss and its gradient as a function of the flat parameter vector."""

    def __init__(
        self, z: Floats, loadings: Floats, cells: Cells, link: Link, ridges: Floats
    ) -> None:
        self.z, self.loadings, self.cells, self.link = z, loadings, cells, link
        (n, p), (m, k) = z.shape, loadings.shape
        self.prior = np.zeros(m)
        self.shape = (n, m)
        self.shapes = ((p, k), (p, m), (k,), (m,), (len(cells.nuisance.ridge),))
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.cuts = np.cumsum(sizes)[:-1]
        self.size = sum(sizes)
        self.beta_at = sizes[0] + sizes[1]
        # The constant's weight is not held back: it is the mean.
        penalty = [
            np.full(size, ridge)
            for size, ridge in zip(sizes[:4], ridges[[0, 1, 2, 2]], strict=True)
        ]
        penalty[2][0] = 1e-6
        self.penalty = np.concatenate([*penalty, cells.nuisance.ridge])

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
        groups = cells.nuisance.index
        level = nuisance[groups].sum(axis=1)
        eta = table[cells.context, cells.model] + intercept[cells.model] + level
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
                np.bincount(groups.ravel(), slope.repeat(groups.shape[1]), minlength=len(nuisance)),
            ]
        )
        value = float(cells.weight @ loss + 0.5 * flat @ (self.penalty * flat))
        return value, gradient + self.penalty * flat
