"""Reads OpenAI Responses answers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct

from router_model.answers.answer import CallKind, misplaced_arguments
from router_model.answers.building import Building, text_of
from router_model.answers.open_call import OpenCall
from router_model.errors import InvalidRequestError
from router_model.formats import jsontext

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TEXTS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_ARGUMENTS: Final = frozenset(
    {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}
)
# Calls that the client carries out; all others with such a name OpenAI carries out itself.
_CALLS: Final[Mapping[str, CallKind]] = MappingProxyType(
    {
        "function_call": "function",
        "custom_tool_call": "custom",
        "local_shell_call": "provider",
        "shell_call": "provider",
        "apply_patch_call": "provider",
        "computer_call": "provider",
    }
)
_SILENT: Final = frozenset({"reasoning", "compaction", "mcp_list_tools", "additional_tools"})


class Piece(Struct, gc=False):
    """A piece of a message's content."""

    type: Any = None
    text: Any = None
    refusal: Any = None


class Item(Struct, gc=False):
    """An item of output."""

    type: str | None = None
    id: Any = None
    call_id: Any = None
    name: Any = None
    arguments: Any = None
    input: Any = None
    content: list[Piece] | None = None


class Incomplete(Struct, gc=False):
    """Why an answer is not whole."""

    reason: Any = None


class Response(Struct, gc=False):
    """A whole answer, or in a stream what is known of it."""

    output: list[Item] | None = None
    status: Any = None
    incomplete_details: Incomplete | None = None
    usage: Any = None
    model: Any = None
    error: Any = None


class Event(Struct, gc=False):
    """An event of a stream."""

    type: str
    response: Response | None = None
    item: Item | None = None
    output_index: int | None = None
    content_index: int | None = None
    delta: Any = None
    error: Any = None
    message: Any = None


_RESPONSE: Final = msgspec.json.Decoder(Response)
_EVENT: Final = msgspec.json.Decoder(Event)


def read(building: Building, body: bytes) -> None:
    """Take a whole answer; InvalidRequestError where it is of another form."""
    response = jsontext.decode(_RESPONSE, body)
    if not response.error and response.output is None:
        raise InvalidRequestError("output", None, "an array of items")
    _take_response(building, response)
    _end(building, response)


def take(building: Building, event: bytes) -> None:
    """Take one event of a stream; InvalidRequestError where it is of another form."""
    found = jsontext.decode(_EVENT, event)
    place = found.output_index or 0
    if found.response is not None:
        _take_response(building, found.response)
        if found.type in _ENDS:
            building.is_terminated = True
            _end(building, found.response, kind=found.type)
    elif found.type in _TEXTS:
        building.refusal = building.refusal or found.type == "response.refusal.delta"
        building.say(text_of(found.delta), (place, found.content_index or 0))
    elif found.type in _ARGUMENTS and (call := building.calls.get(place)) is not None:
        building.add_arguments(call, text_of(found.delta))
    elif found.type == "response.output_item.added" and found.item is not None:
        _opened(building, place, found.item)
    elif found.type == "response.output_item.done" and found.item is not None:
        _take_item(building, place, found.item)
    elif found.type == "error":
        building.fail(found.error or found.message or "an error")


def _take_response(building: Building, response: Response) -> None:
    """What is known of the answer; items that come with it are the whole output so far."""
    building.name_model(response.model)
    building.count(response.usage)
    building.fail(response.error)
    if response.output:
        building.texts.clear()
        building.calls.clear()
    for place, item in enumerate(response.output or ()):
        _take_item(building, place, item)


def _end(building: Building, response: Response, *, kind: str = "") -> None:
    status = text_of(response.status) or kind.removeprefix("response.")
    details = response.incomplete_details
    if status in ("failed", "cancelled"):
        building.fail(response.error or f"the answer was {status}")
    if status in ("completed", "incomplete"):
        building.end((details and text_of(details.reason)) or status)


def _opened(building: Building, place: int, item: Item) -> OpenCall | None:
    """The call that an item is; None for an item that is none."""
    call_id = text_of(item.call_id) or text_of(item.id)
    item_type = item.type or "message"
    kind = _CALLS.get(item_type)
    if kind is None:
        return None
    name = text_of(item.name) or item_type.removesuffix("_call")
    return building.open_call(place, call_id=call_id, name=name, kind=kind)


def _take_item(building: Building, place: int, item: Item) -> None:
    """An item that is whole, in place of the pieces that came of it."""
    call = _opened(building, place, item)
    if call is not None:
        arguments = item.input if call.kind == "custom" else item.arguments
        building.close_call(call, misplaced_arguments(arguments))
    elif item.type in (None, "message"):
        for number, piece in enumerate(item.content or ()):
            refusal = text_of(piece.refusal)
            building.refusal = building.refusal or bool(refusal)
            building.texts[place, number] = [text_of(piece.text) or refusal]
    elif item.type not in _SILENT:
        building.has_other_content = True
