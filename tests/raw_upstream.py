"""A provider that keeps the bytes it got, and holds its stream back until it is told to go on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from threaded_server import in_thread

WAIT_S = 30.0
BEFORE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"one"}}]}\n\n'
AFTER = (
    b'data: {"choices":[{"index":0,"delta":{"content":" two"},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}\n\n'
    b"data: [DONE]\n\n"
)


@dataclass
class RawUpstream:
    """What came, as it came; `go_on` lets the second half of a stream out, behind `filler`."""

    url: str = ""
    filler: bytes = b""
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: RawUpstream

    def do_POST(self) -> None:  # the name that http.server calls
        body = self._body()
        self.upstream.paths.append(self.path)
        self.upstream.bodies.append(body)
        self.upstream.headers.append({k.lower(): v for k, v in self.headers.items()})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._chunk(BEFORE)
        self.upstream.go_on.wait(WAIT_S)
        self._chunk(self.upstream.filler + AFTER)
        self._chunk(b"")

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the gateway has gone

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as it is called
        """Say nothing on stderr."""


@contextmanager
def serving_raw() -> Iterator[RawUpstream]:
    """A running provider that does not hold its streams back, until `go_on` is cleared."""
    upstream = RawUpstream()
    upstream.go_on.set()
    handler = type("Handler", (_Handler,), {"upstream": upstream})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    upstream.url = f"http://127.0.0.1:{server.server_address[1]}"
    with in_thread(server):
        try:
            yield upstream
        finally:
            upstream.go_on.set()
