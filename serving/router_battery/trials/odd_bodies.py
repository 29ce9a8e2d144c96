"""Bodies that nobody should send: each is refused or read, and the server goes on."""

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from router_battery.client import END_OF_HEAD
from router_battery.servers import Server, is_ready, rss_kb, serving
from router_battery.trial import Scale, Tried, Value, not_zero

LIMIT = 8 << 20
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'


class Body(Struct, frozen=True):
    """A body, how it is sent, and the statuses that are right."""

    name: str
    content: bytes
    right: tuple[int, ...]
    headers: bytes = b""
    path: str = "/route"
    is_chunked: bool = False


def bodies(scale: Scale) -> Iterator[Body]:
    """All of them."""
    n = scale.of(1_000_000, 20_000)
    deep = scale.of(1_000_000, 100_000)
    refused = (400, 422)
    yield Body("limit + 1 byte, declared", _padded(LIMIT + 1), (413,))
    yield Body("limit + 1 byte, in chunks", _padded(LIMIT + 1), (413,), is_chunked=True)
    yield Body("exactly the limit", _padded(LIMIT), (200,))
    zipped = gzip.compress(bytes(scale.of(1 << 30, 64 << 20)), 9)
    yield Body("gzip bomb", zipped, (415, 400, 413), b"content-encoding: gzip\r\n")
    yield Body("gzip bomb, unsaid", zipped[:LIMIT], refused)
    yield Body("deep arrays", b'{"messages":' + b"[" * deep, refused)
    yield Body("deep arrays, closed", b'{"messages":' + b"[" * deep + b"]" * deep + b"}", refused)
    nested = b'{"a":' * deep + b"1" + b"}" * deep
    yield Body("deep objects in a tool", b'{%b,"tools":[%b]}' % (MESSAGES, nested), (200, *refused))
    many = b",".join(b'"k%d":0' % number for number in range(n // 2))
    yield Body(
        "a million keys" if not scale.is_short else "many keys",
        b"{%b,%b}" % (MESSAGES, many),
        (200, *refused),
    )
    yield Body("bad UTF-8", b'{"messages":[{"role":"user","content":"\xff\xfe"}]}', (400, 422, 200))
    yield Body(
        "half of a UTF-8 sequence", b'{"messages":[{"role":"user","content":"\xe2\x82', (400,)
    )
    for name, text in (("lone high surrogate", rb"\ud800"), ("lone low surrogate", rb"\udc00 x")):
        chat = b'{"messages":[{"role":"user","content":"%b"}]}' % text
        yield Body(name, chat, (200, *refused))
        ids = b'{"request":{%b},"caller":{"tenant":"%b","user":"%b"}}' % (MESSAGES, text, text)
        yield Body(f"{name} in a name", ids, (200, *refused))
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000):
        asked = b'{"request":{%b},"policy":{"min_adequacy":%b}}' % (MESSAGES, number)
        yield Body(f"min_adequacy {number[:12].decode()}", asked, refused)
        sent = b'{%b,"max_tokens":%b,"temperature":%b}' % (MESSAGES, number, number)
        yield Body(f"max_tokens {number[:12].decode()}", sent, (200, *refused))
        cost = b'{"decision_id":"d","model":"m","cost_usd":%b}' % number
        yield Body(f"cost_usd {number[:12].decode()}", cost, refused, path="/outcomes")
    yield Body("duplicate keys", b"{%b,%b}" % (MESSAGES, MESSAGES), (200, *refused))
    twice = (
        b'{"request":{%b},"policy":{"models":["no-such"],"models":["claude-haiku-4-5"]}}' % MESSAGES
    )
    yield Body("duplicate keys in a policy", twice, (200, *refused))
    yield Body("zero bytes", bytes(1000), (400,))
    yield Body("a byte-order mark", b"\xef\xbb\xbf{%b}" % MESSAGES, (200, 400))
    yield Body("UTF-16", json.dumps({"messages": []}).encode("utf-16"), (400,))
    yield from _shapes()


def _shapes() -> Iterator[Body]:
    for text in (b"", b" ", b"null", b"[]", b"{}", b"0", b'""', b"true", b'{"request":null}'):
        yield Body(f"the body {text.decode()!r}", text, (400, 422))
        yield Body(f"outcomes {text.decode()!r}", text, (400, 422), path="/outcomes")


def run(scale: Scale, folder: Path) -> Tried:
    """Send each body on a connection of its own, then ask for a plain decision."""
    seen: dict[str, Value] = {}
    wrong = []
    n_silent = 0
    with serving(folder / "state", settings={"max_body_bytes": str(LIMIT)}) as server:
        before_kb = rss_kb(server.pids[0])
        for body in bodies(scale):
            scale.say(body.name)
            status = sent(server, body)
            seen[body.name] = status
            if status not in body.right:
                wrong.append(f"{body.name}: {status}")
            plain = Body("plain", b"{%b}" % MESSAGES, (200,))
            n_silent += sent(server, plain) != 200 or not is_ready(server.port)
        seen["growth of memory MB"] = round((rss_kb(server.pids[0]) - before_kb) / 1024)
        n_failed = server.events("request.failed")
        exit_code = server.stop()
    return Tried(
        tried={"bodies": len(seen) - 1},
        seen=seen,
        failed=[
            *wrong,
            *not_zero(
                times_without_an_answer_afterwards=n_silent,
                unexpected_errors=n_failed,
                exit_code=exit_code,
            ),
        ],
    )


def sent(server: Server, body: Body) -> int:
    """The status of the answer; 0 when there is none."""
    length = b"content-length: %d" % len(body.content)
    framing = b"transfer-encoding: chunked" if body.is_chunked else length
    head = b"POST %b HTTP/1.1\r\nhost: x\r\n%b%b" % (body.path.encode(), body.headers, framing)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        try:
            connection.sendall(head + END_OF_HEAD)
            for part in _parts(body):
                connection.sendall(part)
        except OSError:  # refused before it was read: the answer is there
            pass
        try:
            answer = connection.recv(4096)
        except OSError:
            return 0
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def _parts(body: Body) -> Iterator[bytes]:
    if not body.is_chunked:
        yield body.content
        return
    size = 1 << 16
    for start in range(0, len(body.content), size):
        part = body.content[start : start + size]
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def _padded(length: int) -> bytes:
    """A chat request of exactly this many bytes."""
    frame = b'{%b,"user":""}' % MESSAGES
    return frame[:-2] + b"x" * (length - len(frame)) + b'"}'
