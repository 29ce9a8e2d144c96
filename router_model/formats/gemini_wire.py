"""Typed view of a generateContent body: only the fields that are read, all else is skipped.

The API takes each field in camelCase and in snake_case; a struct has both, and `either` picks.
Fields of type Any are checked where they are read.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Raw, Struct, field

T = TypeVar("T")


def either(camel: T | None, snake: T | None) -> T | None:
    """The spelling that was used; camelCase, the documented one, wins.

    >>> either(None, 5)
    5
    """
    return snake if camel is None else camel


class Blob(Struct, gc=False):
    """Inline or uploaded media: only its type and an inline image's size are read."""

    mime_camel: str | None = field(default=None, name="mimeType")
    mime_type: str | None = None
    data: Raw = Raw()


class FunctionCall(Struct, gc=False):
    """A call by the model."""

    id: str | None = None
    name: str | None = None
    args: Any = None


class FunctionResponse(Struct, gc=False):
    """What a function returned."""

    id: str | None = None
    name: str | None = None
    response: Any = None
    parts: list[Part] | None = None


class Code(Struct, gc=False):
    """`executableCode` and `codeExecutionResult`."""

    id: str | None = None
    language: str | None = None
    code: str | None = None
    outcome: str | None = None
    output: str | None = None


class ServerTool(Struct, gc=False):
    """`toolCall` and `toolResponse`: tools that Google runs."""

    id: str | None = None
    type_camel: str | None = field(default=None, name="toolType")
    tool_type: str | None = None
    args: Any = None
    response: Any = None


class Part(Struct, gc=False):
    """A part of any kind."""

    text: str | None = None
    thought: bool | None = None
    signature_camel: str | None = field(default=None, name="thoughtSignature")
    thought_signature: str | None = None
    inline_camel: Blob | None = field(default=None, name="inlineData")
    inline_data: Blob | None = None
    file_camel: Blob | None = field(default=None, name="fileData")
    file_data: Blob | None = None
    call_camel: FunctionCall | None = field(default=None, name="functionCall")
    function_call: FunctionCall | None = None
    response_camel: FunctionResponse | None = field(default=None, name="functionResponse")
    function_response: FunctionResponse | None = None
    code_camel: Code | None = field(default=None, name="executableCode")
    executable_code: Code | None = None
    result_camel: Code | None = field(default=None, name="codeExecutionResult")
    code_execution_result: Code | None = None
    tool_call_camel: ServerTool | None = field(default=None, name="toolCall")
    tool_call: ServerTool | None = None
    tool_response_camel: ServerTool | None = field(default=None, name="toolResponse")
    tool_response: ServerTool | None = None


class Content(Struct, gc=False):
    """One turn; a missing role is the user's."""

    role: str | None = None
    parts: list[str | Part] | Part | None = None


class Declaration(Struct, gc=False):
    """A function that may be called."""

    name: str | None = None
    description: str | None = None
    parameters: Raw = Raw()
    json_camel: Raw = field(default=Raw(), name="parametersJsonSchema")
    parameters_json_schema: Raw = Raw()


class FunctionCalling(Struct, gc=False):
    """`functionCallingConfig`."""

    mode: str | None = None
    names_camel: list[str] | None = field(default=None, name="allowedFunctionNames")
    allowed_function_names: list[str] | None = None


class ToolConfig(Struct, gc=False):
    """`toolConfig`."""

    calling_camel: FunctionCalling | None = field(default=None, name="functionCallingConfig")
    function_calling_config: FunctionCalling | None = None


class Thinking(Struct, gc=False):
    """`thinkingConfig`."""

    budget_camel: int | None = field(default=None, name="thinkingBudget")
    thinking_budget: int | None = None
    level_camel: str | None = field(default=None, name="thinkingLevel")
    thinking_level: str | None = None


class Generation(Struct, gc=False):
    """`generationConfig`."""

    temperature: float | None = None
    seed: int | None = None
    top_p_camel: float | None = field(default=None, name="topP")
    top_p: float | None = None
    max_camel: int | None = field(default=None, name="maxOutputTokens")
    max_output_tokens: int | None = None
    count_camel: int | None = field(default=None, name="candidateCount")
    candidate_count: int | None = None
    mime_camel: str | None = field(default=None, name="responseMimeType")
    response_mime_type: str | None = None
    schema_camel: Raw = field(default=Raw(), name="responseSchema")
    response_schema: Raw = Raw()
    json_camel: Raw = field(default=Raw(), name="responseJsonSchema")
    response_json_schema: Raw = Raw()
    thinking_camel: Thinking | None = field(default=None, name="thinkingConfig")
    thinking_config: Thinking | None = None


class Body(Struct, gc=False):
    """The whole request body; `model` and `stream` are in the URL, some clients send them too."""

    contents: list[str | Content] | Content | None = None
    model: str | None = None
    stream: bool | None = None
    system_camel: str | Content | None = field(default=None, name="systemInstruction")
    system_instruction: str | Content | None = None
    tools: list[dict[str, Raw]] | None = None
    tool_config_camel: ToolConfig | None = field(default=None, name="toolConfig")
    tool_config: ToolConfig | None = None
    generation_camel: Generation | None = field(default=None, name="generationConfig")
    generation_config: Generation | None = None
    cached_camel: str | None = field(default=None, name="cachedContent")
    cached_content: str | None = None
    session_id: Any = None
    tier_camel: Any = field(default=None, name="serviceTier")
    service_tier: Any = None
