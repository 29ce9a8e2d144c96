"""What every model would have yielded on every logged decision, by a model of the log itself.

Doubly robust estimates lean on it to lower their variance, so it is light: two ridge regressions
that correct what the router itself predicted at the time.

- adequacy: logistic, on the features, the log-odds of the logged p, the model's identity, and
  both together, so that each model's p is calibrated anew;
- cost: Poisson with the logged expected cost as exposure, so that each model's bill is corrected
  by a factor that may depend on the features.

Groups (sessions) are split into folds, and each row is scored by regressions that were fitted on
the other folds: a reward model that saw the row's own outcome would make DR trust it too much.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import logit

from router_data.logged import LoggedDecisions
from router_model.errors import DatasetError
from router_training.glm import Family, Glm, fit_glm, scaled
from router_training.splits import grouped_folds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_LEAST_P = 1e-4
_RIDGE = 20.0


class RewardModel(Struct, frozen=True, kw_only=True):
    """Expected outcomes by (decision, model), 0 where a model was no candidate."""

    adequate: Floats
    cost_usd: Floats

    def utility_usd(self, failure_cost_usd: Floats) -> Floats:
        """-(cost + (1 - p) x what a failure costs), the latter one number a decision."""
        return -(self.cost_usd + (1.0 - self.adequate) * failure_cost_usd[:, None])


def groups_of(logged: LoggedDecisions) -> Ints:
    """The number of every decision's session; a decision without a session is its own group."""
    names = [
        f"{tenant}\0{session}" if session else f"\0{tenant}\0{decision}"
        for tenant, session, decision in zip(
            logged.tenant, logged.session, logged.decision_id, strict=True
        )
    ]
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64).reshape(-1)


def cross_fitted(logged: LoggedDecisions, *, n_folds: int = 5, seed: int = 0) -> RewardModel:
    """Expected adequacy and cost of every candidate, never fitted on the row's own session.

    Labels count by how sure they are (`weight`). Raises DatasetError when the log has a single
    session, or no outcome at all.
    """
    groups = groups_of(logged)
    folds = grouped_folds(groups, n_folds=n_folds, seed=seed)
    shared = scaled(logged.features)
    log_odds = logit(np.clip(_filled(logged.p_adequate, 0.5), _LEAST_P, 1.0 - _LEAST_P))
    sureness = np.nan_to_num(logged.weight, nan=1.0)
    known = np.isfinite(logged.adequate)
    adequate = _Design(shared, log_odds).cross_fit(
        logged.adequate, logged.action, known, folds, family="logistic", weight=sureness
    )
    return RewardModel(
        adequate=np.where(logged.candidates, adequate, 0.0),
        cost_usd=np.where(logged.candidates, _costs(logged, shared, folds), 0.0),
    )


def _costs(logged: LoggedDecisions, shared: Floats, folds: Ints) -> Floats:
    known = np.isfinite(logged.cost_usd)
    if not known.any():
        raise DatasetError(f"cost_usd: none of {logged.n} was observed, expected at least 1")
    scale = max(float(logged.cost_usd[known].mean()), 1e-12)
    expected = np.where(logged.expected_cost > 0, logged.expected_cost, np.nan)
    exposure = np.log(_filled(expected, scale) / scale)
    relative = np.where(known, logged.cost_usd, 0.0) / scale
    fitted = _Design(shared, np.zeros_like(exposure), exposure).cross_fit(
        relative, logged.action, known, folds, family="poisson", weight=np.ones(logged.n)
    )
    return fitted * scale


class _Design:
    """The rows of a regression over (decision, model), with one prediction made before it."""

    def __init__(self, shared: Floats, before: Floats, offset: Floats | None = None) -> None:
        self.shared = shared
        self.before = before
        self.offset = offset
        self.n_models = before.shape[1]

    def rows(self, decisions: Ints, models: Ints) -> Floats:
        """One row for each pair: features, prediction, model, and the last two together."""
        identity = np.eye(self.n_models)[models]
        before = self.before[decisions, models][:, None]
        return np.column_stack([self.shared[decisions], before, identity, identity * before])

    def cross_fit(
        self, y: Floats, action: Ints, known: Bools, folds: Ints, *, family: Family, weight: Floats
    ) -> Floats:
        """Predictions for all pairs, those of a fold by a fit on the known rows of the others."""
        predicted = np.empty_like(self.before)
        for fold in range(int(folds.max()) + 1):
            train = np.flatnonzero((folds != fold) & known)
            if not train.size:
                raise DatasetError("outcomes: all are in one session, expected some in another")
            glm = fit_glm(
                self.rows(train, action[train]),
                y[train],
                family=family,
                weight=weight[train],
                offset=None if self.offset is None else self.offset[train, action[train]],
                ridge=_RIDGE,
            )
            self._predict_into(predicted, glm, np.flatnonzero(folds == fold))
        return predicted

    def _predict_into(self, predicted: Floats, glm: Glm, decisions: Ints) -> None:
        for model in range(self.n_models):
            rows = self.rows(decisions, np.full(len(decisions), model))
            offset = None if self.offset is None else self.offset[decisions, model]
            predicted[decisions, model] = glm.predict(rows, offset=offset)


def _filled(table: Floats, otherwise: float) -> Floats:
    """The table with unknown values replaced by their column's mean, or by `otherwise`."""
    known = np.isfinite(table)
    count = known.sum(axis=0)
    total = np.where(known, table, 0.0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(table.shape[1], otherwise), where=count > 0)
    return np.where(known, table, mean)
