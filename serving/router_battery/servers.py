"""Servers in processes of their own, which may be killed."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router_data.store import Store

READY_S = 120.0
PAUSE_S = 0.01


@dataclass
class Server:
    """A server's process group, its port and its state folder."""

    process: subprocess.Popen[bytes]
    port: int
    state: Path
    stderr: Path

    @property
    def pids(self) -> list[int]:
        """The processes that answer: the workers, or the only one."""
        main = self.process.pid
        # Workers are forked; other children run other programs.
        workers = [pid for pid in children(main) if _command_line(pid) == _command_line(main)]
        return workers or [main]

    def send(self, number: int) -> None:
        """Send a signal to the main process."""
        self.process.send_signal(number)

    def kill_all(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to every process of the group."""
        os.killpg(self.process.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.send(number)
        return self.process.wait(60)

    def n_started(self) -> int:
        """How many processes have said so far that they serve."""
        return self.stderr.read_bytes().count(b"service.started")

    def events(self, name: str) -> int:
        """How often an event is in the log lines."""
        return self.stderr.read_bytes().count(f'"event": "{name}"'.encode())

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The answer of the log's store to a query."""
        with Store(self.state / "log") as store:
            return store.query(sql)


@contextmanager
def serving(
    state: Path,
    *arguments: str,
    port: int | None = None,
    settings: Mapping[str, str] = {},
    variables: Mapping[str, str] = {},
) -> Iterator[Server]:
    """A server that is ready; whatever is left of it at the end is killed."""
    server = launched(state, *arguments, port=port, settings=settings, variables=variables)
    try:
        wait_ready(server)
        yield server
    finally:
        ended(server)


def launched(
    state: Path,
    *arguments: str,
    port: int | None = None,
    settings: Mapping[str, str] = {},
    variables: Mapping[str, str] = {},
) -> Server:
    """A server that was just started, on a port that stays its own over restarts."""
    chosen = port or free_port()
    state.parent.mkdir(parents=True, exist_ok=True)
    stderr = state.parent / f"{state.name}.stderr"
    options = ["--port", str(chosen), "--state-dir", str(state), *arguments]
    with stderr.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "router_serving", *options],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment(settings) | dict(variables),
            start_new_session=True,
        )
    return Server(process, chosen, state, stderr)


def environment(settings: Mapping[str, str] = {}) -> dict[str, str]:
    """The environment of a server: none of the caller's own settings."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("ROUTER_")}
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return inherited | threads | {f"ROUTER_{name.upper()}": v for name, v in settings.items()}


def ended(server: Server) -> None:
    """Kill what is left of a server."""
    with suppress(ProcessLookupError):
        server.kill_all()
    server.process.wait(60)


def wait_ready(server: Server, *, seconds: float = READY_S) -> float:
    """Seconds until /readyz said yes."""
    began = time.monotonic()
    wait_for(lambda: _alive(server) and is_ready(server.port), seconds=seconds)
    return time.monotonic() - began


def is_ready(port: int) -> bool:
    """True when /readyz answers 200 on a connection of its own."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], *, seconds: float = READY_S) -> None:
    """Return once the condition holds; TimeoutError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(PAUSE_S)


def free_port() -> int:
    """A free port outside of the range that clients' own ends are taken from.

    A client that tries a port of that range while its server is down may be connected to itself.
    """
    rng = random.SystemRandom()
    while True:
        port = rng.randrange(15_000, 30_000)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def children(pid: int) -> list[int]:
    """The processes that a process started and that live."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in found]


def rss_kb(pid: int) -> int:
    """Resident memory of a process in kB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def n_descriptors(pid: int) -> int:
    """Open file descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  # names only


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _alive(server: Server) -> bool:
    code = server.process.poll()
    if code is not None:
        raise ChildProcessError(
            f"the server ended with {code}: {server.stderr.read_text(errors='replace')[-500:]}"
        )
    return True
