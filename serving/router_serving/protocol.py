"""HTTP on one connection, with limits of time and size.

A caller that sends nothing, or a byte now and then, costs a descriptor and is let go after a while.
What is no HTTP is answered and closed here, before any task is made for it.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from router_model.errors import RouterError
from router_serving.connections import Connections
from router_serving.errors import (
    PROBLEM_TYPE,
    OverloadedError,
    PayloadTooLargeError,
    TooSlowError,
    problem,
    problem_headers,
)

STATE: Final = "connections"
MAX_HEAD_BYTES: Final = 64 * 1024
"""Request line and headers together."""
MAX_PIPELINED: Final = 16
"""Calls that may lie on a connection behind the one that is being answered."""
LINGER_S: Final = 1.0
"""How long what a caller still sends is thrown away, so that it can read why it was refused."""

# Where a connection stands in what its caller sends.
_BETWEEN, _HEAD, _BODY = "between", "head", "body"


class HeadTooLargeError(RouterError):
    """Request line and headers of more bytes than are read; the connection is closed."""

    code = "headers_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"request line and headers: more than {limit} bytes")


class MalformedHttpError(RouterError):
    """What came is no HTTP/1.1 that is understood; the connection is closed."""

    code = "malformed_http"


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP with limits of time and size, and without a word in the log from outside."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guard: Connections = app_state[STATE]
        self.on_lost: Callable[[], None] | None = None
        self._at = _BETWEEN
        self._n_head_bytes = 0
        self._n_body_bytes = 0
        self._n_chunk_bytes = 0
        self._is_deaf = False
        self._is_refused = False
        self._awaited: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Admit the connection, or prepare to refuse it."""
        super().connection_made(transport)
        if self._guard.admit(self):
            self._await(_HEAD)
            return
        self._is_refused = True
        if self._guard.is_crowded:
            transport.abort()
        else:
            self._timer = self.loop.call_later(LINGER_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every clock, and tell whoever waits for this caller."""
        for timer in (self._timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        self._guard.gone(self)
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        """Parse what came; what can't be parsed is answered and ends the connection."""
        if self._is_deaf:
            return
        if self._is_refused:
            limit = self._guard.limit
            self._close_with(OverloadedError(f"connections: {limit} are open, expected fewer"))
            return
        self._n_chunk_bytes = len(data)
        if self._at is not _BODY:
            self._n_head_bytes += len(data)
        else:
            self._n_body_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Answered like any other call; what follows it is not parsed any more.
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self._reject(error.__context__)
            return
        if self._at is not _BODY and self._n_head_bytes > MAX_HEAD_BYTES:
            self._reject(HeadTooLargeError(MAX_HEAD_BYTES))
        elif self._at is _BODY and self._n_body_bytes > self._guard.max_raw_bytes:
            self._reject(PayloadTooLargeError(self._guard.max_raw_bytes))
        else:
            self._await(self._owed())

    def close(self) -> None:
        """Close the connection, which is quiet."""
        self.transport.close()

    def on_message_begin(self) -> None:
        """A request line begins."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise MalformedHttpError(
                f"connection: got more than {MAX_PIPELINED} calls without waiting for an answer"
            )
        self._at = _HEAD
        super().on_message_begin()
        self.scope["extensions"] = {STATE: {STATE: self}}

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those that trail a body are not kept, however many they are."""
        if self._at is _HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: start the call, unless it is too large."""
        is_doubtful = self._n_head_bytes + self._n_chunk_bytes > MAX_HEAD_BYTES
        if is_doubtful and _size_of(self.url, self.headers) > MAX_HEAD_BYTES:
            raise HeadTooLargeError(MAX_HEAD_BYTES)
        self._at, self._n_head_bytes, self._n_body_bytes = _BODY, 0, 0
        self._guard.busy(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there."""
        self._at = _BETWEEN
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out: the connection is quiet, or its next call's turn has come."""
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and not self.transport.is_closing():
            self._guard.quiet(self)

    def pause_writing(self) -> None:
        """The caller does not read its answers: that can't go on for ever."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._guard.body_timeout_s, self._unread)

    def resume_writing(self) -> None:
        """The caller reads again."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _owed(self) -> str | None:
        """What the caller has to send soon: the rest of a head or a body; None when it may rest."""
        if self._at is _BETWEEN:
            return None if self._is_answering() else _HEAD
        return self._at

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await(self, owed: str | None) -> None:
        if owed is self._awaited:
            return
        self._awaited = owed
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if owed is not None:
            limits = {_HEAD: self._guard.head_timeout_s, _BODY: self._guard.body_timeout_s}
            self._timer = self.loop.call_later(limits[owed], self._too_slow)

    def _too_slow(self) -> None:
        self._timer = None
        awaited = str(self._awaited)
        self._guard.closed(f"{awaited}_timeout")
        has_begun = self._at is not _BETWEEN
        if has_begun:
            limit = "ROUTER_BODY_TIMEOUT_S" if awaited is _BODY else "ROUTER_HEADER_TIMEOUT_S"
            self._end(TooSlowError(f"{awaited}: it is not complete, expected it within {limit}"))
        else:
            self.transport.close()

    def _unread(self) -> None:
        self._guard.closed("write_timeout")
        self.transport.abort()

    def _reject(self, cause: BaseException | None) -> None:
        error: RouterError = MalformedHttpError("request: it is no valid HTTP/1.1")
        if isinstance(cause, RouterError):
            error = cause
        self._guard.closed(error.code)
        self._end(error)

    def _end(self, error: RouterError) -> None:
        """Answer with a problem and close; calls that are complete are answered before."""
        self._is_deaf = True
        self._await(None)
        if not self._is_answering():
            self._close_with(error)
            return
        cycle = self.cycle
        if self.pipeline or not cycle.more_body:
            # The last call that was understood is answered; what came behind it is not.
            cycle.keep_alive = False
        elif cycle.response_started:
            self.transport.abort()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._close_with(error)

    def _close_with(self, error: RouterError) -> None:
        """Send the last words, then throw away what comes, lest they are lost with it."""
        self._is_deaf = True
        if self._timer is not None:
            self._timer.cancel()
        self.transport.write(_response(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_S, self.transport.abort)


def connection_of(scope: MutableMapping[str, Any]) -> GuardedProtocol | None:
    """The connection that a call came on; None where another server calls the application."""
    extensions = scope.get("extensions")
    return extensions[STATE][STATE] if extensions and STATE in extensions else None


def _size_of(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def _response(error: RouterError) -> bytes:
    status, body = problem(error)
    headers = dict(problem_headers(error)) | {
        b"content-type": PROBLEM_TYPE,
        b"content-length": str(len(body)).encode(),
        b"connection": b"close",
    }
    lines = [name + b": " + value + b"\r\n" for name, value in headers.items()]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", body])
