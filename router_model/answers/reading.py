"""Reads an answer from its bytes, whole or as they stream in."""

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct

from router_model.answers import anthropic_messages, gemini, openai_chat, openai_responses
from router_model.answers.answer import Answer
from router_model.answers.building import Building, error_text
from router_model.answers.sse import EventSplitter
from router_model.errors import InvalidRequestError
from router_model.formats import jsontext
from router_model.types import WireFormat

MAX_BYTES: Final = 64 * 2**20
"""Longest answer that is read, in bytes; far beyond what any model writes."""

Body = bytes | str | Mapping[str, Any] | list[Any]
Reader = Callable[[Building, bytes], None]
_WHOLE: Final[Mapping[WireFormat, Reader]] = MappingProxyType(
    {
        WireFormat.OPENAI_CHAT: openai_chat.read,
        WireFormat.OPENAI_RESPONSES: openai_responses.read,
        WireFormat.ANTHROPIC_MESSAGES: anthropic_messages.read,
        WireFormat.GEMINI: gemini.read,
    }
)
_EVENTS: Final[Mapping[WireFormat, Reader]] = MappingProxyType(
    {
        WireFormat.OPENAI_CHAT: openai_chat.take,
        WireFormat.OPENAI_RESPONSES: openai_responses.take,
        WireFormat.ANTHROPIC_MESSAGES: anthropic_messages.take,
        WireFormat.GEMINI: gemini.take,
    }
)
_OVER: Final = b"[DONE]"
_EVENT_STARTS: Final = (b"data:", b"event:", b":")
# White space and the byte-order mark; a body of nothing else is no stream of events either.
_BLANK: Final = b" \t\r\n\xef\xbb\xbf"
_MAX_BLANK: Final = 4096
_NOT_OF_FORMAT: Final = "the answer is not of this format: "
_TOO_LONG: Final = f"the answer is longer than {MAX_BYTES} bytes"


class _Fault(Struct):
    """What servers and frameworks say instead of an answer, whatever the dialect."""

    error: Any = None
    detail: Any = None
    message: Any = None


_FAULT: Final = msgspec.json.Decoder(_Fault)
_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])


def read_answer(body: Body, *, wire_format: WireFormat) -> Answer:
    """The answer in a response's body, as it came or decoded; never an exception.

    Whatever is no answer of the format gives one with `error` set: errors of providers with their
    message, anything else as "not of this format". An array is read as Gemini streams it,
    and server-sent events, as logs keep them, as what they are.

    >>> read_answer(b"<html>", wire_format=WireFormat.OPENAI_CHAT).error[:34]
    'the answer is not of this format: '
    """
    content = _bytes_of(body)
    building = Building()
    if content is None:
        building.fail_to_read(f"{_NOT_OF_FORMAT}it can't be written as JSON")
    elif len(content) > MAX_BYTES:
        building.fail_to_read(_TOO_LONG)
    elif content.lstrip().startswith(_EVENT_STARTS):
        stream = AnswerStream(wire_format)
        stream.feed(content)
        return stream.answer()
    elif content.lstrip().startswith(b"["):
        _read_array(building, content, wire_format)
    else:
        _read_object(building, content, wire_format)
    building.n_call_chunks = 0
    return building.answer()


class AnswerStream:
    """An answer put together while its bytes come in, cut anywhere.

    Takes server-sent events; also a body that is sent whole instead, as errors are, and Gemini's
    array of events. Nothing that is fed raises.

    >>> stream = AnswerStream(WireFormat.OPENAI_CHAT)
    >>> stream.feed(b'data: {"choices": [{"delta": {"content": "Hi"}, "finish')
    >>> stream.feed(b'_reason": "stop"}]}' + bytes([10, 10]))
    >>> stream.answer().text, stream.answer().finish
    ('Hi', 'stop')
    """

    def __init__(self, wire_format: WireFormat) -> None:
        self.n_events = 0
        self._format = wire_format
        self._building = Building()
        self._splitter = EventSplitter()
        self._n_bytes = 0
        self._head: bytes | None = b""
        self._whole: list[bytes] | None = None

    @property
    def has_complete_call(self) -> bool:
        """True once the first tool call is complete: for the latency to it."""
        return self._building.has_complete_call

    @property
    def is_terminated(self) -> bool:
        """True once the stream said that it is over, as far as its dialect has words for it."""
        return self._building.is_terminated

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._n_bytes += len(chunk)
        if self._n_bytes > MAX_BYTES:
            self._building.fail_to_read(_TOO_LONG)
            self._whole = None
        elif self._whole is not None:
            self._whole.append(chunk)
        elif self._head is None:
            self._split(chunk)
        else:
            self._begin(self._head + chunk)

    def take(self, event: Body) -> None:
        """Take one event: its data as bytes, or decoded."""
        self.n_events += 1
        _take(self._building, event, self._format)

    def answer(self) -> Answer:
        """The answer so far; more may be fed afterwards."""
        if self._whole is not None:
            return read_answer(b"".join(self._whole), wire_format=self._format)
        building = self._building
        rest = self._splitter.rest()
        if _is_event(rest):
            building = copy.deepcopy(building)
            _take(building, rest, self._format)
        elif not self.n_events:
            building = Building()
            building.fail_to_read(self._building.error or "the stream held no event")
        return building.answer()

    def _begin(self, head: bytes) -> None:
        """Find out from the first bytes that are no white space what kind of body it is."""
        start = head.lstrip(_BLANK)
        if not start and len(head) < _MAX_BLANK:
            self._head = head
            return
        self._head = None
        if start.startswith((b"{", b"[")):
            self._whole = [start]
        else:
            self._split(head)

    def _split(self, chunk: bytes) -> None:
        for data in self._splitter.feed(chunk):
            self.take(data)


def _take(building: Building, event: Body, wire_format: WireFormat) -> None:
    """Take an event; one of another form becomes the answer's error."""
    content = _bytes_of(event)
    if content is None:
        building.fail_to_read("an event is not of this format: it can't be written as JSON")
    elif content.strip() == _OVER:
        building.is_terminated = building.is_complete = True
    else:
        try:
            jsontext.check_values(content)
            _EVENTS[wire_format](building, content)
        except InvalidRequestError as error:
            building.fail_to_read(f"an event is not of this format: {error}")


def _read_object(building: Building, content: bytes, wire_format: WireFormat) -> None:
    try:
        jsontext.check_values(content)
        _WHOLE[wire_format](building, content)
    except InvalidRequestError as error:
        if fault := _fault(content):
            building.fail(fault)
        else:
            building.fail_to_read(f"{_NOT_OF_FORMAT}{error}")


def _read_array(building: Building, content: bytes, wire_format: WireFormat) -> None:
    """Events as Gemini streams them; Google wraps errors of other dialects in an array too."""
    try:
        jsontext.check_values(content)
        events = jsontext.decode(_ARRAY, content)
    except InvalidRequestError as error:
        building.fail_to_read(f"{_NOT_OF_FORMAT}{error}")
        return
    if wire_format is WireFormat.GEMINI and events:
        for event in events:
            _take(building, bytes(event), wire_format)
    elif len(events) == 1:
        _read_object(building, bytes(events[0]), wire_format)
    else:
        building.fail_to_read(f"{_NOT_OF_FORMAT}an array of {len(events)}")


def _fault(content: bytes) -> str | None:
    """The message of an error in any form; None where there is none."""
    try:
        fault = jsontext.decode(_FAULT, content)
    except InvalidRequestError:
        return None
    told = next((value for value in (fault.error, fault.detail, fault.message) if value), None)
    return error_text(told) if told else None


def _bytes_of(body: object) -> bytes | None:
    """The JSON of a body in any form that it may have; None of what has none."""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None


def _is_event(rest: bytes) -> bool:
    """False for what was cut off in the middle of an event."""
    try:
        _ANY.decode(rest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return rest.strip() == _OVER
    return True
