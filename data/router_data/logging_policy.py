"""Simulated logging policies: which model would have been called, with which probability.

Full outcome matrices exist for benchmarks only; a live log shows the outcome of the drawn
action. These policies turn the first into the second with known propensities, to test
off-policy estimators and to train on what a router would really see.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from router_model.errors import DatasetError

PolicyName = Literal["full", "uniform", "epsilon-greedy", "biased"]
_STEEPNESS = 6.0


@dataclass(frozen=True, slots=True)
class LoggingPolicy:
    """How actions are drawn.

    - `full`: nothing is drawn, every model's outcome is logged.
    - `uniform`: each model with the same probability.
    - `epsilon-greedy`: the model with the highest overall value gets 1 - epsilon, and epsilon
      is shared by all.
    - `biased`: probabilities grow with the model's value on the request's task, so that the
      choice depends on the request; every model keeps at least epsilon / n.

    `epsilon` trades known support for a realistic log.
    """

    name: PolicyName = "full"
    epsilon: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in get_args(PolicyName):
            allowed = ", ".join(get_args(PolicyName))
            raise DatasetError(f"policy: got {self.name!r}, expected {allowed}")
        if not 0.0 < self.epsilon <= 1.0:
            raise DatasetError(f"epsilon: got {self.epsilon}, expected above 0, at most 1")

    @property
    def label(self) -> str:
        """The name that is logged, with the parameters that matter."""
        if self.name in ("full", "uniform"):
            return self.name
        return f"{self.name}({self.epsilon:g})"

    def distribution(
        self, overall: NDArray[np.float64], on_task: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Probabilities of the models, given their mean rewards overall and on the task.

        >>> values = np.array([0.2, 0.8])
        >>> LoggingPolicy("epsilon-greedy", epsilon=0.2).distribution(values, values)
        array([0.1, 0.9])
        """
        n = len(overall)
        uniform = np.full(n, 1.0 / n)
        if self.name == "epsilon-greedy":
            best = np.zeros(n)
            best[int(np.argmax(overall))] = 1.0
            return self.epsilon * uniform + (1.0 - self.epsilon) * best
        if self.name == "biased":
            weight = np.exp(_STEEPNESS * (on_task - on_task.max()))
            biased: NDArray[np.float64] = weight / weight.sum()
            return self.epsilon * uniform + (1.0 - self.epsilon) * biased
        return uniform

    def generator(self, decision_id: str) -> np.random.Generator:
        """The generator that draws for one decision; the same for the same id and seed."""
        digest = hashlib.sha256(f"{self.seed}\0{decision_id}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))
