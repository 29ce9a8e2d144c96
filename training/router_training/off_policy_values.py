"""Everything about a log that does not depend on the evaluated policy, prepared once."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from router_data.logged import Evidence, LoggedDecisions
from router_model.errors import DatasetError
from router_training.bandit_sample import BanditSample
from router_training.labels import labels_of
from router_training.missingness import Observation, observation_model
from router_training.off_policy_report import ADEQUATE, COST, UTILITY, Terms
from router_training.ope import dr_terms
from router_training.reward_model import RewardModel, cross_fitted, groups_of

Floats = NDArray[np.float64]
Bounds = tuple[float, float]


class OutcomeLog:
    """One outcome of a log: observed rewards, reward model, and weights for missing ones."""

    def __init__(
        self,
        logged: LoggedDecisions,
        *,
        reward: Floats,
        model: Floats,
        groups: NDArray[np.int64],
        observation: Observation,
        reward_range: Bounds | None,
    ) -> None:
        self.logged = logged
        self.reward = reward
        self.model = model
        self.groups = groups
        self.observation = observation
        self.reward_range = reward_range
        self._rows = np.arange(logged.n)

    def sample(self, target: Floats) -> BanditSample:
        """The bandit sample of a policy with these probabilities."""
        logged = self.logged
        is_shown = logged.distribution > 0
        ratio = np.divide(target, logged.distribution, out=np.zeros_like(target), where=is_shown)
        return self._sample(
            target=target[self._rows, logged.action],
            value_model=(target * self.model).sum(axis=1),
            supported=np.minimum((target * is_shown).sum(axis=1), 1.0),
            greatest_ratio=float(ratio.max()),
        )

    @cached_property
    def on_policy(self) -> BanditSample:
        """The sample of the log as it is: what was drawn was taken.

        Its DR terms q + o (r - q) are the rewards themselves where all were observed, and
        else the augmented estimate of their mean (Robins, Rotnitzky and Zhao 1994).
        """
        q = self.model[self._rows, self.logged.action]
        return self._sample(
            target=self.logged.propensity,
            value_model=q,
            supported=np.ones(self.logged.n),
            greatest_ratio=1.0,
        )

    def terms(self, target: Floats) -> Floats:
        """The DR terms of a policy with these probabilities; their mean is its value."""
        return dr_terms(self.sample(target))[0]

    @property
    def logged_terms(self) -> Floats:
        """The terms of the policy that wrote the log."""
        return dr_terms(self.on_policy)[0]

    def _sample(
        self, *, target: Floats, value_model: Floats, supported: Floats, greatest_ratio: float
    ) -> BanditSample:
        return BanditSample(
            reward=self.reward,
            propensity=self.logged.propensity,
            target=np.minimum(target, 1.0),
            reward_model=self.model[self._rows, self.logged.action],
            value_model=value_model,
            groups=self.groups,
            supported=supported,
            observation=self.observation.weight,
            reward_range=self.reward_range,
            max_weight=greatest_ratio * float(self.observation.weight.max()),
        )


def _with_expected_costs(logged: LoggedDecisions) -> LoggedDecisions:
    return replace(logged, cost_usd=logged.expected_cost[np.arange(logged.n), logged.action])


class LogValues:
    """The three outcomes of a log, ready to be weighted for any policy.

    A log in which no call is known to have cost anything is valued at what the router expected.
    """

    def __init__(
        self, logged: LoggedDecisions, terms: Terms, *, n_folds: int = 5, seed: int = 0
    ) -> None:
        self.has_costs = bool((logged.cost_usd > 0.0).any())
        logged = logged if self.has_costs else _with_expected_costs(logged)
        self.groups = groups_of(logged)
        self.labels = labels_of(logged, self.groups, seed=seed)
        self.logged = self.labels.logged
        self.reward_model = cross_fitted(self.logged, n_folds=n_folds, seed=seed)
        self.failure_cost_usd = np.where(
            logged.is_side_call, terms.side_call_failure_cost_usd, terms.failure_cost_usd
        )
        self._seed = seed
        self.outcomes: Mapping[str, OutcomeLog] = self._outcomes(self.reward_model)

    def _outcomes(self, model: RewardModel) -> Mapping[str, OutcomeLog]:
        logged, failure = self.logged, self.failure_cost_usd
        # A failed call may come without a bill: then the cost that was expected counts.
        expected = logged.expected_cost[np.arange(logged.n), logged.action]
        is_guessed = (logged.evidence == Evidence.FACT) & np.isnan(logged.cost_usd)
        cost = np.where(is_guessed, expected, logged.cost_usd)
        utility = -(cost + (1.0 - logged.adequate) * failure)
        return {
            ADEQUATE: self._outcome(ADEQUATE, logged.adequate, model.adequate, (0.0, 1.0)),
            COST: self._outcome(COST, logged.cost_usd, model.cost_usd, None),
            UTILITY: self._outcome(UTILITY, utility, model.utility_usd(failure), None),
        }

    def _outcome(
        self, name: str, reward: Floats, model: Floats, reward_range: Bounds | None
    ) -> OutcomeLog:
        is_known = np.isfinite(reward)
        if not is_known.any():
            raise DatasetError(f"{name}: none of {self.logged.n} was observed, expected some")
        return OutcomeLog(
            self.logged,
            reward=reward,
            model=np.where(self.logged.candidates, model, 0.0),
            groups=self.groups,
            observation=self._observation(name, is_known),
            reward_range=reward_range,
        )

    def _observation(self, name: str, is_known: NDArray[np.bool_]) -> Observation:
        """How likely what is known was to be known."""
        if name == ADEQUATE:
            return self.labels.observation
        if name == UTILITY:
            return self.labels.known_with(is_known, self.groups, seed=self._seed)
        logged = self.logged
        return observation_model(
            logged.features, logged.action, is_known, self.groups, seed=self._seed
        )
