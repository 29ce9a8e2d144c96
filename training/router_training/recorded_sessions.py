"""Reads recorded sessions: tables `steps*.parquet` and `messages*.parquet` beside the requests.

A step is one call of a session. Columns come from many sources, are found by a list of known
names and may be missing; what had to be estimated or assumed is said in `Recording.notes`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from router_data import store
from router_data.cells import as_number, as_text, cell
from router_data.store import Columns
from router_data.tables import Tables, read_tables
from router_model import features
from router_model.errors import DatasetError
from router_model.features import Context
from router_model.types import Message, Part, Request, StepType
from router_training.recorded_messages import Conversations, read_conversations

Progress = Callable[[str, int, int], None]

# Where a table has no times: about the median gap between an agent's calls.
DEFAULT_GAP_S: Final = 5.0
# Where nothing is known of an answer: what a step of a coding agent writes, about.
DEFAULT_OUTPUT_TOKENS: Final = 200
# The usual rule for text in English and code; only where the messages are not recorded.
CHARS_PER_TOKEN: Final = 4.0

_TEXTS: Final = {
    "session": ("session_id", "session"),
    "request": ("request_id",),
    "model": ("model",),
}
# The order of each tuple is the order of preference.
_NUMBERS: Final = {
    "step": ("step", "turn", "created_unix"),
    "n_prefix": ("n_prefix_messages",),
    "prefix_chars": ("prefix_chars",),
    "input_tokens": ("input_tokens", "prompt_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens"),
    "gap_s": ("gap_since_prev_call_s", "gap_s"),
    "message_gap_s": ("gap_since_prev_message_s",),
    "time_s": ("created_unix",),
    "reply_chars": ("reply_chars",),
    "is_scripted": ("is_scripted_greeting", "is_scripted"),
    "has_state": ("has_provider_state",),
    "is_signed": ("is_signed", "has_signed_thinking"),
}


class RecordedCall(Struct, frozen=True, kw_only=True):
    """One call of a session as it was made.

    `input_tokens` are those of the whole prompt, `gap_s` the seconds since the call before (0 for
    the first). `is_rewritten`: the history is shorter than before, so no cached prefix fits.
    """

    request: Request
    context: Context
    input_tokens: int
    output_tokens: int
    gap_s: float
    is_rewritten: bool = False

    @property
    def step_type(self) -> StepType:
        """What the call is for."""
        return self.context.step_type


class RecordedSession(Struct, frozen=True, kw_only=True):
    """Calls in order; `request_id` is the task and `model` what answered when it was recorded."""

    id: str
    request_id: str
    model: str
    calls: tuple[RecordedCall, ...]


class Recording(Struct, frozen=True, kw_only=True):
    """The sessions of a folder, its outcomes by task and model, and what had to be assumed.

    `successes` maps (request_id, model) to the sum of scores and how many there were.
    """

    name: str
    sessions: tuple[RecordedSession, ...]
    n_sessions_in_data: int
    successes: Mapping[tuple[str, str], tuple[float, int]]
    notes: tuple[str, ...]

    @property
    def n_calls(self) -> int:
        """Calls of all sessions."""
        return sum(len(session.calls) for session in self.sessions)


def read_recording(
    folder: Path,
    *,
    n_sessions: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Recording:
    """The recorded sessions of a folder, `n_sessions` of them at random if there are more.

    Raises DatasetError where there is no table of steps, or no usable session in it.
    """
    tables = read_tables(folder)
    bodies = {request.request_id: request.body for request in tables.requests}
    found: list[_Steps] = []
    for path in sorted(folder.glob("steps*.parquet")):
        found += _sessions_of(path)
    if not found:
        raise DatasetError(f"{folder}: no session in steps*.parquet")
    chosen = _sampled(found, n_sessions, seed=seed)
    talks = {path: read_conversations(path, bodies) for path in {steps.path for steps in chosen}}
    assumed: Counter[str] = Counter()
    sessions: list[RecordedSession] = []
    for number, steps in enumerate(chosen):
        if progress is not None:
            progress("sessions", number, len(chosen))
        sessions += _session(steps, talks[steps.path], assumed)
    if not sessions:
        raise DatasetError(f"{folder}: no usable call in steps*.parquet: {dict(assumed)}")
    n_calls = sum(len(session.calls) for session in sessions)
    return Recording(
        name=folder.resolve().name,
        sessions=tuple(sessions),
        n_sessions_in_data=len(found),
        successes=_successes(tables),
        notes=tuple(f"{what}: {n} of {n_calls} calls" for what, n in sorted(assumed.items())),
    )


class _Steps(Struct, frozen=True, kw_only=True):
    """The rows of one session in a table of steps, in order."""

    path: Path
    session: str
    request_id: str
    model: str
    columns: Columns


def _sessions_of(path: Path) -> Iterator[_Steps]:
    types = store.parquet_types(path)
    if not any(name in types for name in _TEXTS["session"] + _TEXTS["request"]):
        raise DatasetError(f"{path}: no column session_id or request_id among {', '.join(types)}")
    table = store.read_parquet(path, _expressions(types))
    names = [cell(name) or "" for name in table["session"]]
    requests = [cell(name) or "" for name in table["request"]]
    models = [cell(name) or "" for name in table["model"]]
    rows: dict[str, list[int]] = {}
    for row, (name, request, model) in enumerate(zip(names, requests, models, strict=True)):
        rows.setdefault(name or f"{request}:{model}", []).append(row)
    for name in sorted(rows):
        order = np.array(rows[name], dtype=np.intp)
        order = order[np.argsort(table["step"][order], kind="stable")]
        first = int(order[0])
        yield _Steps(
            path=path,
            session=name,
            request_id=requests[first],
            model=models[first],
            columns={key: table[key][order] for key in _NUMBERS},
        )


def _expressions(types: Mapping[str, str]) -> dict[str, str]:
    chosen = {}
    for key, names in _TEXTS.items():
        present = [as_text(name, types[name]) for name in names if name in types]
        chosen[key] = present[0] if present else "null::varchar"
    for key, names in _NUMBERS.items():
        present = [as_number(name, types[name]) for name in names if name in types]
        chosen[key] = f"coalesce({', '.join(present)}, null)" if present else "null::double"
    return chosen


def _sampled(found: list[_Steps], n: int | None, *, seed: int) -> list[_Steps]:
    if n is None or n >= len(found):
        return found
    rows = np.random.default_rng(seed).choice(len(found), size=n, replace=False)
    return [found[int(row)] for row in np.sort(rows)]


def _session(
    steps: _Steps, conversations: Conversations, assumed: Counter[str]
) -> list[RecordedSession]:
    """The session of these steps; none where no call of it can be used."""
    calls = tuple(_calls(steps, conversations, assumed))
    if not calls:
        return []
    session = RecordedSession(
        id=steps.session, request_id=steps.request_id, model=steps.model, calls=calls
    )
    return [session]


def _calls(
    steps: _Steps, conversations: Conversations, assumed: Counter[str]
) -> Iterator[RecordedCall]:
    talk = conversations.of(steps.session, steps.request_id)
    columns = {key: values.astype(np.float64).tolist() for key, values in steps.columns.items()}
    last: _Moment | None = None
    for row in range(len(columns["step"])):
        cells = {key: values[row] for key, values in columns.items()}
        n_prefix = talk.n_prefix(row, cells["n_prefix"])
        if cells["is_scripted"] == 1.0 or n_prefix == 0:
            assumed["left out, scripted or without a prompt"] += 1
            continue
        request = _flagged(talk.request(n_prefix), cells)
        context = features.extract(request)
        time_s = _first_finite(talk.time_of(n_prefix), cells["time_s"])
        yield RecordedCall(
            request=request,
            context=context,
            input_tokens=_input_tokens(cells, context, assumed, is_recorded=talk.is_recorded),
            output_tokens=_output_tokens(cells, talk.answer_tokens(n_prefix), assumed),
            gap_s=0.0 if last is None else _gap_s(cells, time_s - last.time_s, assumed),
            is_rewritten=last is not None and n_prefix < last.n_prefix,
        )
        last = _Moment(n_prefix=n_prefix, time_s=time_s)


class _Moment(Struct, frozen=True, kw_only=True):
    n_prefix: int
    time_s: float


def _flagged(request: Request, cells: Mapping[str, float]) -> Request:
    """The request with what the table says of provider state and signatures."""
    if cells["has_state"] == 1.0:
        request = replace(request, has_provider_state=True)
    if cells["is_signed"] == 1.0:
        thought = Message(role="assistant", parts=(Part(kind="thinking", is_signed=True),))
        request = replace(request, messages=(*request.messages[:-1], thought, request.messages[-1]))
    return request


def _input_tokens(
    cells: Mapping[str, float], context: Context, assumed: Counter[str], *, is_recorded: bool
) -> int:
    if 0 < cells["input_tokens"] < np.inf:
        return round(cells["input_tokens"])
    if is_recorded or not np.isfinite(cells["prefix_chars"]):
        assumed["input tokens estimated from the text"] += 1
        return context.input_tokens
    assumed["input tokens estimated from the number of characters"] += 1
    return max(1, round(cells["prefix_chars"] / CHARS_PER_TOKEN))


def _output_tokens(cells: Mapping[str, float], answer: float | None, assumed: Counter[str]) -> int:
    if 0 <= cells["output_tokens"] < np.inf:
        return round(cells["output_tokens"])
    if answer is not None:
        assumed["output tokens estimated from the text, hidden thinking not seen"] += 1
        return round(answer)
    if 0 <= cells["reply_chars"] < np.inf:
        assumed["output tokens estimated from the number of characters"] += 1
        return round(cells["reply_chars"] / CHARS_PER_TOKEN)
    assumed[f"output tokens taken to be {DEFAULT_OUTPUT_TOKENS}"] += 1
    return DEFAULT_OUTPUT_TOKENS


def _gap_s(cells: Mapping[str, float], between: float, assumed: Counter[str]) -> float:
    """Seconds since the call before: as stated, else between the two answers."""
    gap = _first_finite(cells["gap_s"], between, cells["message_gap_s"])
    if np.isfinite(gap):
        return max(0.0, gap)
    assumed[f"time since the call before taken to be {DEFAULT_GAP_S:g} s"] += 1
    return DEFAULT_GAP_S


def _first_finite(*values: float) -> float:
    return next((value for value in values if np.isfinite(value)), float("nan"))


def _successes(tables: Tables) -> dict[tuple[str, str], tuple[float, int]]:
    outcomes = tables.outcomes
    sums: dict[tuple[str, str], tuple[float, int]] = {}
    for place, model, reward in zip(
        outcomes.request_index.tolist(),
        outcomes.model.tolist(),
        outcomes.reward.tolist(),
        strict=True,
    ):
        if np.isfinite(reward):
            key = (tables.requests[place].request_id, str(model))
            total, n = sums.get(key, (0.0, 0))
            sums[key] = (total + reward, n + 1)
    return sums
