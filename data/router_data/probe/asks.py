"""What is asked of an endpoint and what comes back, in no dialect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from router_model.types import Usage

# Who asks, whether it is paid for, how often and when: nothing of what was asked.
_NO_REFUSAL = frozenset({401, 402, 403, 408, 409, 425, 429})

Role = Literal["user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of an answer. `arguments` is JSON text as it came, whole or broken."""

    id: str
    name: str
    arguments: str

    @property
    def values(self) -> dict[str, Any] | None:
        """The arguments as an object; None where they are none."""
        try:
            found = msgspec.json.decode(self.arguments)
        except msgspec.DecodeError:
            return None
        return found if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message; a turn of role "tool" holds the result of the call `result_of`.

    `message` is an answer as it came, to be sent back as it is: with the signatures or thoughts
    that some models demand to see again.
    """

    role: Role
    text: str = ""
    calls: tuple[Call, ...] = ()
    result_of: str = ""
    message: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One call to be made. `tool_choice` is "auto", "required" or the name of a tool.

    `is_marked` puts a cache marker behind the system text. `model` and `key` differ from the
    endpoint's own only where a refusal is wanted. `session` groups calls in the log.
    """

    turns: tuple[Turn, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    max_tokens: int | None = None
    stream: bool = False
    seed: int | None = None
    temperature: float | None = None
    wants_json: bool = False
    schema: Mapping[str, Any] | None = None
    is_marked: bool = False
    model: str = ""
    key: str | None = None
    session: str = ""
    idempotency_key: str = ""
    cut_after_events: int | None = None


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came back. `problem` is empty where the call ended as it should.

    `usage` is None where the endpoint reported none; `tells_cache` says whether it told how many
    tokens were cached, be it none. Times are in milliseconds from sending; `tool_call_ms` is when
    the first tool call was complete. `n_chunks` counts the pieces of arguments of a stream,
    `is_terminated` says whether a stream said that it was over. `message` is the answer as it
    came. The last three fields are a check's verdict for the log.
    """

    status: int = 0
    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = ""
    usage: Usage | None = None
    problem: str = ""
    error_text: str = ""
    latency_ms: float = 0.0
    tool_call_ms: float | None = None
    n_chunks: int = 0
    n_events: int = 0
    is_terminated: bool = False
    is_cut: bool = False
    cost_usd: float = 0.0
    estimated_tokens: int = 0
    tells_cache: bool = False
    message: Mapping[str, Any] | None = None
    adequate: bool | None = None
    tool_call_valid: bool | None = None
    signals: dict[str, float | bool | str] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """True where the endpoint answered and nothing broke on the way."""
        return self.status == 200 and not self.problem

    @property
    def is_refused(self) -> bool:
        """True where the endpoint said no to what it was asked, not to how often."""
        return 400 <= self.status < 500 and self.status not in _NO_REFUSAL

    @property
    def input_tokens(self) -> int:
        """As reported, else as estimated."""
        return self.usage.input_tokens if self.usage else self.estimated_tokens

    @property
    def cached_tokens(self) -> int:
        """Input tokens read from a cache, 0 where nothing is reported."""
        return self.usage.cached_tokens if self.usage else 0
