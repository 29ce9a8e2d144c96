"""Typed view of a Messages body: only the fields that are read, all else is skipped.

Fields of type Any are those whose form depends on the block; they are checked where they are read.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct


class Block(Struct, gc=False):
    """A content block of any type, or the object inside a server tool's result."""

    type: str | None = None
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    tool_use_id: str | None = None
    content: str | list[str | Block | None] | Block | None = None
    is_error: bool | None = None
    error_code: Any = None
    thinking: str | None = None
    signature: str | None = None
    source: Raw = Raw()
    title: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    cache_control: Any = None


class Source(Struct, gc=False):
    """Where a document's content is: inline text, base64, blocks, a URL or an uploaded file."""

    type: str | None = None
    data: str | None = None
    content: str | list[str | Block | None] | None = None


class Message(Struct, gc=False):
    """One message; only its role is required."""

    role: str
    content: str | list[str | Block | None] | None = None


class Tool(Struct, gc=False):
    """A tool: the client's own (no type, or "custom") or one of Anthropic's."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: Raw = Raw()
    parameters: Raw = Raw()
    function: Tool | None = None
    mcp_server_name: str | None = None
    strict: bool | None = None
    cache_control: Any = None


class ToolChoice(Struct, gc=False):
    """`tool_choice`."""

    type: str | None = None
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, gc=False):
    """`thinking`."""

    type: str | None = None
    budget_tokens: int | None = None


class Format(Struct, gc=False):
    """A schema for the answer."""

    type: str | None = None
    schema: Raw = Raw()


class OutputConfig(Struct, gc=False):
    """`output_config`."""

    effort: str | None = None
    format: Format | None = None


class Metadata(Struct, gc=False):
    """`metadata`."""

    user_id: str | None = None
    session_id: Any = None


class Body(Struct, gc=False):
    """The whole request body."""

    messages: list[Message]
    system: str | list[str | Block | None] | None = None
    model: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stream: bool | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    metadata: Metadata | None = None
    container: Any = None
    service_tier: Any = None
    speed: Any = None
    cache_control: Any = None
