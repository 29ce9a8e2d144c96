"""The few ASGI moves that the decision routes need, without a framework in between."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from router_serving.errors import PROBLEM_TYPE, ClientGoneError, PayloadTooLargeError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
HeaderPairs = Sequence[tuple[bytes, bytes]]

JSON_TYPE = b"application/json"


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers by lower-case name; of a repeated one the last counts."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(receive: Receive, *, limit: int, content_length: str | None) -> bytes:
    """The whole body, refused as soon as it is known to exceed `limit` bytes.

    A declared length is refused before anything is read; a chunked body when it has grown too long.
    """
    declared = content_length or ""
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise PayloadTooLargeError(limit)
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGoneError("the caller hung up")
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return _within(body, limit)
    chunks, n_bytes = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError("the caller hung up")
        chunk = message.get("body", b"")
        n_bytes += len(chunk)
        if n_bytes > limit:
            raise PayloadTooLargeError(limit)
        chunks.append(chunk)
    return b"".join(chunks)


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


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise PayloadTooLargeError(limit)
    return body
