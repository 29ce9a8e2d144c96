"""What an off-policy estimator is given: logged rewards with their probabilities.

The arrays have one entry per logged decision i, with action a_i drawn from the logging policy mu:

- `reward` r_i, what was observed of a_i;
- `propensity` mu(a_i | x_i), always above 0: a row without one can't be used, and is refused;
- `target` pi(a_i | x_i), the probability that the evaluated policy gives the logged action;
- `reward_model` q(x_i, a_i) and `value_model` v(x_i) = sum_a pi(a | x_i) q(x_i, a), from a model
  that was not fitted on row i;
- `groups`: rows of one group (a session) are not independent;
- `supported`: share of the policy's probability on actions with mu(a | x_i) > 0;
- `observation`: 0 where the reward was not observed, else 1 / P(it was observed).
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.errors import DatasetError, RouterError

Floats = NDArray[np.float64]
_TOLERANCE = 1e-9
_COLUMNS = ("propensity", "target", "reward_model", "value_model", "supported", "observation")


class PropensityError(RouterError):
    """A logged probability that is missing, 0 or above 1, so that nothing can be weighted by it."""

    code = "invalid_propensity"


class OverlapError(RouterError):
    """A log that says too little about a policy; names the figures and what would help."""

    code = "insufficient_overlap"


class BanditSample(Struct, frozen=True, kw_only=True):
    """A logged bandit sample; see the module's docstring for its columns.

    `reward_range` holds the least and greatest reward that is possible, and `max_weight` the
    greatest possible pi / mu times `observation`, whether or not it was drawn. Both are needed
    for guaranteed intervals; where they are not given, what was observed stands in.
    Raises PropensityError and DatasetError for columns that can't be used.
    """

    reward: Floats
    propensity: Floats
    target: Floats
    reward_model: Floats | None = None
    value_model: Floats | None = None
    groups: NDArray[np.generic] | None = None
    supported: Floats | None = None
    observation: Floats | None = None
    reward_range: tuple[float, float] | None = None
    max_weight: float | None = None

    def __post_init__(self) -> None:
        if self.n == 0:
            raise DatasetError("reward: got no rows, expected at least 1")
        for name in (*_COLUMNS, "groups"):
            column = getattr(self, name)
            if column is not None and column.shape != (self.n,):
                raise DatasetError(f"{name}: got shape {column.shape}, expected ({self.n},)")
        require_propensities(self.propensity)
        _require(self.target, "target", low=0.0, high=1.0)
        for name in ("reward_model", "value_model"):
            if (column := getattr(self, name)) is not None:
                _require(column, name, low=-np.inf, high=np.inf)
        if self.observation is not None:
            _require(self.observation, "observation", low=0.0, high=np.inf)
        low, high = self.reward_range or (-np.inf, np.inf)
        _require(self.reward[self.is_observed], "reward", low=low, high=high)

    @property
    def n(self) -> int:
        """How many decisions there are."""
        return len(self.reward)

    @property
    def is_observed(self) -> NDArray[np.bool_]:
        """Where the reward was observed."""
        if self.observation is None:
            return np.ones(self.n, dtype=bool)
        return np.asarray(self.observation > 0)

    @property
    def observed_reward(self) -> Floats:
        """The reward, and 0 where it was not observed (its weight is 0 there)."""
        return np.where(self.is_observed, self.reward, 0.0)

    @property
    def weight(self) -> Floats:
        """w_i = target / propensity x observation."""
        ratio = self.target / self.propensity
        return ratio if self.observation is None else ratio * self.observation

    @property
    def unsupported(self) -> float:
        """Mean probability of the policy on actions that the log could never have shown."""
        return 0.0 if self.supported is None else float(1.0 - self.supported.mean())

    @property
    def effective_sample_size(self) -> float:
        """(sum w)^2 / sum w^2 (Kish 1965): as many equally weighted rows say as much."""
        return effective_sample_size(self.weight)

    @property
    def weight_bound(self) -> float:
        """The greatest possible weight, the greatest that was seen where none is given."""
        seen = float(self.weight.max())
        return seen if self.max_weight is None else max(seen, self.max_weight)

    @property
    def reward_bounds(self) -> tuple[float, float]:
        """The least and greatest reward, those that were seen where no range is given."""
        if self.reward_range is not None:
            return self.reward_range
        seen = self.reward[self.is_observed]
        return (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)

    def model(self) -> tuple[Floats, Floats]:
        """q of the logged actions and v; DatasetError when there is no reward model."""
        if self.reward_model is None or self.value_model is None:
            raise DatasetError("reward_model, value_model: got None, expected both")
        return self.reward_model, self.value_model


def effective_sample_size(weight: Floats) -> float:
    """(sum w)^2 / sum w^2; 0 when every weight is 0.

    >>> effective_sample_size(np.array([1.0, 1.0, 2.0]))
    2.6666666666666665
    """
    square = float(np.square(weight).sum())
    return float(weight.sum()) ** 2 / square if square > 0 else 0.0


def require_propensities(propensity: Floats) -> None:
    """PropensityError unless every propensity lies in (0, 1].

    >>> require_propensities(np.array([0.5, 0.0]))
    Traceback (most recent call last):
    ...
    router_training.bandit_sample.PropensityError: propensity: got 0.0 in row 1 (1 of 2 rows can't \
be used), expected above 0, at most 1
    """
    is_usable = (propensity > 0) & (propensity <= 1.0 + _TOLERANCE)  # false for NaN too
    if not is_usable.all():
        row = int(np.argmin(is_usable))
        raise PropensityError(
            f"propensity: got {float(propensity[row])} in row {row} "
            f"({int((~is_usable).sum())} of {len(propensity)} rows can't be used), "
            "expected above 0, at most 1"
        )


def _require(values: Floats, name: str, *, low: float, high: float) -> None:
    slack = _TOLERANCE * max(1.0, *(abs(end) for end in (low, high) if np.isfinite(end)), 0.0)
    is_usable = np.isfinite(values) & (values >= low - slack) & (values <= high + slack)
    if not is_usable.all():
        row = int(np.argmin(is_usable))
        raise DatasetError(
            f"{name}: got {float(values[row])} ({int((~is_usable).sum())} of {len(values)} rows), "
            f"expected a number from {low:g} to {high:g}"
        )
