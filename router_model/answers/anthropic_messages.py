"""Reads Anthropic Messages answers."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from router_model.answers.building import Building, text_of
from router_model.errors import InvalidRequestError
from router_model.formats import jsontext

_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})


class Block(Struct, gc=False):
    """A block of content, or a piece of it."""

    type: str | None = None
    text: Any = None
    id: Any = None
    name: Any = None
    input: Any = None
    partial_json: Any = None
    stop_reason: Any = None


class Message(Struct, gc=False):
    """A whole answer, or the beginning of a streamed one."""

    type: Any = None
    content: list[Block] | None = None
    stop_reason: Any = None
    usage: Any = None
    model: Any = None
    error: Any = None


class Event(Struct, gc=False):
    """An event of a stream."""

    type: str
    index: int | None = None
    message: Message | None = None
    content_block: Block | None = None
    delta: Block | None = None
    usage: Any = None
    error: Any = None


_MESSAGE: Final = msgspec.json.Decoder(Message)
_EVENT: Final = msgspec.json.Decoder(Event)


def read(building: Building, body: bytes) -> None:
    """Take a whole answer; InvalidRequestError where it is of another form."""
    message = jsontext.decode(_MESSAGE, body)
    building.fail(message.error or (message.type == "error" and "an error"))
    if building.error is None and message.content is None:
        raise InvalidRequestError("content", None, "an array of blocks")
    _take_head(building, message)
    for index, block in enumerate(message.content or ()):
        _begin(building, index, block)
        if (call := building.calls.get(index)) is not None:
            building.close_call(call, _whole_input(block))


def take(building: Building, event: bytes) -> None:
    """Take one event of a stream; InvalidRequestError where it is of another form."""
    found = jsontext.decode(_EVENT, event)
    if found.type == "message_start":
        _take_head(building, _needed(found.message, "message"))
    elif found.type == "content_block_start":
        _begin(building, _needed(found.index, "index"), _needed(found.content_block, "block"))
    elif found.type == "content_block_delta":
        _continue(building, _needed(found.index, "index"), _needed(found.delta, "delta"))
    elif found.type == "content_block_stop":
        _close(building, _needed(found.index, "index"))
    elif found.type == "message_delta":
        building.count(found.usage)
        building.end(_needed(found.delta, "delta").stop_reason)
    elif found.type == "message_stop":
        building.is_terminated = building.is_complete = True
    elif found.type == "error":
        building.fail(found.error or "an error")


def _needed(value: Any, name: str) -> Any:
    if value is None:
        raise InvalidRequestError(name, None, "a value: this kind of event has it")
    return value


def _take_head(building: Building, message: Message) -> None:
    building.name_model(message.model)
    building.count(message.usage)
    building.end(message.stop_reason)


def _begin(building: Building, index: int, block: Block) -> None:
    if block.type == "text":
        building.say(text_of(block.text), index)
    elif block.type == "tool_use":
        call = building.open_call(index, call_id=block.id, name=block.name)
        if block.input not in (None, {}):  # whole at once, as some servers stream it
            building.close_call(call, _whole_input(block))
    elif block.type not in _THOUGHTS:
        building.has_other_content = True


def _whole_input(block: Block) -> str:
    return "{}" if block.input is None else jsontext.compact(block.input)


def _continue(building: Building, index: int, piece: Block) -> None:
    if piece.type == "text_delta":
        building.say(text_of(piece.text), index)
    elif piece.type == "input_json_delta" and (call := building.calls.get(index)) is not None:
        if call.is_closed:
            call.pieces, call.is_closed = [], False
        building.add_arguments(call, text_of(piece.partial_json))


def _close(building: Building, index: int) -> None:
    call = building.calls.get(index)
    if call is not None:
        # A call without arguments sends none.
        building.close_call(call, None if call.pieces else "{}")
