"""A tool call while its arguments come in."""

import re
from typing import Final

from router_model.answers.answer import CallKind, ToolCall

_OUTSIDE: Final = re.compile(r'["{}\[\]]')
_INSIDE: Final = re.compile(r'\\(?:.|\Z)|"', re.DOTALL)


class OpenCall:
    """Collects the pieces of one call, and notices when its arguments are a whole object.

    Each character is looked at once, however the arguments are cut.

    >>> call = OpenCall("c", "f")
    >>> [call.add(piece) for piece in ('{"a": "}', '"', ', "b": {}', "}")]
    [False, False, False, True]
    """

    __slots__ = ("_depth", "_in_string", "_is_escaped", "id", "is_closed", "kind", "name", "pieces")

    def __init__(self, call_id: str, name: str, kind: CallKind = "function") -> None:
        self.id = call_id
        self.name = name
        self.kind: CallKind = kind
        self.pieces: list[str] = []
        self.is_closed = False
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def add(self, piece: str) -> bool:
        """Append a piece; true where it is the one that completes an object."""
        self.pieces.append(piece)
        return self._closes(piece) and self.call().values is not None

    def call(self) -> ToolCall:
        """What has come so far."""
        return ToolCall(self.id, self.name, "".join(self.pieces), self.kind)

    def _closes(self, piece: str) -> bool:
        """True where the outermost bracket is closed in this piece."""
        place = 1 if self._is_escaped else 0
        self._is_escaped = False
        closes = False
        while True:
            mark = (_INSIDE if self._in_string else _OUTSIDE).search(piece, place)
            if mark is None:
                return closes
            place = mark.end()
            if mark[0] == '"':
                self._in_string = not self._in_string
            elif self._in_string:
                self._is_escaped = mark[0] == "\\"
            else:
                self._depth += 1 if mark[0] in "{[" else -1
                closes = closes or self._depth == 0
