"""Keeps what is known of the calls under way: their decision, and each attempt to carry them out.

LiteLLM tells of one call in many hooks, tries it several times, and calls itself where a client's
dialect is not the provider's. Only hooks of the client's own kind of call count.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from router_model.types import Caller, WireFormat
from router_serving.gateways.first_call import FirstCall

DECISION: Final = "router_decision_id"
FALLBACK: Final = "router_fallback"
"""What is noted in LiteLLM's metadata, where its other loggers find it too."""
MAX_CALLS: Final = 10_000
MAX_BYTES: Final = 256 * 2**20
"""Bodies that are kept until their answers were read; beyond it those of the oldest calls go."""


@dataclass
class Attempt:
    """One try to get an answer, of one of the proxy's models; seconds of the wall clock."""

    group: str
    began_s: float = field(default_factory=time.time)
    is_reported: bool = False


@dataclass
class Call:
    """One client's call that the router was asked for.

    `models` are the proxy's names by the router's; `tenant` is None for that of the gateway's key.
    """

    decision_id: str
    kind: str
    wire_format: WireFormat
    body: bytes
    group: str
    models: Mapping[str, str]
    headers: Mapping[str, str]
    caller: Caller
    tenant: str | None
    attempts: list[Attempt] = field(default_factory=list)
    first_call: FirstCall | None = None

    def begin(self, group: str | None) -> None:
        """Take that an attempt begins."""
        self.attempts.append(Attempt(group or self.group))
        self.first_call = None

    def current(self) -> tuple[int, Attempt]:
        """The number of the attempt under way, and the attempt."""
        if not self.attempts:
            self.attempts.append(Attempt(self.group))
        return len(self.attempts) - 1, self.attempts[-1]

    def model_of(self, group: str) -> str:
        """The router's name of a model of the proxy."""
        return next((model for model, name in self.models.items() if name == group), group)


class Calls:
    """The calls under way, by the id of their decision; the oldest give way to new ones."""

    def __init__(self, *, max_calls: int = MAX_CALLS, max_bytes: int = MAX_BYTES) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._max_calls, self._max_bytes = max_calls, max_bytes
        self._n_bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """Keep a call until it is over."""
        self._calls[call.decision_id] = call
        self._n_bytes += len(call.body)
        while len(self._calls) > self._max_calls or self._n_bytes > self._max_bytes:
            self.end(next(iter(self._calls)))

    def end(self, decision_id: str) -> None:
        """Forget a call."""
        if (call := self._calls.pop(decision_id, None)) is not None:
            self._n_bytes -= len(call.body)

    def of(self, data: Any) -> Call | None:
        """The call that LiteLLM's data or parameters speak of."""
        decision_id = noted(data, DECISION)
        return None if decision_id is None else self._calls.get(decision_id)


def note(data: dict[str, Any], name: str, value: str) -> None:
    """Note something where LiteLLM keeps its own notes, which never go to a provider.

    The `metadata` of Messages and Responses is the client's and goes upstream; there LiteLLM keeps
    `litellm_metadata`.
    """
    notes = data.get("litellm_metadata")
    if not isinstance(notes, dict):
        notes = data.setdefault("metadata", {})
    notes[name] = value


def noted(data: Any, name: str) -> str | None:
    """What was noted, by the callback or by LiteLLM; None where nothing was."""
    for place in ("litellm_metadata", "metadata"):
        notes = data.get(place) if isinstance(data, Mapping) else None
        if isinstance(notes, Mapping) and (value := notes.get(name)):
            return str(value)
    return None
