"""Reads OpenAI Chat Completions answers, as compatible servers send them too."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from router_model.answers.answer import misplaced_arguments
from router_model.answers.building import Building, text_of
from router_model.answers.open_call import OpenCall
from router_model.errors import InvalidRequestError
from router_model.formats import jsontext

_OTHER: Final = ("audio", "image_url", "output_image")


class Function(Struct, gc=False):
    """Name and arguments of a call; of a custom tool its `input`."""

    name: Any = None
    arguments: Any = None
    input: Any = None


class Call(Struct, gc=False):
    """A tool call, or a piece of one."""

    index: int | None = None
    id: Any = None
    function: Function | None = None
    custom: Function | None = None


class Message(Struct, gc=False):
    """A message, or in a stream a piece of it."""

    content: Any = None
    refusal: Any = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    audio: Any = None
    images: Any = None


class Choice(Struct, gc=False):
    """One of the answers that were asked for."""

    index: int | None = None
    message: Message | None = None
    delta: Message | None = None
    finish_reason: Any = None


class Body(Struct, gc=False):
    """A whole answer or an event of a stream."""

    choices: list[Choice] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None
    object: Any = None
    message: Any = None


_BODY: Final = msgspec.json.Decoder(Body)


def read(building: Building, body: bytes) -> None:
    """Take a whole answer; InvalidRequestError where it is of another form."""
    document = jsontext.decode(_BODY, body)
    _take_rest(building, document)
    if building.error is None and not _first(document.choices):
        raise InvalidRequestError("choices", document.choices, "an array with an answer")
    for choice in _first(document.choices):
        message = choice.message
        if message is None and building.error is None:
            raise InvalidRequestError("choices[0].message", None, "an object")
        if message is not None:
            _take_message(building, message)
            for place, call in enumerate(message.tool_calls or ()):
                building.close_call(_opened(building, call, place), _arguments(call))
        building.end(choice.finish_reason)


def take(building: Building, event: bytes) -> None:
    """Take one event of a stream; InvalidRequestError where it is of another form."""
    document = jsontext.decode(_BODY, event)
    _take_rest(building, document)
    for choice in _first(document.choices):
        piece = choice.delta or choice.message
        if piece is not None:
            _take_message(building, piece)
            for place, item in enumerate(piece.tool_calls or ()):
                call = _continued(building, item, place)
                building.add_arguments(call, _arguments(item))
        building.end(choice.finish_reason)


def _first(choices: list[Choice] | None) -> list[Choice]:
    """Pieces of the first answer."""
    return [choice for choice in choices or () if not choice.index]


def _take_rest(building: Building, document: Body) -> None:
    building.name_model(document.model)
    building.count(document.usage)
    building.fail(document.error)
    if document.object == "error":
        building.fail(document.message or "an error")


def _take_message(building: Building, message: Message) -> None:
    building.say(content_text(message.content))
    if text_of(message.refusal):
        building.refusal = True
        building.say(text_of(message.refusal))
    if message.audio or message.images or _has_other(message.content):
        building.has_other_content = True
    if message.function_call is not None:
        _take_function_call(building, message.function_call)


def _take_function_call(building: Building, function: Function) -> None:
    """The form of a call from before there were several in an answer."""
    call = building.calls.get("function_call")
    if call is None:
        call = building.open_call("function_call", call_id="", name=function.name)
    building.add_arguments(call, misplaced_arguments(function.arguments))


def content_text(content: object) -> str:
    """The text of content that may come in parts."""
    if isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict))
        return "".join(text_of(part.get("text")) for part in parts)
    return text_of(content)


def _has_other(content: object) -> bool:
    if not isinstance(content, list):
        return False
    return any(isinstance(part, dict) and part.get("type") in _OTHER for part in content)


def _arguments(item: Call) -> str:
    if item.custom is not None:
        return text_of(item.custom.input)
    return misplaced_arguments(item.function.arguments) if item.function else ""


def _continued(building: Building, item: Call, place: int) -> OpenCall:
    """The call that a piece belongs to.

    Some servers give each whole call the same index: another id with a name begins another call.
    """
    index = place if item.index is None else item.index
    call = building.last_of_index.get(index)
    if call is None:
        return _opened(building, item, index)
    call_id, name = text_of(item.id), _name(item)
    if call_id and name and call.id and call_id != call.id:
        return _opened(building, item, index)
    call.id, call.name = call.id or call_id, call.name or name
    return call


def _opened(building: Building, item: Call, index: int) -> OpenCall:
    kind: Any = "custom" if item.custom is not None else "function"
    key = len(building.calls)
    call = building.open_call(key, call_id=item.id, name=_name(item), kind=kind)
    building.last_of_index[index] = call
    return call


def _name(item: Call) -> str:
    inner = item.custom if item.custom is not None else item.function
    return text_of(inner.name) if inner else ""
