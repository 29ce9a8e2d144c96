"""Typed view of a Chat Completions body: only the fields that are read, all else is skipped.

Fields of type Any are those that clients fill differently; they are checked where they are read.
"""

from typing import Any

from msgspec import Raw, Struct


class ContentPart(Struct, gc=False):
    """A part of a message's content, of any type."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    thinking: Any = None
    image_url: Raw = Raw()
    source: Raw = Raw()
    cache_control: Any = None


class Function(Struct, gc=False):
    """A function: its definition in `tools`, or a call of it in a message."""

    name: str | None = None
    arguments: Any = None
    input: str | None = None
    description: str | None = None
    parameters: Raw = Raw()
    format: Raw = Raw()
    strict: bool | None = None
    cache_control: Any = None


class ToolCall(Struct, gc=False):
    """A call made by the assistant."""

    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Function | None = None
    extra_content: Any = None


class ThinkingBlock(Struct, gc=False):
    """LiteLLM's `thinking_blocks` and OpenRouter's `reasoning_details`."""

    thinking: str | None = None
    text: str | None = None
    summary: str | None = None
    signature: str | None = None
    data: str | None = None
    format: str | None = None


class Message(Struct, gc=False):
    """One message; only its role is required."""

    role: str
    content: str | list[str | ContentPart | None] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_text: Any = None
    reasoning_opaque: Any = None
    reasoning_details: list[ThinkingBlock] | None = None
    thinking_blocks: list[ThinkingBlock] | None = None
    audio: Any = None
    cache_control: Any = None
    copilot_cache_control: Any = None


class Tool(Struct, gc=False):
    """A tool, in OpenAI's nested form or in the flat forms that some clients send here."""

    type: str | None = None
    function: Function | None = None
    custom: Function | None = None
    name: str | None = None
    description: str | None = None
    parameters: Raw = Raw()
    input_schema: Raw = Raw()
    strict: bool | None = None
    cache_control: Any = None


class AllowedTools(Struct, gc=False):
    """The subset of tools that may be called."""

    mode: str | None = None


class ToolChoice(Struct, gc=False):
    """`tool_choice`, or the older `function_call`, as an object."""

    type: str | None = None
    mode: str | None = None
    name: str | None = None
    function: Function | None = None
    custom: Function | None = None
    allowed_tools: AllowedTools | None = None


class JsonSchema(Struct, gc=False):
    """A named schema for the answer."""

    schema: Raw = Raw()
    strict: bool | None = None


class ResponseFormat(Struct, gc=False):
    """`response_format`; a bare `schema` beside the type is accepted too."""

    type: str | None = None
    json_schema: JsonSchema | None = None
    schema: Raw = Raw()
    strict: bool | None = None


class Reasoning(Struct, gc=False):
    """OpenRouter's `reasoning` and the `thinking` of compatible servers."""

    type: str | None = None
    effort: str | None = None
    max_tokens: int | None = None
    budget_tokens: int | None = None
    enabled: bool | None = None


class Body(Struct, gc=False):
    """The whole request body."""

    messages: list[Message]
    model: str | None = None
    tools: list[Tool] | None = None
    functions: list[Function] | None = None
    tool_choice: str | ToolChoice | None = None
    function_call: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: str | ResponseFormat | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    n: int | None = None
    stream: bool | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    thinking: Reasoning | None = None
    enable_thinking: bool | None = None
    thinking_budget: int | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Any = None
    service_tier: Any = None
    session_id: Any = None
    litellm_session_id: Any = None
    metadata: Any = None
