"""HTTP as bytes on a socket, for what no client library would send."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

WAIT_S = 30.0


@dataclass(frozen=True)
class Told:
    """What a server sent: the status of each answer, all bytes, and whether it closed."""

    statuses: tuple[int, ...]
    received: bytes
    is_closed: bool


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection to a local server, closed at the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
        yield connection


def told(connection: socket.socket, *, n: int = 1, until_closed: bool = False) -> Told:
    """What the server sends until `n` answers are whole, or until it closes the connection."""
    received, deadline = b"", time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if not until_closed and len(_answers(received)) >= n:
            return Told(_answers(received), received, is_closed=False)
        try:
            data = connection.recv(65_536)
        except ConnectionResetError:
            data = b""
        if not data:
            return Told(_answers(received), received, is_closed=True)
        received += data
    raise AssertionError(f"not in time: {received[:200]!r}")


def sent(port: int, data: bytes, *, n: int = 1, until_closed: bool = False) -> Told:
    """What the server answers to these bytes; it may close before it has taken them all."""
    with connected(port) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return told(connection, n=n, until_closed=until_closed)


def post(body: bytes, *headers: str, path: str = "/route") -> bytes:
    """A POST with its length."""
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _answers(received: bytes) -> tuple[int, ...]:
    """The statuses of the whole answers in what was received."""
    statuses: list[int] = []
    while True:
        head, found, rest = received.partition(b"\r\n\r\n")
        if not found:
            return tuple(statuses)
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            received = rest
            continue
        lower = head.lower()
        length = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return tuple(statuses)
        statuses.append(status)
        received = rest[length:]
