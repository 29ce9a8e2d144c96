"""A real server in a process of its own, for the service tests."""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from router_battery import servers
from router_data.store import Store
from router_model.artifact import STARTER, read_manifest, write_manifest

START_S = 60.0

requires_starter = pytest.mark.skipif(
    not (STARTER / "manifest.json").is_file(), reason=f"no starter artifact at {STARTER}"
)

CHAT = {
    "model": "auto",
    "messages": [
        {"role": "system", "content": "You are a coding agent."},
        {"role": "user", "content": "Fix the failing test in calc.py"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "read_file",
                "description": "Read a file",
                "parameters": {
                    "type": "object",
                    "properties": {"path": {"type": "string"}},
                    "required": ["path"],
                },
            },
        }
    ],
}
RESPONSES = {
    "model": "auto",
    "instructions": "You are a coding agent.",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "Fix the test"}]}],
}
ANTHROPIC = {
    "model": "auto",
    "max_tokens": 1000,
    "system": [{"type": "text", "text": "You are a coding agent."}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Fix the test"}]}],
}
GEMINI = {
    "systemInstruction": {"parts": [{"text": "You are a coding agent."}]},
    "contents": [{"role": "user", "parts": [{"text": "Fix the test"}]}],
}
BODIES: dict[str, Mapping[str, Any]] = {
    "openai.chat": CHAT,
    "openai.responses": RESPONSES,
    "anthropic.messages": ANTHROPIC,
    "gemini": GEMINI,
}


@dataclass(frozen=True)
class Server:
    """A running server: how to talk to it, and where its state lies."""

    process: subprocess.Popen[bytes]
    http: httpx.Client
    state: Path
    greeting: str
    stderr: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The answer of the log's store to a query."""
        with Store(self.state / "log") as store:
            return store.query(sql)

    def metric(self, name: str, **labels: str) -> float:
        """A sample of /metrics; 0 when it is not there."""
        shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        wanted = f"{name}{{{shown}}} " if shown else f"{name} "
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(wanted):
                return float(line.rpartition(" ")[2])
        return 0.0


def command(*arguments: str) -> list[str]:
    """The command line of a server on a free port."""
    return [sys.executable, "-m", "router_serving", "--port", "0", *arguments]


def environment(**settings: str) -> dict[str, str]:
    """The environment of a server, without settings of the shell that runs the tests."""
    return servers.environment(settings)


@contextmanager
def serving(state: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    """A server that is ready, and is stopped at the end."""
    stderr = state.parent / f"{state.name}.{time.monotonic_ns()}.stderr"
    with stderr.open("wb") as errors:
        process = subprocess.Popen(
            command("--state-dir", str(state), *arguments),
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(**settings),
        )
    assert process.stdout is not None
    try:
        first = process.stdout.readline().decode()
        found = re.search(r"http://\S+", first)
        assert found, first + stderr.read_text()
        with httpx.Client(base_url=found[0], timeout=30) as http:
            wait_for(lambda: http.get("/readyz").status_code == 200, seconds=START_S)
            yield Server(process, http, state, first, stderr)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        process.stdout.close()


def wait_for(condition: Callable[[], bool], *, seconds: float = START_S) -> None:
    """Return once the condition holds; fail when it does not in time.

    The time is ample: it is only spent where a test fails, and machines may be busy.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def copied_artifact(
    folder: Path, *, note: str = "", policy: Mapping[str, float | int] | None = None
) -> str:
    """Put a copy of the starter into `folder`; a note gives it a version of its own.

    With a note, settings in `policy` replace those of the starter.
    """
    temporary = folder.with_name(folder.name + ".new")
    shutil.copytree(STARTER, temporary)
    if note:
        (temporary / "NOTE.txt").write_text(note)
        old = read_manifest(temporary)
        write_manifest(
            temporary,
            created=old.created,
            feature_schema=old.feature_schema,
            encoder=old.encoder,
            policy={**old.policy, **(policy or {})},
            metrics=old.metrics,
            lineage=old.lineage,
        )
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.{time.monotonic_ns()}"))
    temporary.rename(folder)
    return read_manifest(folder).version


def flip_a_byte(path: Path) -> None:
    """Change one byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(bytes(data))
