"""Real gateways in processes of their own, with the shipped example files."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from serving_process import START_S, wait_for

ROOT = Path(__file__).parent.parent
GATEWAYS = ROOT / ".gateways"
EXAMPLES = ROOT / "serving" / "examples"
# Other than what is shipped, for machines that are busy with other tests.
PATIENT_MS = 20_000
FALLBACK = "claude-sonnet-5-5"


@dataclass(frozen=True)
class Gateway:
    """A running gateway: how to call it, and what it said."""

    http: httpx.Client
    log: Path


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def address_of(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


def placed(folder: Path, name: str, *, replaced: Mapping[str, str]) -> Path:
    """A copy of an example beside the shared Lua, with other values in its configuration.

    Each value has to be there: what is tested is what is shipped, apart from addresses.
    """
    shutil.copytree(EXAMPLES / "lua", folder / "lua", dirs_exist_ok=True)
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy)
    for old, new in replaced.items():
        files = [file for file in copy.iterdir() if old in file.read_text()]
        assert files, f"{old} stands in no file of {name}"
        for file in files:
            file.write_text(file.read_text().replace(old, new))
    return copy


@contextmanager
def running(
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    cwd: Path,
    ready: str = "/",
    seconds: float = START_S,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Gateway]:
    """A gateway that answers, stopped at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:

            def is_up() -> bool:
                assert process.poll() is None, log.read_text()
                return http.get(ready).status_code > 0

            wait_for(is_up, seconds=seconds)
            yield Gateway(http, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
