"""What becomes of simulated calls: outcomes of every model, and which part of them is seen.

Everything here is truth that a log hides: what each model would have done (potential outcomes),
with which probability an outcome and a verdict come back, and which reports are falsified.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from router_data.abilities import Abilities, sigmoid
from router_data.agent_sessions import TOOLS, Calls
from router_model.types import ModelCard, StepType

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Reports = Literal["partial", "verdicts", "all"]

_MAX_DELAY_MS = 3 * 86_400_000
_TESTS = TOOLS.index("run_tests")


class SignalRate(NamedTuple):
    """How often a signal is true after an adequate and after an inadequate answer."""

    adequate: float
    inadequate: float


SIGNAL_RATES: Final = {
    "retried": SignalRate(0.04, 0.55),
    "user_corrected": SignalRate(0.03, 0.40),
    "user_aborted": SignalRate(0.02, 0.30),
    "test_passed": SignalRate(0.90, 0.25),
    "escalated": SignalRate(0.01, 0.15),
}
# A session has succeeded when its last work call and most of the others were adequate.
MIN_SHARE_ADEQUATE: Final = 0.7


@dataclass(frozen=True)
class AgentTraffic:
    """What a world of agent sessions has beside requests, models and outcomes.

    Row i is call i, columns of (n, m) arrays are the models' cards, in the order of
    `World.models`. `cached_tokens`: of the prefix, if the session had stayed with the model from
    its beginning. `signals`: NaN where a signal does not apply to a call; they tell of the true
    outcome. `p_outcome` is the probability that any outcome is reported, `p_verdict` that a
    reported one has an explicit verdict; both depend on what the context shows (`hint` and the
    step), not on the outcome. But a signal is evidence only where it is true, so labels made from
    signals are missing by outcome: a log with signals shows more failures than there are.
    `has_outcome` and `has_verdict` are the draws. Verdicts arrive
    `delay_ms` after the answer. Where `is_falsified`, the reported verdict and signals are those
    of the opposite outcome.
    """

    calls: Calls
    cards: tuple[ModelCard, ...]
    hint: NDArray[np.int64]
    cached_tokens: Floats
    tool_call_valid: Floats
    signals: Mapping[str, Floats]
    p_outcome: Floats
    p_verdict: Floats
    has_outcome: Flags
    has_verdict: Flags
    delay_ms: NDArray[np.int64]
    is_falsified: Flags

    @property
    def tool_error(self) -> Flags:
        """Which calls follow a tool call that failed."""
        return self.calls.is_error


def draw_valid_tool_calls(
    adequate: Floats, *, calls: Calls, abilities: Abilities, rng: np.random.Generator
) -> Floats:
    """1 or 0 by (call, model), NaN for side calls; an adequate answer is always valid.

    P(invalid | inadequate) is set so that a model of average adequacy reaches its reliability.
    """
    p_inadequate = 1.0 - adequate[~calls.is_side].mean(axis=0)
    p_invalid = np.clip((1.0 - abilities.valid_tool_call) / np.maximum(p_inadequate, 1e-9), 0, 0.9)
    is_invalid = (adequate == 0.0) & (rng.random(adequate.shape) < p_invalid)
    valid: Floats = 1.0 - is_invalid.astype(np.float64)
    valid[calls.is_side] = np.nan
    return valid


def draw_signals(
    adequate: Floats, *, valid: Floats, calls: Calls, rng: np.random.Generator
) -> dict[str, Floats]:
    """Signals by name and (call, model); NaN where a call can't have the signal."""
    is_work = ~calls.is_side
    applies = {
        "retried": is_work,
        "user_corrected": is_work & _followed_by(calls, is_user=True),
        "user_aborted": calls.last_work,
        "test_passed": is_work & _followed_by(calls, is_user=False),
        "escalated": is_work,
    }
    signals = {"schema_error": 1.0 - valid}
    for name, rate in SIGNAL_RATES.items():
        p = np.where(adequate == 1.0, rate.adequate, rate.inadequate)
        drawn = (rng.random(adequate.shape) < p).astype(np.float64)
        drawn[~applies[name]] = np.nan
        signals[name] = drawn
    return signals


def _followed_by(calls: Calls, *, is_user: bool) -> Flags:
    """Calls after which the user speaks, or after which tests are run."""
    following: Flags = np.zeros(len(calls.turn), dtype=bool)
    same = calls.session[1:] == calls.session[:-1]
    next_is_main = np.array([step is StepType.MAIN for step in calls.step[1:]], dtype=bool)
    following[:-1] = same & (next_is_main if is_user else calls.tool[1:] == _TESTS)
    return following


class Reporting(NamedTuple):
    """Probabilities and draws of what comes back, by call."""

    p_outcome: Floats
    p_verdict: Floats
    has_outcome: Flags
    has_verdict: Flags
    delay_ms: NDArray[np.int64]


def draw_reporting(
    calls: Calls, hint: NDArray[np.int64], *, reports: Reports, rng: np.random.Generator
) -> Reporting:
    """Which outcomes come back, when, and with which probability.

    log-odds of an outcome = 1.6 - 1.0 (side call) - 0.35 hint, of a verdict in it
    = -0.4 + 0.9 (the user's own turn) - 0.6 (side call) - 0.45 hint: work that looks hard is
    judged less often, so what was observed looks better than what was done.
    """
    is_side = calls.is_side.astype(np.float64)
    is_main = np.array([step is StepType.MAIN for step in calls.step], dtype=np.float64)
    n = len(hint)
    if reports == "all":
        p_outcome, p_verdict = np.ones(n), np.ones(n)
    else:
        p_outcome = sigmoid(1.6 - 1.0 * is_side - 0.35 * hint)
        p_verdict = sigmoid(-0.4 + 0.9 * is_main - 0.6 * is_side - 0.45 * hint)
    delay = rng.lognormal(np.log(180_000.0), 1.5, n)
    return Reporting(
        p_outcome=p_outcome,
        p_verdict=p_verdict,
        has_outcome=rng.random(n) < p_outcome,
        has_verdict=rng.random(n) < p_verdict,
        delay_ms=np.minimum(delay, _MAX_DELAY_MS).astype(np.int64),
    )


def session_success(traffic: AgentTraffic, adequate: Floats, chosen: NDArray[np.int64]) -> Floats:
    """1 or 0 for each session when `chosen` models (columns) answer its calls.

    The last work call has to be adequate, and at least `MIN_SHARE_ADEQUATE` of all work calls.
    """
    calls = traffic.calls
    taken = adequate[np.arange(len(chosen)), chosen]
    work = ~calls.is_side
    total = np.bincount(calls.session[work], weights=taken[work])
    share = total / np.bincount(calls.session[work])
    result: Floats = ((share >= MIN_SHARE_ADEQUATE) & (taken[calls.last_work] == 1.0)).astype(float)
    return result
