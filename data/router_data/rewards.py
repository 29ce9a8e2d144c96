"""From what was observed to what is learned: adequacy and reward of an outcome.

The log keeps ingredients only; these rules run each time a dataset is built, so a new
definition of "adequate" needs no new data. The first rule that applies decides:

1. an explicit verdict (`adequate` true or false) is taken as it is;
2. a `reward` in [0, 1] is adequate when it reaches `min_reward`;
3. an `error` is inadequate: the caller got nothing useful;
4. `tool_call_valid` false is inadequate: the agent can't go on with it;
5. otherwise adequacy was not observed (None, or NaN in arrays). A valid tool call alone does
   not make an answer adequate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router_model.errors import DatasetError
from router_model.types import Outcome


@dataclass(frozen=True, slots=True)
class AdequacyRule:
    """When an outcome counts as adequate; see the module's docstring for the order.

    `min_reward` trades strictness for the number of positive examples. The two switches turn
    off rules 3 and 4 for callers whose errors say nothing about the model.
    """

    min_reward: float = 0.5
    error_is_inadequate: bool = True
    invalid_tool_call_is_inadequate: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_reward <= 1.0:
            raise DatasetError(f"min_reward: got {self.min_reward}, expected 0 to 1")


DEFAULT_RULE = AdequacyRule()


def adequacy(outcome: Outcome, rule: AdequacyRule = DEFAULT_RULE) -> bool | None:
    """True, False or None (not observed) for one outcome.

    >>> adequacy(Outcome(decision_id="d", model="m", reward=0.7))
    True
    >>> adequacy(Outcome(decision_id="d", model="m", adequate=False, reward=0.7))
    False
    >>> adequacy(Outcome(decision_id="d", model="m", error="timeout"))
    False
    >>> adequacy(Outcome(decision_id="d", model="m", tool_call_valid=True)) is None
    True
    """
    value = adequacies(
        np.array([_number(outcome.adequate)]),
        reward=np.array([_number(outcome.reward)]),
        is_error=np.array([outcome.error is not None]),
        tool_call_valid=np.array([_number(outcome.tool_call_valid)]),
        rule=rule,
    )[0]
    return None if np.isnan(value) else bool(value)


def adequacies(
    verdict: NDArray[np.float64],
    *,
    reward: NDArray[np.float64],
    is_error: NDArray[np.bool_],
    tool_call_valid: NDArray[np.float64],
    rule: AdequacyRule = DEFAULT_RULE,
) -> NDArray[np.float64]:
    """1.0, 0.0 or NaN (not observed) for each outcome; inputs use NaN for "not observed".

    >>> nan = float("nan")
    >>> adequacies(np.array([1.0, nan, nan]), reward=np.array([0.0, 0.4, nan]),
    ...            is_error=np.zeros(3, bool), tool_call_valid=np.full(3, nan))
    array([ 1.,  0., nan])
    """
    result = np.full(len(verdict), np.nan)
    if rule.invalid_tool_call_is_inadequate:
        result[tool_call_valid == 0.0] = 0.0
    if rule.error_is_inadequate:
        result[is_error] = 0.0
    has_reward = ~np.isnan(reward)
    result[has_reward] = reward[has_reward] >= rule.min_reward
    has_verdict = ~np.isnan(verdict)
    result[has_verdict] = verdict[has_verdict]
    return result


def rewards(adequate: NDArray[np.float64], *, reward: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logged reward, and where there is none the adequacy as 0 or 1; NaN where neither is.

    >>> rewards(np.array([1.0, 0.0]), reward=np.array([0.25, float("nan")]))
    array([0.25, 0.  ])
    """
    return np.where(np.isnan(reward), adequate, reward)


def _number(value: bool | float | None) -> float:
    return float("nan") if value is None else float(value)
