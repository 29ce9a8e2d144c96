"""The few ASGI moves that the decision routes need, without a framework in between."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from router_model.errors import InvalidRequestError
from router_serving.errors import (
    PROBLEM_TYPE,
    ClientGoneError,
    EncodingError,
    OverloadedError,
    PayloadTooLargeError,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
HeaderPairs = Sequence[tuple[bytes, bytes]]

JSON_TYPE = b"application/json"
OURS: Final = b"x-router-"
MAX_ARRIVING_BYTES: Final = 256 * 1024 * 1024
"""Bodies of which a part has arrived, in memory: those that would grow it further are refused."""
_LONGEST_LENGTH = 18  # digits


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers by lower-case name; of a repeated one the last counts.

    InvalidRequestError for one of ours with two values: who adds headers to those of others, as
    gateways do, has to replace what is there.
    """
    pairs = scope["headers"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    if len(headers) < len(pairs):
        _refuse_two_values(pairs)
    return headers


def _refuse_two_values(pairs: HeaderPairs) -> None:
    ours = {pair for pair in map(tuple, pairs) if pair[0].startswith(OURS)}
    counts = Counter(name for name, _ in ours)
    if repeated := [name for name, count in counts.items() if count > 1]:
        name = min(repeated)
        raise InvalidRequestError(name.decode("latin-1"), f"{counts[name]} values", "one")


class Bodies:
    """Reads bodies of at most `limit` bytes, and knows how much of all of them is in memory."""

    def __init__(self, limit: int, *, max_arriving: int = MAX_ARRIVING_BYTES) -> None:
        self.limit = limit
        self.arriving = 0
        self._max_arriving = max_arriving

    async def read(self, receive: Receive, headers: Mapping[str, str]) -> bytes:
        """The whole body, refused as soon as it is known to exceed the limit.

        A declared length is refused before anything is read; a chunked body when it has grown too
        long. So is every content encoding: what is not inflated can't grow.
        """
        self._check_announced(headers)
        message = await _part(receive)
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            self._check_size(len(body))
            return body
        whole, n_bytes = bytearray(), 0
        try:
            while True:
                n_bytes += len(body)
                self._add(len(body))
                whole += body
                self._check_size(n_bytes)
                if not message.get("more_body", False):
                    return bytes(whole)
                message = await _part(receive)
                body = message.get("body", b"")
        finally:
            self.arriving -= n_bytes

    def _check_announced(self, headers: Mapping[str, str]) -> None:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", ""):
            raise EncodingError(
                f"content-encoding: got {encoding[:40]!r}, expected identity, or none: bodies are "
                "read as they are"
            )
        declared = headers.get("content-length", "")
        if not declared.isascii() or not declared.isdigit():
            return
        if len(declared) > _LONGEST_LENGTH or int(declared) > self.limit:
            raise PayloadTooLargeError(self.limit)

    def _add(self, n_bytes: int) -> None:
        self.arriving += n_bytes
        if self.arriving > self._max_arriving:
            raise OverloadedError(
                f"body: all that arrive hold {self.arriving} bytes, expected at most "
                f"{self._max_arriving} at a time"
            )

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self.limit:
            raise PayloadTooLargeError(self.limit)


async def _part(receive: Receive) -> Message:
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGoneError("the caller hung up")
    return message


async def respond(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = JSON_TYPE,
    headers: HeaderPairs = (),
) -> None:
    """Send one whole response."""
    start = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def respond_problem(
    send: Send, status: int, body: bytes, *, headers: HeaderPairs = ()
) -> None:
    """Send a problem+json response."""
    await respond(send, status, body, content_type=PROBLEM_TYPE, headers=headers)


def header_value(text: str) -> bytes:
    """Text as a header value: printable ASCII, at most 1000 characters, the rest replaced.

    >>> header_value("no model\\r\\nfits: 5 €")
    b'no model??fits: 5 ?'
    """
    shown = "".join(c if " " <= c <= "~" else "?" for c in text[:1000])
    return shown.encode("ascii")


def query_flag(scope: Scope, name: bytes) -> bool:
    """True when the query string has `name=1`."""
    query: bytes = scope.get("query_string", b"")
    return bool(query) and name + b"=1" in query.split(b"&")
