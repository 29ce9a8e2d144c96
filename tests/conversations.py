"""Requests built by hand, for the tests of the features."""

import json

from router_model.features import SCHEMA, extract
from router_model.types import Message, Part, Request, ToolSpec


def user(*texts: str) -> Message:
    return Message("user", tuple(Part("text", text) for text in texts))


def assistant(text: str) -> Message:
    return Message("assistant", (Part("text", text),))


def call(name: str, call_id: str = "", **arguments: object) -> Message:
    text = json.dumps(arguments, separators=(",", ":"))
    return Message("assistant", (Part("tool_call", text, tool_name=name, call_id=call_id),))


def result(text: str, call_id: str = "", *, is_error: bool = False) -> Message:
    part = Part("tool_result", text, call_id=call_id, is_error=is_error)
    return Message("tool", (part,))


def bash(*turns: tuple[str, str]) -> tuple[Message, ...]:
    """Turns of (command, output) through one shell tool."""
    messages: list[Message] = []
    for number, (command, output) in enumerate(turns):
        messages += [
            call("bash", f"c{number}", command=command),
            result(output, f"c{number}"),
        ]
    return tuple(messages)


def tool(name: str, description: str = "", **properties: object) -> ToolSpec:
    """A tool whose parameters are all required."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return ToolSpec(name=name, description=description, schema=json.dumps(schema).encode())


SHELL_TOOLS = (
    tool("bash", "Runs a command.", command={"type": "string"}),
    tool("edit", "Replaces text in a file.", path={"type": "string"}, text={"type": "string"}),
    tool("read", "Reads a file.", path={"type": "string"}),
)


def values(request: Request) -> dict[str, float]:
    """The features of a request by name."""
    return dict(zip(SCHEMA.names, extract(request).values.tolist(), strict=True))


def ask(*messages: Message, system: str = "", tools: tuple[ToolSpec, ...] = ()) -> Request:
    return Request(messages=messages, system=system, tools=tools)
