import asyncio
from collections.abc import Sequence

import pytest

from router_serving.asgi import (
    Message,
    header_value,
    headers_of,
    query_flag,
    read_body,
    respond,
    respond_problem,
)
from router_serving.errors import ClientGoneError, PayloadTooLargeError


def read(chunks: Sequence[bytes], *, limit: int, content_length: str | None = None) -> bytes:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": i < len(chunks) - 1}
        for i, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return asyncio.run(read_body(receive, limit=limit, content_length=content_length))


def test_chunks_are_joined() -> None:
    assert read([b"ab", b"", b"cd"], limit=4) == b"abcd"


def test_a_body_at_the_limit_is_read() -> None:
    assert read([b"abcd"], limit=4, content_length="4") == b"abcd"


@pytest.mark.parametrize("chunks", [[b"abcde"], [b"ab", b"cde"], [b"ab", b"cd", b"e"]])
def test_a_body_over_the_limit_is_refused_however_it_is_cut(chunks: list[bytes]) -> None:
    with pytest.raises(PayloadTooLargeError):
        read(chunks, limit=4)


def test_a_declared_length_over_the_limit_is_refused_before_reading() -> None:
    with pytest.raises(PayloadTooLargeError):
        read([], limit=4, content_length="5")


@pytest.mark.parametrize("declared", ["-1", "five", "\u00b2", ""])
def test_a_senseless_declared_length_is_not_trusted(declared: str) -> None:
    assert read([b"ab"], limit=4, content_length=declared) == b"ab"


def test_a_caller_that_hangs_up_gets_no_answer() -> None:
    with pytest.raises(ClientGoneError):
        read([], limit=4)


def test_header_names_and_values_are_text() -> None:
    scope = {"headers": [(b"a", b"1"), (b"b", b"\xe9"), (b"a", b"2")]}
    assert headers_of(scope) == {"a": "2", "b": "é"}


def test_a_header_value_can_not_start_a_new_header() -> None:
    assert header_value("a\r\nx-evil: 1") == b"a??x-evil: 1"
    assert len(header_value("x" * 5000)) == 1000


@pytest.mark.parametrize(
    ("query", "expected"),
    [(b"", False), (b"timing=1", True), (b"a=2&timing=1", True), (b"timing=10", False)],
)
def test_a_flag_is_read_from_the_query(query: bytes, expected: bool) -> None:
    assert query_flag({"query_string": query}, b"timing") is expected


def test_a_response_has_its_length_and_type() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(respond(send, 200, b"{}"))
    asyncio.run(respond_problem(send, 503, b"{}"))
    assert (b"content-length", b"2") in sent[0]["headers"]
    assert (b"content-type", b"application/problem+json") in sent[2]["headers"]
