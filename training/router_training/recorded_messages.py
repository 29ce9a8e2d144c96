"""Reads `messages*.parquet` of recorded sessions, and makes the request of a call from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from router_data import store
from router_data.cells import as_number, as_text, cell
from router_model import formats
from router_model.errors import InvalidRequestError
from router_model.tokens import estimate_tokens
from router_model.types import Message, Request, WireFormat

_EMPTY: Final = b'{"messages": [{"role": "user", "content": ""}]}'
_TEXTS: Final = ("role", "content", "tool_calls", "tool_call_id")


class Spoken(Struct, frozen=True, kw_only=True):
    """One recorded message: its place, an OpenAI chat message, and when it was said (NaN)."""

    place: int
    message: dict[str, Any]
    time_s: float


class Conversation:
    """What was said in one session; `body` is the OpenAI chat body that opened it."""

    def __init__(self, body: bytes, spoken: Sequence[Spoken]) -> None:
        self.is_recorded = bool(spoken)
        self._by_place = {one.place: one for one in spoken}
        self._spoken = sorted(spoken, key=lambda one: one.place)
        self._answers = [s.place for s in self._spoken if s.message["role"] == "assistant"]
        document = msgspec.json.decode(body)
        self._tools = document.get("tools")
        self._opening = self._opening_of(document["messages"])
        # Calls of a session repeat most of their messages: kept once, they fit into memory.
        self._known: dict[Message, Message] = {}
        self._frame: Request | None = None

    def n_prefix(self, row: int, stated: float) -> int:
        """How many messages call `row` was given: as stated, else all before its answer."""
        if np.isfinite(stated):
            return int(stated)
        return self._answers[row] if row < len(self._answers) else len(self._opening)

    def request(self, n_prefix: int) -> Request:
        """The request with the first `n_prefix` messages; without a record, the opening."""
        said = [one.message for one in self._spoken if one.place < n_prefix]
        body: dict[str, Any] = {"messages": [*self._opening, *said]}
        if self._tools:
            body["tools"] = self._tools
        try:
            parsed = formats.parse(msgspec.json.encode(body), wire_format=WireFormat.OPENAI_CHAT)
        except InvalidRequestError:
            parsed = formats.parse(_EMPTY, wire_format=WireFormat.OPENAI_CHAT)
        return self._shared(parsed)

    def answer_tokens(self, n_prefix: int) -> float | None:
        """Estimated tokens of the answer to the first `n_prefix` messages, if it is recorded."""
        answer = self._by_place.get(n_prefix)
        if answer is None or answer.message["role"] != "assistant":
            return None
        calls = answer.message.get("tool_calls")
        arguments = msgspec.json.encode(calls).decode() if calls else ""
        return estimate_tokens(answer.message["content"] or "") + estimate_tokens(arguments)

    def time_of(self, n_prefix: int) -> float:
        """When the answer to the first `n_prefix` messages was there, in seconds; NaN unknown."""
        answer = self._by_place.get(n_prefix)
        return float("nan") if answer is None else answer.time_s

    def _opening_of(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What stands before the recorded messages: where they say nothing, the whole body."""
        if not self._spoken:
            return messages
        first = self._spoken[0].place
        if first > 0:
            return messages[:first]
        has_system = self._spoken[0].message["role"] == "system"
        return [] if has_system else [m for m in messages if m.get("role") == "system"]

    def _shared(self, request: Request) -> Request:
        messages = tuple(self._known.setdefault(m, m) for m in request.messages)
        frame = self._frame
        if frame is None or (frame.system, frame.tools) != (request.system, request.tools):
            frame = self._frame = request
        return replace(request, messages=messages, system=frame.system, tools=frame.tools)


class Conversations:
    """The recorded messages of a table, by session or, where it names none, by request."""

    def __init__(self, bodies: Mapping[str, bytes], spoken: Mapping[str, Sequence[Spoken]]) -> None:
        self._bodies = bodies
        self._spoken = spoken

    def of(self, session: str, request_id: str) -> Conversation:
        """The conversation of a session; only its opening where nothing else is recorded."""
        spoken = self._spoken.get(session) or self._spoken.get(request_id) or ()
        return Conversation(self._bodies.get(request_id, _EMPTY), spoken)


def read_conversations(steps: Path, bodies: Mapping[str, bytes]) -> Conversations:
    """The messages that belong to a table of steps: `messages_X.parquet` to `steps_X.parquet`.

    `bodies` are the opening requests by id.
    """
    names = (steps.name.replace("steps", "messages", 1), "messages.parquet")
    path = next((steps.with_name(n) for n in names if steps.with_name(n).is_file()), None)
    return Conversations(bodies, {} if path is None else _spoken(path))


def _spoken(path: Path) -> dict[str, list[Spoken]]:
    types = store.parquet_types(path)
    key = next((name for name in ("session_id", "request_id") if name in types), None)
    if key is None or not {"idx", "role", "content"} <= set(types):
        return {}
    columns = {"key": as_text(key, types[key]), "idx": as_number("idx", types["idx"])}
    columns |= {n: as_text(n, types[n]) if n in types else "null::varchar" for n in _TEXTS}
    columns["time_s"] = (
        "epoch(try_cast(timestamp as timestamp))" if "timestamp" in types else "null::double"
    )
    table = store.read_parquet(path, columns, suffix="order by 1, 2")
    table = {name: cells[np.isfinite(table["idx"])] for name, cells in table.items()}
    spoken: dict[str, list[Spoken]] = {}
    pending: list[str] = []
    for row, name in enumerate(table["key"].tolist()):
        said = spoken.setdefault(str(name), [])
        pending = pending if said else []
        cells = {column: cell(table[column][row]) for column in _TEXTS}
        message = _message(cells, pending, number=len(said))
        said.append(
            Spoken(
                place=int(table["idx"][row]), message=message, time_s=float(table["time_s"][row])
            )
        )
    return spoken


def _message(cells: Mapping[str, str | None], pending: list[str], *, number: int) -> dict[str, Any]:
    """A chat message; `pending` are the ids of tool calls that wait for their results."""
    message: dict[str, Any] = {"role": cells["role"] or "user", "content": cells["content"] or ""}
    if message["role"] == "tool":
        stated = cells["tool_call_id"]
        message["tool_call_id"] = stated or (pending.pop(0) if pending else f"call_{number}")
    elif cells["tool_calls"]:
        calls = _tool_calls(cells["tool_calls"], number)
        pending[:] = [call["id"] for call in calls]
        message["tool_calls"] = calls
    return message


def _tool_calls(text: str, number: int) -> list[dict[str, Any]]:
    """Tool calls as chat completions write them; bare ones (name, arguments) are wrapped."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return []
    calls = []
    for place, call in enumerate(found if isinstance(found, list) else []):
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        arguments = function.get("arguments", "")
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        calls.append(
            {
                "id": str(call.get("id") or f"call_{number}_{place}"),
                "type": "function",
                "function": {"name": str(function.get("name", "")), "arguments": arguments},
            }
        )
    return calls
