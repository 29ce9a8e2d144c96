"""A router that answers as a script says, for faults that a real one does not show on demand."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from threaded_server import in_thread

DECIDED = {"decision_id": "d1", "model": "large"}


class Answer(NamedTuple):
    """What to say next: a status and its JSON, after a pause; status 0 hangs up."""

    status: int = 200
    content: Any = DECIDED
    pause_s: float = 0.0


class Scripted:
    """What a script still has to say, and what was asked of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Answer] = []
        self.asked: list[dict[str, Any]] = []


@contextmanager
def scripted_router() -> Iterator[Scripted]:
    """A scripted router; where the script is over it decides."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            script.asked.append(json.loads(body))
            answer = script.answers.pop(0) if script.answers else Answer()
            time.sleep(answer.pause_s)
            if answer.status == 0:
                self.close_connection = True
                return
            self.said(answer.status, answer.content)

        def do_GET(self) -> None:
            self.said(404, {})

        def said(self, status: int, content: Any) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            if status == 429:
                self.send_header("retry-after", "7")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script = Scripted(f"http://127.0.0.1:{server.server_port}")
    with in_thread(server):
        yield script
