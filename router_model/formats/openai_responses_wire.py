"""Typed view of a Responses body: only the fields that are read, all else is skipped.

Fields of type Any are those whose form depends on the item; they are checked where they are read.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct


class ContentPart(Struct, gc=False):
    """A part of a message, of a reasoning item or of a tool's output, of any type."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    image_url: Raw = Raw()
    cache_control: Any = None


Content = str | list[str | ContentPart | None] | ContentPart | None


class Item(Struct, gc=False):
    """An input item of any type; a message may leave its type out."""

    type: str | None = None
    role: str | None = None
    content: Content = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None
    input: Any = None
    output: Content = None
    result: Any = None
    error: Any = None
    action: Any = None
    operation: Any = None
    queries: Any = None
    code: Any = None
    summary: Content = None
    encrypted_content: str | None = None
    tools: Raw = Raw()
    cache_control: Any = None


class Tool(Struct, gc=False):
    """A tool: a function, a freeform one, a namespace of functions, or one of OpenAI's."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    parameters: Raw = Raw()
    format: Raw = Raw()
    strict: bool | None = None
    server_label: str | None = None
    tools: list[Tool] | None = None
    function: Tool | None = None
    cache_control: Any = None


class ToolChoice(Struct, gc=False):
    """`tool_choice` as an object."""

    type: str | None = None
    mode: str | None = None
    name: str | None = None
    function: Tool | None = None


class Format(Struct, gc=False):
    """`text.format`."""

    type: str | None = None
    schema: Raw = Raw()
    strict: bool | None = None


class TextConfig(Struct, gc=False):
    """`text`."""

    format: Format | None = None


class Reasoning(Struct, gc=False):
    """`reasoning`."""

    effort: str | None = None


class Conversation(Struct, gc=False):
    """`conversation` as an object."""

    id: str | None = None


class Body(Struct, gc=False):
    """The whole request body."""

    input: str | list[str | Item] | None = None
    instructions: str | list[Item] | None = None
    model: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stream: bool | None = None
    reasoning: Reasoning | None = None
    previous_response_id: str | None = None
    conversation: str | Conversation | None = None
    prompt: Any = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Any = None
    service_tier: Any = None
    client_metadata: Any = None
    metadata: Any = None
