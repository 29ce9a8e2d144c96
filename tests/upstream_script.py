"""What the local upstream says: a scripted agent model, and its faults by the model's name."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FAULTS = (
    *("500", "429", "400", "hang", "slow", "cut"),
    *("truncated", "refusal", "badargs", "badjson", "empty"),
)
"""A model whose name holds `fault-NAME` has that fault: `gpt-fault-500` answers with status 500.

`cut` breaks the connection amid the answer, `badargs` calls the tool with arguments that its schema
forbids, `badjson` with arguments that are no JSON (where the dialect can carry that).
"""
TEXT = "All done, the task is finished."
REFUSAL = "I can't help with that."
SHELL_LIKE = re.compile(r"bash|shell|exec|command|terminal|run", re.IGNORECASE)
_FAULT = re.compile(r"fault-([a-z0-9]+)")


@dataclass(frozen=True)
class Tool:
    """A function tool that was offered."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request in no dialect."""

    model: str
    stream: bool
    start: str
    tools: tuple[Tool, ...]
    n_results: int


@dataclass(frozen=True)
class Said:
    """An answer in no dialect; `arguments` is text, which may be no JSON.

    Ids of calls differ within a conversation: gateways bring calls and results together by them.
    """

    text: str = ""
    tool: str | None = None
    arguments: str = "{}"
    finish: str = "stop"
    call_id: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """The arguments where they have to be an object."""
        try:
            return dict(json.loads(self.arguments))
        except ValueError:
            return {}

    @property
    def n_tokens(self) -> int:
        return max(1, (len(self.text) + len(self.arguments if self.tool else "")) // 4)


def fault_of(model: str) -> str:
    """The fault in a model's name, empty without one."""
    found = _FAULT.search(model)
    return found[1] if found else ""


def say(asked: Asked, commands: Sequence[str], *, fault: str = "") -> Said:
    """The answer: one command after the other while a tool is offered, then a text."""
    if fault == "empty":
        return Said()
    if fault == "refusal":
        return Said(REFUSAL, finish="refusal")
    if fault == "truncated":
        return Said(TEXT[:8], finish="length")
    tool = _shell_of(asked.tools)
    if tool is None or asked.n_results >= len(commands):
        return Said(TEXT)
    arguments = json.dumps(_arguments(tool, commands[asked.n_results]))
    if fault == "badargs":
        arguments = '{"unexpected": 1}'
    if fault == "badjson":
        arguments = arguments[:-2]
    call_id = f"call_local_{asked.n_results + 1}"
    return Said(tool=tool.name, arguments=arguments, finish="tool", call_id=call_id)


def _shell_of(tools: Sequence[Tool]) -> Tool | None:
    """The tool that runs commands: by name and by what it takes, else the first one."""
    takes = [tool for tool in tools if {"command", "cmd"} & set(_properties(tool))]
    named = [tool for tool in takes if SHELL_LIKE.search(tool.name)]
    return next(iter([*named, *takes, *tools]), None)


def _properties(tool: Tool) -> Mapping[str, Any]:
    return tool.schema.get("properties") or {}


def _arguments(tool: Tool, command: str) -> dict[str, Any]:
    properties = _properties(tool)
    required = tool.schema.get("required") or []
    values = {name: _value(properties.get(name) or {}) for name in required}
    for name in ("command", "cmd"):
        if name in properties:
            is_list = properties[name].get("type") == "array"
            values[name] = ["bash", "-c", command] if is_list else command
    return values


def _value(schema: Mapping[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    plain: dict[Any, Any] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
    return plain.get(kind.lower() if isinstance(kind, str) else None, "text")
