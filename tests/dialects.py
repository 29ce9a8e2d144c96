"""One conversation in neutral words, and how each dialect writes it down."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router_model.types import WireFormat

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A tool call with what the tool answered."""

    id: str
    name: str
    arguments: Json
    answer: str


@dataclass(frozen=True)
class Turn:
    """What the user says, then steps of the assistant: its words and the tools it calls."""

    user: str
    steps: tuple[tuple[str, tuple[Call, ...]], ...] = ()


@dataclass(frozen=True)
class Talk:
    """A whole request, in the words that every dialect has."""

    turns: tuple[Turn, ...]
    system: str = ""
    tools: Mapping[str, Json] = field(default_factory=dict)
    tool_choice: str = "auto"
    schema: Json | None = None
    temperature: float | None = None
    max_tokens: int | None = None


def _given(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value not in (None, {}, [], "")}


def chat(talk: Talk) -> Json:
    messages: list[Json] = []
    if talk.system:
        messages.append({"role": "system", "content": talk.system})
    for turn in talk.turns:
        messages.append({"role": "user", "content": turn.user})
        for words, calls in turn.steps:
            asked = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
                }
                for call in calls
            ]
            messages.append(_given(role="assistant", content=words, tool_calls=asked))
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": call.answer} for call in calls
            ]
    tools = [
        {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}
        for name, schema in talk.tools.items()
    ]
    wanted = talk.schema and {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": talk.schema, "strict": True},
    }
    return _given(
        model="some-model",
        messages=messages,
        tools=tools,
        tool_choice=talk.tool_choice,
        response_format=wanted,
        temperature=talk.temperature,
        max_completion_tokens=talk.max_tokens,
    )


def responses(talk: Talk) -> Json:
    items: list[Json] = []
    for turn in talk.turns:
        text = [{"type": "input_text", "text": turn.user}]
        items.append({"type": "message", "role": "user", "content": text})
        for words, calls in turn.steps:
            said = [{"type": "output_text", "text": words, "annotations": []}]
            if words:
                items.append({"type": "message", "role": "assistant", "content": said})
            items += [
                {
                    "type": "function_call",
                    "call_id": call.id,
                    "name": call.name,
                    "arguments": json.dumps(call.arguments),
                }
                for call in calls
            ]
            items += [
                {"type": "function_call_output", "call_id": call.id, "output": call.answer}
                for call in calls
            ]
    tools = [
        {"type": "function", "name": name, "description": name, "parameters": schema}
        for name, schema in talk.tools.items()
    ]
    form = {"type": "json_schema", "name": "answer", "schema": talk.schema, "strict": True}
    return _given(
        model="some-model",
        instructions=talk.system,
        input=items,
        tools=tools,
        tool_choice=talk.tool_choice,
        text={"format": form} if talk.schema else None,
        temperature=talk.temperature,
        max_output_tokens=talk.max_tokens,
    )


def anthropic(talk: Talk) -> Json:
    messages: list[Json] = []
    results: list[Json] = []
    for turn in talk.turns:
        messages.append(
            {"role": "user", "content": [*results, {"type": "text", "text": turn.user}]}
        )
        results = []
        for words, calls in turn.steps:
            if results:
                messages.append({"role": "user", "content": results})
            said = [{"type": "text", "text": words}] if words else []
            asked = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
                for call in calls
            ]
            messages.append({"role": "assistant", "content": [*said, *asked]})
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": call.answer}
                for call in calls
            ]
    if results:
        messages.append({"role": "user", "content": results})
    choices = {"required": "any"}
    return _given(
        model="some-model",
        system=[{"type": "text", "text": talk.system}] if talk.system else None,
        messages=messages,
        tools=[
            {"name": name, "description": name, "input_schema": schema}
            for name, schema in talk.tools.items()
        ],
        tool_choice={"type": choices.get(talk.tool_choice, talk.tool_choice)},
        output_config=talk.schema and {"format": {"type": "json_schema", "schema": talk.schema}},
        temperature=talk.temperature,
        max_tokens=talk.max_tokens,
    )


def gemini(talk: Talk) -> Json:
    contents: list[Json] = []
    for turn in talk.turns:
        contents.append({"role": "user", "parts": [{"text": turn.user}]})
        for words, calls in turn.steps:
            said: list[Json] = [{"text": words}] if words else []
            asked = [
                {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}}
                for call in calls
            ]
            contents.append({"role": "model", "parts": [*said, *asked]})
            answers = [
                {
                    "functionResponse": {
                        "id": call.id,
                        "name": call.name,
                        "response": {"output": call.answer},
                    }
                }
                for call in calls
            ]
            if answers:
                contents.append({"role": "user", "parts": answers})
    declared = [
        {"name": name, "description": name, "parametersJsonSchema": schema}
        for name, schema in talk.tools.items()
    ]
    modes = {"required": "ANY", "auto": "AUTO", "none": "NONE"}
    return _given(
        model="models/some-model",
        systemInstruction=talk.system and {"parts": [{"text": talk.system}]},
        contents=contents,
        tools=[{"functionDeclarations": declared}] if declared else None,
        toolConfig={"functionCallingConfig": {"mode": modes[talk.tool_choice]}},
        generationConfig=_given(
            temperature=talk.temperature,
            maxOutputTokens=talk.max_tokens,
            responseMimeType="application/json" if talk.schema else None,
            responseJsonSchema=talk.schema,
        ),
    )


RENDERERS: Mapping[WireFormat, Callable[[Talk], Json]] = {
    WireFormat.OPENAI_CHAT: chat,
    WireFormat.OPENAI_RESPONSES: responses,
    WireFormat.ANTHROPIC_MESSAGES: anthropic,
    WireFormat.GEMINI: gemini,
}


def encoded(body: Any) -> bytes:
    """The body as a client would send it."""
    return json.dumps(body).encode()


def rendered(talk: Talk, wire_format: WireFormat) -> bytes:
    """The conversation as a body of the dialect."""
    return encoded(RENDERERS[wire_format](talk))


BUG_HUNT = Talk(
    system="You repair Python programs.",
    turns=(
        Turn(
            "The parser drops the last line. Find out why.",
            (
                (
                    "I'll read it.",
                    (Call("c1", "read_file", {"path": "parser.py"}, "for line in f"),),
                ),
                (
                    "",
                    (
                        Call("c2", "run", {"command": "pytest -q", "seconds": 30}, "1 failed"),
                        Call("c3", "read_file", {"path": "naïve.txt"}, ""),
                    ),
                ),
                ("The loop stops before the last line.", ()),
            ),
        ),
        Turn("Then fix it.", (("", (Call("c4", "run", {"command": "sed"}, "done"),)),)),
    ),
    tools={
        "read_file": {"type": "object", "properties": {"path": {"type": "string"}}},
        "run": {"type": "object", "properties": {"command": {"type": "string"}}},
    },
    max_tokens=4096,
    temperature=0.5,
)
