"""A real OTLP/HTTP collector in this process, as far as a test needs one."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from threaded_server import in_thread


class Receiver:
    """Where spans arrive."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.raw = b""
        self.address = ""

    def attributes(self, index: int = 0) -> dict[str, Any]:
        """The attributes of one span."""
        return {
            each.key: getattr(each.value, str(each.value.WhichOneof("value")))
            for each in self.spans[index].attributes
        }


@contextmanager
def receiving(*, status: int = 200) -> Iterator[Receiver]:
    """A collector on a free port; another `status` refuses everything."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.raw += body
            if status == 200:
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        receiver.spans.extend(scope.spans)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.address = f"http://127.0.0.1:{server.server_port}"
    with in_thread(server):
        yield receiver
