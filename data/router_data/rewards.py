"""From what was observed to what is learned: adequacy and reward of an outcome.

The log keeps ingredients only; these rules run each time a dataset is built, so a new
definition of "adequate" needs no new data. The first rule that applies decides:

1. an explicit verdict (`adequate` true or false) is taken as it is;
2. a `reward` in [0, 1] is adequate when it reaches `min_reward`;
3. an `error` is inadequate: the caller got nothing useful;
4. `tool_call_valid` false is inadequate: the agent can't go on with it;
5. otherwise the outcome's own weak signals decide: `schema_error`, `empty_answer` (neither text
   nor tool calls), `refused`, `truncated` (ended for want of tokens), `retried` (the same step was
   asked again), `user_corrected`, `user_aborted` and `escalated` (the gateway gave the step to a
   stronger model) speak against it when true, `test_passed` for it when true and against it
   when false. Of several the one with the largest weight wins, and against wins a tie;
6. otherwise the session's end is credited or blamed (see `credit`), if `session_succeeded` was
   reported on any outcome of the session;
7. otherwise adequacy was not observed (None, or NaN in arrays). The absence of a signal is never
   evidence of good, nor is a signal that is false (but for the last two), nor a valid tool call.

A label of rules 1 to 4 has weight 1; one of rules 5 and 6 has its signal's weight, which says how
sure that evidence is and multiplies the label's say in training. A number counts as true from
one half on; a text says nothing.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.answers import WIRE_SIGNALS
from router_model.errors import DatasetError
from router_model.types import Outcome

Floats = NDArray[np.float64]

SESSION_SIGNAL = "session_succeeded"
# Signals of a step, in no order of importance.
NEGATIVE_SIGNALS = (*WIRE_SIGNALS, "retried", "user_corrected", "user_aborted", "escalated")
STEP_SIGNALS = (*NEGATIVE_SIGNALS, "test_passed")
SIGNALS = (*STEP_SIGNALS, SESSION_SIGNAL)


class AdequacyRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an outcome counts as adequate, and how sure that is; see the module's docstring.

    A signal's weight in (0, 1] is the confidence of the label that it gives; 0 switches the
    signal off.
    """

    min_reward: float = 0.5
    """Least reward that counts as adequate; higher asks more of cheap models."""
    error_is_inadequate: bool = True
    """Errors are inadequate; false for callers whose errors say nothing about the model."""
    invalid_tool_call_is_inadequate: bool = True
    """Invalid tool calls are inadequate; false where the caller repairs them."""
    schema_error: float = 0.95
    """Weight of an answer that breaks its schema: mechanical, nearly certain."""
    empty_answer: float = 0.8
    """Weight of an answer without anything; some models so end a task that is done."""
    refused: float = 0.7
    """Weight of a refusal; some requests every model should refuse."""
    truncated: float = 0.6
    """Weight of an answer cut off by a limit, which the caller may have set too low."""
    retried: float = 0.6
    """Weight of a step that was asked again; impatience and flaky networks also retry."""
    user_corrected: float = 0.8
    """Weight of a user's correction; some corrections only change the user's mind."""
    user_aborted: float = 0.4
    """Weight of an abort; users also stop what is right but slow."""
    escalated: float = 0.7
    """Weight of a step that went on to a stronger model."""
    test_passed: float = 0.9
    """Weight of a test that passed or failed; weak tests pass what is wrong."""
    session_succeeded: float = 0.5
    """Weight of the session's end for its last step."""
    session_discount: float = 0.8
    """Factor of that weight for each step further from the end; 1 credits all steps alike."""
    session_blame_steps: int = 3
    """How many last steps a failed session blames; the ones before may have been right."""
    min_weight: float = 0.1
    """Labels less sure than this count as not observed; higher keeps fewer and surer ones."""
    outcome_window_s: float = 0.0
    """Age from which a decision without verdict or reward is judged by other evidence; longer
    waits for late signals, 0 never waits."""

    def __post_init__(self) -> None:
        shares = ("min_reward", *SIGNALS, "session_discount", "min_weight")
        for name in shares:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise DatasetError(f"{name}: got {getattr(self, name)}, expected 0 to 1")
        for name in ("session_blame_steps", "outcome_window_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise DatasetError(f"{name}: got {getattr(self, name)}, expected 0 or more")


DEFAULT_RULE = AdequacyRule()


class Judged(NamedTuple):
    """Adequacy (1, 0, NaN for not observed) and the weight of that label (NaN where there is none).

    `is_explicit` marks a verdict or a reward, `is_fact` an error or an invalid tool call without
    one. `signal` is what weak signals say whether or not they decide: their weight, negative
    where they speak against, 0 where none speaks.
    """

    adequate: Floats
    weight: Floats
    is_explicit: NDArray[np.bool_]
    is_fact: NDArray[np.bool_]
    signal: Floats

    def select(self, mask: NDArray[np.bool_]) -> "Judged":
        """The labels where `mask` is true."""
        return Judged(
            self.adequate[mask],
            self.weight[mask],
            self.is_explicit[mask],
            self.is_fact[mask],
            self.signal[mask],
        )


def adequacy(outcome: Outcome, rule: AdequacyRule = DEFAULT_RULE) -> bool | None:
    """True, False or None (not observed) for one outcome by itself, without its session.

    >>> adequacy(Outcome(decision_id="d", model="m", reward=0.7))
    True
    >>> adequacy(Outcome(decision_id="d", model="m", adequate=False, reward=0.7))
    False
    >>> adequacy(Outcome(decision_id="d", model="m", error="timeout"))
    False
    >>> adequacy(Outcome(decision_id="d", model="m", tool_call_valid=True)) is None
    True
    >>> adequacy(Outcome(decision_id="d", model="m", signals={"test_passed": True, "retried": 1}))
    True
    """
    value = judge(
        np.array([_number(outcome.adequate)]),
        reward=np.array([_number(outcome.reward)]),
        is_error=np.array([outcome.error is not None]),
        tool_call_valid=np.array([_number(outcome.tool_call_valid)]),
        signals={name: np.array([_signal(outcome, name)]) for name in STEP_SIGNALS},
        rule=rule,
    ).adequate[0]
    return None if np.isnan(value) else bool(value)


def judge(
    verdict: Floats,
    *,
    reward: Floats,
    is_error: NDArray[np.bool_],
    tool_call_valid: Floats,
    signals: Mapping[str, Floats],
    rule: AdequacyRule = DEFAULT_RULE,
) -> Judged:
    """Rules 1 to 5 on each outcome; NaN means "not observed" in every input.

    >>> nan = float("nan")
    >>> judge(np.array([1.0, nan, nan]), reward=np.array([0.0, 0.4, nan]),
    ...       is_error=np.zeros(3, bool), tool_call_valid=np.full(3, nan),
    ...       signals={"retried": np.array([1.0, nan, 1.0])}).weight
    array([1. , 1. , 0.6])
    """
    adequate, weight = _signalled(signals, rule, n=len(verdict))
    signal = np.nan_to_num(np.where(adequate == 1.0, weight, -weight))
    facts = [
        (rule.invalid_tool_call_is_inadequate & (tool_call_valid == 0.0), np.zeros_like(verdict)),
        (rule.error_is_inadequate & is_error, np.zeros_like(verdict)),
        (~np.isnan(reward), (reward >= rule.min_reward).astype(np.float64)),
        (~np.isnan(verdict), verdict),
    ]
    for applies, value in facts:  # the last one that applies decides
        adequate = np.where(applies, value, adequate)
        weight = np.where(applies, 1.0, weight)
    is_explicit = ~np.isnan(reward) | ~np.isnan(verdict)
    is_fact = (facts[0][0] | facts[1][0]) & ~is_explicit
    return Judged(adequate, weight, is_explicit, is_fact, signal)


def rewards(adequate: Floats, *, reward: Floats) -> Floats:
    """The logged reward, and where there is none the adequacy as 0 or 1; NaN where neither is.

    >>> rewards(np.array([1.0, 0.0]), reward=np.array([0.25, float("nan")]))
    array([0.25, 0.  ])
    """
    return np.where(np.isnan(reward), adequate, reward)


def _signalled(
    signals: Mapping[str, Floats], rule: AdequacyRule, *, n: int
) -> tuple[Floats, Floats]:
    """Label and weight by weak signals alone, NaN where none speaks."""
    against, in_favour = np.zeros(n), np.zeros(n)
    for name in STEP_SIGNALS:
        if name not in signals:
            continue
        is_true = signals[name] >= 0.5
        is_false = signals[name] < 0.5
        speaks_against = is_true if name in NEGATIVE_SIGNALS else is_false
        weight = getattr(rule, name)
        against = np.maximum(against, weight * speaks_against)
        if name not in NEGATIVE_SIGNALS:
            in_favour = np.maximum(in_favour, weight * is_true)
    strongest = np.maximum(against, in_favour)
    speaks = (strongest > 0) & (strongest >= rule.min_weight)
    adequate = np.where(speaks, in_favour > against, np.nan)
    return adequate, np.where(speaks, strongest, np.nan)


def _number(value: bool | float | None) -> float:
    return float("nan") if value is None else float(value)


def _signal(outcome: Outcome, name: str) -> float:
    value = outcome.signals.get(name)
    return float("nan") if isinstance(value, str) else _number(value)
