"""A server of the standard library that runs in a thread, for a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer

POLL_S = 0.02


@contextmanager
def in_thread(server: BaseServer) -> Iterator[None]:
    """Serve meanwhile; at the end its thread is over and its port is free."""
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
