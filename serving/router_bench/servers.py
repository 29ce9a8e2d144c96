"""The two servers that are compared, each in a process of its own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 60.0
# Without it glibc gives the memory of a large body back after each call: half the time of the
# floor at 400 KB went into page faults. Both servers get it.
MEMORY = {"MALLOC_TOP_PAD_": str(16 * 1024 * 1024)}
SERVICE = ("router_serving", "--port", "0", "--state-dir")
FLOOR = (
    *("uvicorn", "router_bench.floor:app", "--host", "127.0.0.1", "--port", "0"),
    *("--loop", "uvloop", "--http", "httptools", "--ws", "none", "--lifespan", "off"),
    *("--no-access-log", "--no-server-header", "--no-date-header"),
)


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    pid: int

    def minor_faults(self) -> int:
        """Page faults without disk so far; 0 where /proc is missing."""
        path = Path(f"/proc/{self.pid}/stat")
        # The second field is the command's name, which may hold spaces.
        return int(path.read_text().rpartition(")")[2].split()[7]) if path.is_file() else 0


@contextmanager
def started(module: Sequence[str], *, log: Path) -> Iterator[Server]:
    """A server on a free port, which it has said in its log."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | MEMORY | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        deadline = time.monotonic() + START_S
        while not (found := re.search(r"http://[0-9.]+:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"not in time: {log.read_text()}"
            time.sleep(0.05)
        yield Server(int(found[1]), process.pid)
    finally:
        process.terminate()
        process.wait(30)
