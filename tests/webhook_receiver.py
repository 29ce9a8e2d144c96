"""A real HTTP receiver of notices, for the tests."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from threaded_server import in_thread


class Receiver:
    """What was posted, and how it answers: each status once, then the last one for ever."""

    def __init__(self, server: ThreadingHTTPServer, statuses: Sequence[int]) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}/hook/secret-token"
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.released = threading.Event()
        self.released.set()
        self._statuses = list(statuses)

    def take(self, path: str, body: bytes) -> int:
        """Remember a call and return the status to answer with."""
        self.paths.append(path)
        if body:
            self.bodies.append(json.loads(body))
        self.released.wait(30)
        return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]

    def kinds(self) -> list[str]:
        """The kinds of what was posted, in order."""
        return [body["kind"] for body in self.bodies]


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    """A receiver on a free port; it answers 200 unless told otherwise."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            self.answer(body)

        def do_GET(self) -> None:
            self.answer(b"")

        def answer(self, body: bytes) -> None:
            status = receiver.take(self.path, body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(server, statuses or (200,))
    with in_thread(server):
        try:
            yield receiver
        finally:
            receiver.released.set()
