"""Cuts a byte stream of server-sent events into the data of each event."""

import re
from collections.abc import Iterator

# A lone carriage return ends a line too; at the end of what came it may be half of a pair.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
_BOM = b"\xef\xbb\xbf"


class EventSplitter:
    r"""Takes chunks cut anywhere and gives the data of the events that are whole by then.

    The lines of one event's data are joined by newlines; names, ids and comments are passed over
    (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    >>> splitter = EventSplitter()
    >>> list(splitter.feed(b'data: {"a"')), list(splitter.feed(b': 1}\n\ndata: [DO'))
    ([], [b'{"a": 1}'])
    >>> splitter.rest()
    b'[DO'
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Data of the events that the chunk completes."""
        # What came before without the end of a line is not searched again: chunks may be tiny.
        held_return = bool(self._pieces) and self._pieces[-1].endswith(b"\r")
        self._pieces.append(chunk)
        if not held_return and b"\n" not in chunk and b"\r" not in chunk:
            return
        *lines, rest = _LINE_END.split(b"".join(self._pieces))
        self._pieces = [rest] if rest else []
        for line in lines:
            if line:
                self._take_line(line)
            else:
                data, self._data = b"\n".join(self._data), []
                if data.strip():
                    yield data

    def rest(self) -> bytes:
        """Data of an event that came without the empty line which ends it."""
        line = b"".join(self._pieces).rstrip(b"\r")
        held = [*self._data]
        if (value := _value(line)) is not None:
            held.append(value)
        return b"\n".join(held)

    def _take_line(self, line: bytes) -> None:
        if (value := _value(line)) is not None:
            self._data.append(value)


def _value(line: bytes) -> bytes | None:
    """What a line says of the data; None where it says nothing of it."""
    name, _, value = line.removeprefix(_BOM).partition(b":")
    return value.removeprefix(b" ") if name == b"data" else None
