"""What comes over the wire that is no proper HTTP, or comes too slowly, or too often."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from raw_http import connected, post, sent, told
from serving_process import CHAT, Server, requires_starter, serving, wait_for

pytestmark = [pytest.mark.service, requires_starter]

BODY = json.dumps(CHAT).encode()
HEAD = b"POST /route HTTP/1.1\r\nhost: x\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("hostile") / "state"
    with serving(state, header_timeout_s="1", body_timeout_s="2", max_connections="40") as running:
        yield running


@pytest.fixture
def port(server: Server) -> int:
    return server.http.base_url.port or 0


MALFORMED = {
    "garbage": b"\x00\xff\xfe garbage \r\n\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"A" * 500,
    "no request line": b"HELLO\r\n\r\n",
    "an unknown method": b"FROB /route HTTP/1.1\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\n\r\n",
    "a tunnel": b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path in another encoding": b"GET /h\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "two lengths": HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "a length and chunks": HEAD
    + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": HEAD + b"content-length: -5\r\n\r\n",
    "a length beyond 64 bits": HEAD + b"content-length: " + b"9" * 30 + b"\r\n\r\n",
    "a length of 5000 digits": HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\n",
    "a chunk without a size": CHUNKED + b"ZZ\r\nhello\r\n0\r\n\r\n",
    "a chunk without an end": CHUNKED + b"5\r\nhelloX0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"FFFFFFFFFFFFFFFFFF\r\n",
    "bare line feeds": b"GET /healthz HTTP/1.1\nhost: x\n\n",
    "NUL in a header": b"GET /healthz HTTP/1.1\r\nhost: x\x00y\r\n\r\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_http_gets_400_and_is_closed(port: int, data: bytes) -> None:
    answer = sent(port, data, until_closed=True)
    assert answer.statuses == (400,)
    assert b"application/problem+json" in answer.received
    assert b'"code":"malformed_http"' in answer.received
    assert b"connection: close" in answer.received


TOO_LARGE = {
    "one header": GET + b"x: " + b"a" * 70_000 + b"\r\n\r\n",
    "one header of a megabyte without an end": GET + b"x: " + b"a" * 1_000_000,
    "many headers": GET + b"x: y\r\n" * 20_000 + b"\r\n",
    "a path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    "empty lines": b"\r\n" * 100_000,
}


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_a_head_of_more_than_64_kb_gets_431_and_is_closed(port: int, data: bytes) -> None:
    answer = sent(port, data, until_closed=True)
    assert answer.statuses == (431,)
    assert b'"code":"headers_too_large"' in answer.received


def test_a_head_within_the_limit_is_read_and_a_large_body_behind_it_does_not_count(
    port: int,
) -> None:
    assert sent(port, GET + b"x: " + b"a" * 60_000 + b"\r\n\r\n").statuses == (200,)
    assert sent(port, post(b" " * 200_000 + BODY)).statuses == (200,)


def test_headers_behind_a_body_are_not_kept_and_not_endless(port: int) -> None:
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    assert sent(port, CHUNKED + chunk + b"x: y\r\n" * 10_000 + b"\r\n").statuses == (200,)
    for endless in (b"x: y\r\n" * 4_000_000, b"x: " + b"y" * 24_000_000):
        answer = sent(port, CHUNKED + chunk + endless, until_closed=True)
        assert answer.statuses in ((413,), (408,))


def test_garbage_behind_a_call_does_not_take_its_answer(port: int) -> None:
    answer = sent(port, post(BODY) + b"\x00\x01 garbage\r\n\r\n", until_closed=True)
    assert answer.statuses == (200,)


def test_calls_sent_without_waiting_are_answered_in_order_as_far_as_they_may(port: int) -> None:
    assert sent(port, post(BODY) * 3, n=3).statuses == (200, 200, 200)
    many = sent(port, (GET + b"\r\n") * 5_000, until_closed=True)
    assert 1 < len(many.statuses) < 100
    assert set(many.statuses) == {200}


def test_a_wish_for_another_protocol_is_not_granted(port: int) -> None:
    wish = b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    assert sent(port, GET + wish, until_closed=True).statuses == (200,)


@pytest.mark.parametrize("path", ["/route", "/authz/v1/messages", "/outcomes"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, gzip", "nonsense"])
def test_a_content_encoding_is_refused_by_name(port: int, path: str, encoding: str) -> None:
    answer = sent(port, post(BODY, f"content-encoding: {encoding}", path=path))
    assert answer.statuses == (415,)
    assert b"expected identity" in answer.received
    assert b'"field":"content-encoding"' in answer.received


def test_identity_is_no_encoding(port: int) -> None:
    assert sent(port, post(BODY, "content-encoding: identity")).statuses == (200,)


def test_a_body_is_asked_for_before_it_is_sent(port: int) -> None:
    answer = sent(port, post(BODY, "expect: 100-continue"))
    assert answer.received.startswith(b"HTTP/1.1 100")
    assert answer.statuses == (200,)


def test_one_byte_over_the_limit_is_refused_declared_and_chunked(port: int) -> None:
    limit = 8 * 1024 * 1024
    over = b"x" * (limit + 1)
    assert sent(port, HEAD + b"content-length: %d\r\n\r\n" % len(over)).statuses == (413,)
    assert sent(port, CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(over), over)).statuses == (413,)
    at = sent(port, CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (limit, over[:limit]))
    assert at.statuses == (400,)  # read to its end, and no JSON


def test_a_caller_that_sends_nothing_is_closed_without_a_word(port: int) -> None:
    assert sent(port, b"", until_closed=True).received == b""


@pytest.mark.parametrize("begun", [b"POST /rou", GET, GET + b"x: y"])
def test_a_head_that_does_not_end_gets_408(port: int, begun: bytes) -> None:
    answer = sent(port, begun, until_closed=True)
    assert answer.statuses == (408,)
    assert b"ROUTER_HEADER_TIMEOUT_S" in answer.received


def test_a_byte_now_and_then_buys_no_time_on_a_kept_connection(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(GET + b"\r\n")
        assert told(connection).statuses == (200,)
        with suppress(BrokenPipeError, ConnectionResetError):
            for byte in GET * 3:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert told(connection, until_closed=True).is_closed


@pytest.mark.parametrize("path", ["/route", "/outcomes", "/authz/v1/messages"])
@pytest.mark.parametrize("n_sent", [0, 10])
def test_a_body_that_does_not_end_gets_408(port: int, path: str, n_sent: int) -> None:
    whole = post(BODY, path=path)
    answer = sent(port, whole[: len(whole) - len(BODY) + n_sent], until_closed=True)
    assert answer.statuses == (408,)
    assert b'"code":"request_timeout"' in answer.received
    assert b"ROUTER_BODY_TIMEOUT_S" in answer.received


def test_a_kept_connection_may_rest_for_longer_than_a_head_may_take(port: int) -> None:
    with connected(port) as connection:
        for _ in range(2):
            connection.sendall(post(BODY))
            assert told(connection).statuses == (200,)
            time.sleep(2.5)


def test_a_caller_that_never_reads_is_let_go(server: Server, port: int) -> None:
    before = server.metric("router_connections_closed_total", cause="write_timeout")
    with connected(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        ask = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"

        def is_let_go() -> bool:
            try:
                connection.send(ask * 10)
            except BlockingIOError:
                pass
            except OSError:
                return True
            now = server.metric("router_connections_closed_total", cause="write_timeout")
            return now > before

        wait_for(is_let_go)


def test_beyond_the_limit_a_connection_is_refused_and_quiet_ones_make_room(
    server: Server, port: int
) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connected(port)) for _ in range(60)]
        wait_for(lambda: sent(port, post(BODY)).statuses in ((503,), ()))
        refused = [c for c in held if _refusal(c, post(BODY))]
        assert refused
        time.sleep(1.2)  # the held ones have been quiet for long enough
        wait_for(lambda: sent(port, post(BODY)).statuses == (200,))
    wait_for(lambda: server.metric("router_connections") < 10)
    assert server.metric("router_connections_closed_total", cause="over_limit") > 0
    assert sent(port, post(BODY)).statuses == (200,)


def _refusal(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
        answer = told(connection)
    except OSError:
        return False
    return answer.statuses == (503,) and b"retry-after: 1" in answer.received


def test_nothing_of_all_this_is_in_the_log_as_a_failure(server: Server) -> None:
    text = server.stderr.read_text()
    for word in ("Traceback", "Exception", "Invalid HTTP", "Unsupported upgrade", '"error"'):
        assert word not in text
    assert server.metric("router_problems_total", code="internal_error") == 0
    assert server.http.get("/readyz").status_code == 200
