"""A local provider: a real HTTP server in four shapes, that records what it received.

It needs the standard library alone, so it also runs in the environment of a gateway:
`python upstream.py --port 9100` serves until it is stopped, and `GET /received` tells what came.
"""

import argparse
import json
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # when it runs as a program in isolated mode

from threaded_server import in_thread
from upstream_anthropic import MESSAGES
from upstream_gemini import GEMINI
from upstream_openai import CHAT, RESPONSES
from upstream_script import Asked, Said, fault_of, say
from upstream_wire import Dialect, Used

HANG_S = 60.0
SLOW_S = 1.0
STATUSES = {"500": 500, "429": 429, "400": 400}
_FIXED_TOKENS = 16


@dataclass(frozen=True)
class Received:
    """One request as it came; the names of headers are in lower case."""

    path: str
    model: str
    stream: bool
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class Upstream:
    """The state of the server.

    `commands` are run one after the other by the client's shell-like tool, before the final text.
    `kept` are the prefixes that gateways store at Gemini before they ask.
    A fault of `faults[model]` holds for its next `times` calls; one in the model's name for all.
    """

    commands: Sequence[str] = ("echo hello",)
    received: list[Received] = field(default_factory=list)
    faults: dict[str, tuple[str, int]] = field(default_factory=dict)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    url: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    _known: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, model: str, fault: str, *, times: int = 1) -> None:
        """Have the next calls of a model fail."""
        self.faults[model] = (fault, times)

    @property
    def models(self) -> list[str]:
        """The models of all requests so far."""
        return [one.model for one in self.received]

    def take(self, received: Received) -> str:
        """Record a request and return its fault."""
        with self._lock:
            self.received.append(received)
            fault, times = self.faults.get(received.model, ("", 0))
            if times <= 0:
                return fault_of(received.model)
            self.faults[received.model] = (fault, times - 1)
            return fault

    def keep(self, body: dict[str, Any]) -> dict[str, Any]:
        """Store a prefix; returns what Gemini says of it."""
        name = f"cachedContents/{len(self.kept)}"
        self.kept[name] = body
        tokens = len(json.dumps(body)) // 4
        return {"name": name, "model": body["model"], "usageMetadata": {"totalTokenCount": tokens}}

    def completed(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with the prefix that it refers to."""
        kept = self.kept.get(body.get("cachedContent", ""))
        if kept is None:
            return body
        contents = [*kept.get("contents", ()), *body.get("contents", ())]
        return {**kept, **body, "contents": contents}

    def usage(self, asked: Asked, raw: bytes, said: Said) -> Used:
        """Three quarters are read from the cache when a model has seen the start before."""
        n_input = len(raw) // 4 + _FIXED_TOKENS
        with self._lock:
            is_known = (asked.model, asked.start) in self._known
            self._known.add((asked.model, asked.start))
        n_cached = n_input * 3 // 4 if is_known else 0
        n_written = n_input // 2 if not is_known and b"cache_control" in raw else 0
        return Used(n_input, n_cached, n_written, said.n_tokens)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: Upstream

    def do_GET(self) -> None:  # the name that http.server calls
        if self.path == "/received":
            self._json(200, {"received": [asdict(one) for one in self.upstream.received]})
        elif self.path.endswith("/models"):
            self._json(200, {"object": "list", "data": []})
        elif self.path.partition("?")[0].endswith("cachedContents"):
            self._json(200, {})
        else:
            self._json(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:  # the same
        raw = self._body()
        if self.path.partition("?")[0].endswith("/count_tokens"):
            self._json(200, {"input_tokens": len(raw) // 4 + _FIXED_TOKENS})
            return
        body = json.loads(raw)
        if self.path.partition("?")[0].endswith("cachedContents"):
            self._json(200, self.upstream.keep(body))
            return
        dialect = dialect_of(self.path)
        if dialect is None:
            self._json(404, {"error": {"message": f"no such path: {self.path}"}})
            return
        body = self.upstream.completed(body)
        asked = dialect.read(body, self.path.partition("?")[0])
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Received(self.path, asked.model, asked.stream, body, headers)
        self._answer(dialect, asked, raw, self.upstream.take(seen))

    def _answer(self, dialect: Dialect, asked: Asked, raw: bytes, fault: str) -> None:
        if fault in ("hang", "slow"):
            self.upstream.stopped.wait(HANG_S if fault == "hang" else SLOW_S)
        if status := STATUSES.get(fault):
            self._json(status, dialect.error(status, f"the fault {fault} of {asked.model}"))
            return
        said = say(asked, self.upstream.commands, fault=fault)
        used = self.upstream.usage(asked, raw, said)
        if asked.stream:
            self._stream(list(dialect.events(asked.model, said, used)), is_cut=fault == "cut")
        else:
            self._json(200, dialect.whole(asked.model, said, used), is_cut=fault == "cut")

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _json(self, status: int, content: Any, *, is_cut: bool = False) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if status == 429:
            self.send_header("retry-after", "1")
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if is_cut else data)
        if is_cut:
            self._cut()

    def _stream(self, events: list[bytes], *, is_cut: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events[: len(events) // 2] if is_cut else events:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        if is_cut:
            self._cut()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the client has gone

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as it is called
        """Say nothing on stderr."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def dialect_of(path: str) -> Dialect | None:
    """The dialect that a path speaks, None for any other path."""
    bare = path.partition("?")[0]
    if ":generateContent" in bare or ":streamGenerateContent" in bare:
        return GEMINI
    ends = {"/chat/completions": CHAT, "/messages": MESSAGES, "/responses": RESPONSES}
    return next((dialect for end, dialect in ends.items() if bare.endswith(end)), None)


@contextmanager
def serving_upstream(
    commands: Sequence[str] = ("echo hello",), *, port: int = 0
) -> Iterator[Upstream]:
    """A running upstream, at `url`."""
    upstream = Upstream(commands)
    handler = type("Handler", (_Handler,), {"upstream": upstream})
    server = _Server(("127.0.0.1", port), handler)
    upstream.url = f"http://127.0.0.1:{server.server_address[1]}"
    with in_thread(server):
        try:
            yield upstream
        finally:
            upstream.stopped.set()


def main() -> None:
    """Serve until stopped; the first line on stdout is the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--command", action="append", help="one that the agent runs, repeatable")
    given = parser.parse_args()
    with serving_upstream(given.command or ("echo hello",), port=given.port) as upstream:
        sys.stdout.write(upstream.url + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
