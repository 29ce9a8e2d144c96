"""A small HTTP/1.1 client that tells how a connection ended."""

import asyncio
from typing import Literal

from msgspec import Struct

END_OF_HEAD = b"\r\n\r\n"
How = Literal["refused", "unanswered", "half"]


class BrokenError(Exception):
    """The call got no whole answer.

    `refused`: no connection. `unanswered`: closed before the first byte of an answer. `half`:
    closed within an answer.
    """

    def __init__(self, how: How) -> None:
        super().__init__(how)
        self.how = how


class Answer(Struct, frozen=True):
    """A whole answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One kept connection; opened by the first call, and again by the call after a break."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, path: str, body: bytes = b"", *, headers: str = "") -> Answer:
        """The whole answer, or BrokenError; `headers` are whole lines, each with its end."""
        reader, writer = await self._opened()
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}"
        message = head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
        try:
            writer.write(message)
            answer = await read_answer(reader)
        except BrokenError:
            self.close()
            raise
        except asyncio.CancelledError:
            self.close()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            try:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                raise BrokenError("refused") from None
        return self._streams


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer of a stream; BrokenError when it ends before."""
    try:
        head = await reader.readuntil(END_OF_HEAD)
    except asyncio.IncompleteReadError as error:
        raise BrokenError("half" if error.partial else "unanswered") from None
    except OSError:
        raise BrokenError("unanswered") from None
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    try:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, OSError):
        raise BrokenError("half") from None
    return Answer(int(lines[0].split(" ", 2)[1]), headers, body)
