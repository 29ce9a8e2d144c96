"""Trajectories of simulated coding agents: which calls a session makes, one after the other.

Trajectories are exogenous: the log that an agent leaves is generated as if one reference model
had answered every call, whatever a policy chooses later. So the contexts are the same for every
policy, P(adequate | context, model) is known exactly, and the value of a policy is a plain mean
over contexts. What is lost is that a bad choice makes the following contexts worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from router_model.types import StepType

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOOLS: Final = ("read_file", "search", "edit_file", "run_tests", "bash")
MIN_CALLS: Final = 5
MAX_CALLS: Final = 40
MAX_PREFIX_TOKENS: Final = 100_000
_TOOL_SHARES = np.cumsum((0.32, 0.15, 0.25, 0.18, 0.10))
_COMPACT_ABOVE = 85_000
_SUMMARIZE_ABOVE = 5_000
_MIN_WORK, _MAX_WORK = 4, 30
# Of the reference model: a tool call fails on its account, or because the task is hard.
_TASK_ERROR = 0.10


class Call(NamedTuple):
    """One model call of a session, as it looks before it is answered.

    `input_tokens` is the whole prefix. `tool` is the place in `TOOLS` of the call whose result
    came last (-1: none), `is_error` says that it failed, `is_repeat` that it had been made with
    the same arguments just before; `n_errors` failed in a row. `chain_start` is the turn at which
    this conversation began (-1 for side calls with a prompt of their own): a compaction begins a
    new one. `gap_ms` is the time since the session's call before.
    """

    step: StepType
    input_tokens: int
    result_tokens: int
    tool: int
    is_error: bool
    is_repeat: bool
    n_errors: int
    chain_start: int
    gap_ms: int


@dataclass(frozen=True)
class Calls:
    """The calls of all sessions as arrays; `session` counts sessions, `turn` calls in one."""

    session: Ints
    turn: Ints
    step: NDArray[np.object_]
    input_tokens: Ints
    result_tokens: Ints
    tool: Ints
    is_error: NDArray[np.bool_]
    is_repeat: NDArray[np.bool_]
    n_errors: Ints
    chain_start: Ints
    gap_ms: Ints

    @property
    def is_side(self) -> NDArray[np.bool_]:
        """Which calls are titles, summaries and the like."""
        return np.array([step.is_side_call for step in self.step], dtype=bool)

    @property
    def previous(self) -> Ints:
        """The call before in the same conversation, whose prefix is this one's; -1 if none."""
        result = np.full(len(self.turn), -1, dtype=np.int64)
        last: dict[tuple[int, int], int] = {}
        chains = zip(self.session.tolist(), self.chain_start.tolist(), strict=True)
        for index, (session, start) in enumerate(chains):
            if start >= 0:
                result[index] = last.get((session, start), -1)
                last[session, start] = index
        return result

    @property
    def last_work(self) -> NDArray[np.bool_]:
        """Which calls are the last of their session that carry the task itself."""
        result = np.zeros(len(self.turn), dtype=bool)
        work = np.flatnonzero(~self.is_side)
        is_last = np.append(np.diff(self.session[work]) > 0, True)
        result[work[is_last]] = True
        return result


def draw_calls(
    difficulty: Floats, *, reference_error: float, rng: np.random.Generator
) -> tuple[Calls, Ints]:
    """The calls of one session for each difficulty, and each session's first index.

    `reference_error` is the reference model's share of invalid tool calls.
    """
    sessions = [_Session(d, reference_error, rng).calls() for d in difficulty.tolist()]
    lengths = np.array([len(calls) for calls in sessions], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    columns = list(zip(*(call for calls in sessions for call in calls), strict=True))
    arrays = [_column(name, column) for name, column in zip(Call._fields, columns, strict=True)]
    session = np.repeat(np.arange(len(sessions)), lengths)
    turn = np.arange(len(session)) - starts[session]
    names = [field.name for field in fields(Calls)]
    return Calls(**dict(zip(names, (session, turn, *arrays), strict=True))), starts


def _column(name: str, values: Sequence[object]) -> NDArray[np.generic]:
    if name == "step":
        steps = np.empty(len(values), dtype=object)
        steps[:] = values
        return steps
    kind = bool if name.startswith("is_") else np.int64
    return np.array(values, dtype=kind)


class _Session:
    """One session while it is drawn."""

    def __init__(self, difficulty: float, reference_error: float, rng: np.random.Generator) -> None:
        self.difficulty = difficulty
        self.rng = rng
        self.p_error = reference_error + _TASK_ERROR / (1.0 + float(np.exp(-difficulty)))
        self.base = int(np.clip(rng.lognormal(8.9, 0.3), 5_000, 14_000))
        self.prefix = self.base
        self.chain_start = 0
        self.n_errors = 0
        self.n_stuck = 0
        self.tool = -1
        self._calls: list[Call] = []

    def calls(self) -> list[Call]:
        """A title perhaps, the task, the loop of tools, a commit message perhaps."""
        if self.rng.random() < 0.8:
            self._side(StepType.TITLE, tokens=int(self.rng.integers(300, 900)))
        self.chain_start = len(self._calls)
        self._work(StepType.MAIN)
        n_work = round(self.rng.gamma(3.0, 4.0) * float(np.exp(0.25 * self.difficulty)))
        for _ in range(min(max(n_work, _MIN_WORK), _MAX_WORK)):
            if len(self._calls) >= MAX_CALLS - 3:
                break
            self._step()
        if self.rng.random() < 0.5:
            self._side(StepType.COMMIT_MESSAGE, tokens=int(self.rng.integers(500, 4_000)))
        return self._calls

    def _step(self) -> None:
        """One more call of the loop; the user, a summary or a compaction may come in between."""
        if self.prefix > _COMPACT_ABOVE or (len(self._calls) > 14 and self.rng.random() < 0.02):
            self._compact()
        elif self.n_stuck == 0 and self.tool >= 0 and self.rng.random() < 0.08:
            self.prefix += int(self.rng.integers(100, 800))
            self._work(StepType.MAIN)
        else:
            self._use_tool()

    def _use_tool(self) -> None:
        repeated = self.n_stuck > 0
        if repeated:
            self.n_stuck -= 1
        else:
            self.tool = int(np.searchsorted(_TOOL_SHARES, self.rng.random() * _TOOL_SHARES[-1]))
        is_error = repeated or bool(self.rng.random() < self.p_error)
        self.n_errors = self.n_errors + 1 if is_error else 0
        n_tokens = 120 if is_error else int(np.clip(self.rng.lognormal(7.5, 1.0), 60, 16_000))
        if n_tokens > _SUMMARIZE_ABOVE and self.rng.random() < 0.5:
            self._side(StepType.SUMMARY, tokens=n_tokens + 200)
            n_tokens = 700
        self.prefix = min(self.prefix + n_tokens + 250, MAX_PREFIX_TOKENS)
        self._work(StepType.TOOL_RESULT, result=n_tokens, is_error=is_error, is_repeat=repeated)
        p_stuck = 0.12 + 0.08 * max(self.difficulty, 0.0)
        if is_error and not repeated and self.rng.random() < p_stuck:
            self.n_stuck = int(self.rng.integers(2, 6))

    def _compact(self) -> None:
        self._work(StepType.COMPACTION)
        self.chain_start = len(self._calls)
        self.prefix = self.base + 2_000
        self.n_errors = self.n_stuck = 0
        self.tool = -1
        self._work(StepType.MAIN)

    def _work(
        self,
        step: StepType,
        *,
        result: int = 0,
        is_error: bool = False,
        is_repeat: bool = False,
    ) -> None:
        tool = self.tool if step is StepType.TOOL_RESULT else -1
        self._add(step, self.prefix, result, tool, is_error, is_repeat, self.chain_start)

    def _side(self, step: StepType, *, tokens: int) -> None:
        self._add(step, tokens, 0, -1, False, False, -1)

    def _add(
        self,
        step: StepType,
        tokens: int,
        result: int,
        tool: int,
        is_error: bool,
        is_repeat: bool,
        chain_start: int,
    ) -> None:
        call = Call(
            step, tokens, result, tool, is_error, is_repeat, self.n_errors, chain_start, self._gap()
        )
        self._calls.append(call)

    def _gap(self) -> int:
        """Milliseconds since the call before; one in sixteen is a break that cools caches."""
        if not self._calls:
            return 0
        seconds = self.rng.lognormal(2.6, 0.6)
        if self.rng.random() < 0.06:
            seconds += self.rng.uniform(200.0, 5_000.0)
        return int(1_000 * seconds)
