"""One call on a kept connection, by a client that costs little itself."""

import socket
from time import perf_counter_ns

END_OF_HEAD = b"\r\n\r\n"


def post_us(connection: socket.socket, body: bytes) -> float:
    """Microseconds from the first byte of POST /route sent to the last one of a 200 received."""
    head = f"POST /route HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}"
    message = head.encode() + END_OF_HEAD + body
    began = perf_counter_ns()
    connection.sendall(message)
    answer = connection.recv(65_536)
    while not is_complete(answer):
        received = connection.recv(65_536)
        assert received, f"the server hung up after {answer!r}"
        answer += received
    taken_ns = perf_counter_ns() - began
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return taken_ns / 1000


def is_complete(answer: bytes) -> bool:
    r"""True when the whole of an answer with a content-length is there.

    >>> is_complete(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{")
    False
    >>> is_complete(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    True
    """
    head, end, content = answer.partition(END_OF_HEAD)
    _, _, length = head.lower().partition(b"content-length:")
    return bool(end) and len(content) >= int(length.split(b"\r\n")[0])
