"""Reads Gemini generateContent answers; each event of a stream is a whole answer's beginning."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct, field

from router_model.answers.building import Building, text_of
from router_model.errors import InvalidRequestError
from router_model.formats import jsontext

T = TypeVar("T")


class FunctionCall(Struct, gc=False):
    """A call, whole in one event unless its arguments were asked for in pieces."""

    id: Any = None
    name: Any = None
    args: Any = None
    partial_args: Any = field(default=None, name="partialArgs")
    will_continue: Any = field(default=None, name="willContinue")


class Part(Struct, gc=False):
    """A part of content; what is neither text nor a call is only noticed."""

    text: Any = None
    thought: Any = None
    call_camel: FunctionCall | None = field(default=None, name="functionCall")
    function_call: FunctionCall | None = None
    signature: Any = field(default=None, name="thoughtSignature")
    inline_data: Any = field(default=None, name="inlineData")
    file_data: Any = field(default=None, name="fileData")
    code: Any = field(default=None, name="executableCode")
    code_result: Any = field(default=None, name="codeExecutionResult")
    server_call: Any = field(default=None, name="toolCall")


class Content(Struct, gc=False):
    """The parts of an answer."""

    parts: list[Part] | None = None


class Candidate(Struct, gc=False):
    """One of the answers that were asked for."""

    content: Content | None = None
    index: int | None = None
    finish_camel: Any = field(default=None, name="finishReason")
    finish_reason: Any = None


class Feedback(Struct, gc=False):
    """Why a prompt was not answered."""

    block_camel: Any = field(default=None, name="blockReason")
    block_reason: Any = None


class Body(Struct, gc=False):
    """A whole answer or an event of a stream; `response` wraps it in one of Google's APIs."""

    candidates: list[Candidate] | None = None
    feedback_camel: Feedback | None = field(default=None, name="promptFeedback")
    prompt_feedback: Feedback | None = None
    usage_camel: Any = field(default=None, name="usageMetadata")
    usage_metadata: Any = None
    model_camel: Any = field(default=None, name="modelVersion")
    model_version: Any = None
    error: Any = None
    response: Body | None = None


_BODY: Final = msgspec.json.Decoder(Body)


def read(building: Building, body: bytes) -> None:
    """Take a whole answer; InvalidRequestError where it is of another form."""
    document = jsontext.decode(_BODY, body)
    _take(building, document)
    document = document.response or document
    is_blocked = building.refusal and building.is_complete
    if building.error is None and not document.candidates and not is_blocked:
        raise InvalidRequestError("candidates", document.candidates, "an array with an answer")


def take(building: Building, event: bytes) -> None:
    """Take one event of a stream; InvalidRequestError where it is of another form."""
    _take(building, jsontext.decode(_BODY, event))


def _take(building: Building, document: Body) -> None:
    building.fail(document.error)
    document = document.response or document
    building.fail(document.error)
    building.name_model(_either(document.model_camel, document.model_version))
    building.count(_either(document.usage_camel, document.usage_metadata))
    feedback = _either(document.feedback_camel, document.prompt_feedback)
    reason = _either(feedback.block_camel, feedback.block_reason) if feedback else None
    if text_of(reason):
        building.refusal = True
        building.end(reason)
    for candidate in document.candidates or ():
        if candidate.index:
            continue
        for part in (candidate.content.parts if candidate.content else None) or ():
            _take_part(building, part)
        building.end(_either(candidate.finish_camel, candidate.finish_reason))


def _take_part(building: Building, part: Part) -> None:
    call = _either(part.call_camel, part.function_call)
    if call is not None:
        _take_call(building, call)
    elif part.thought:
        return
    elif isinstance(part.text, str):
        building.say(part.text)
    elif any((part.inline_data, part.file_data, part.code, part.code_result, part.server_call)):
        building.has_other_content = True


def _take_call(building: Building, found: FunctionCall) -> None:
    """A call, or what comes later of one: that has no name."""
    before = next(reversed(building.calls.values()), None)
    if not text_of(found.name) and before is not None and before.kind == "partial":
        building.n_call_chunks += 1
        return
    is_partial = bool(found.partial_args or found.will_continue)
    kind: Any = "partial" if is_partial else "function"
    key = len(building.calls)
    call = building.open_call(key, call_id=found.id, name=found.name, kind=kind)
    building.n_call_chunks += 1
    if not is_partial:
        building.close_call(call, "{}" if found.args is None else jsontext.compact(found.args))


def _either(camel: T | None, snake: T | None) -> T | None:
    return snake if camel is None else camel
