import asyncio
from collections.abc import Sequence

import pytest

from router_model.errors import InvalidRequestError
from router_serving.asgi import (
    Bodies,
    Message,
    Receive,
    header_value,
    headers_of,
    query_flag,
    respond,
    respond_problem,
)
from router_serving.errors import (
    ClientGoneError,
    EncodingError,
    OverloadedError,
    PayloadTooLargeError,
)


def receiving(chunks: Sequence[bytes]) -> Receive:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": i < len(chunks) - 1}
        for i, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


def read(
    chunks: Sequence[bytes], *, limit: int = 4, max_arriving: int = 100, **headers: str
) -> bytes:
    bodies = Bodies(limit, max_arriving=max_arriving)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        return asyncio.run(bodies.read(receiving(chunks), named))
    finally:
        assert bodies.arriving == 0


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


def test_a_declared_length_of_more_digits_than_numbers_have_is_refused() -> None:
    with pytest.raises(PayloadTooLargeError):
        read([], content_length="9" * 5000)


@pytest.mark.parametrize("encoding", ["gzip", " GZip", "br", "identity, gzip", "gzip\u00b2"])
def test_an_encoded_body_is_refused_before_reading(encoding: str) -> None:
    with pytest.raises(EncodingError, match="expected identity"):
        read([], content_encoding=encoding)


@pytest.mark.parametrize("encoding", ["identity", "Identity ", ""])
def test_no_encoding_is_none(encoding: str) -> None:
    assert read([b"ab"], content_encoding=encoding) == b"ab"


def halting(gate: asyncio.Event) -> Receive:
    """A caller that sends 40 bytes, and 40 more when the gate opens."""
    parts = iter([True, False])

    async def receive() -> Message:
        if not (is_first := next(parts)):
            await gate.wait()
        return {"type": "http.request", "body": b"x" * 40, "more_body": is_first}

    return receive


def test_bodies_that_arrive_in_parts_share_a_bound_of_memory() -> None:
    async def test() -> None:
        bodies, gate = Bodies(100, max_arriving=150), asyncio.Event()
        held = [asyncio.ensure_future(bodies.read(halting(gate), {})) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="at most 150"):
            await bodies.read(receiving([b"y" * 40, b"y"]), {})
        assert await bodies.read(receiving([b"z" * 40]), {}) == b"z" * 40  # nothing to hold
        held.pop().cancel()
        await asyncio.sleep(0)
        assert bodies.arriving == 80
        held.pop().cancel()
        gate.set()
        assert await held.pop() == b"x" * 80
        assert bodies.arriving == 0

    asyncio.run(test())


@pytest.mark.parametrize("declared", ["-1", "five", "\u00b2", ""])
def test_a_senseless_declared_length_is_not_trusted(declared: str) -> None:
    assert read([b"ab"], limit=4, content_length=declared) == b"ab"


def test_a_caller_that_hangs_up_gets_no_answer() -> None:
    with pytest.raises(ClientGoneError):
        read([], limit=4)


def test_header_names_and_values_are_text() -> None:
    scope = {"headers": [(b"a", b"1"), (b"b", b"\xe9"), (b"a", b"2")]}
    assert headers_of(scope) == {"a": "2", "b": "é"}


def test_a_header_of_ours_says_one_thing() -> None:
    # The first of two tenants counted for outcomes, and the last for decisions.
    tenant = b"x-router-tenant"
    twice = [(tenant, b"acme"), (b"b", b"1"), (tenant, b"acme")]
    assert headers_of({"headers": twice}) == {"x-router-tenant": "acme", "b": "1"}
    with pytest.raises(InvalidRequestError, match="x-router-tenant: got '2 values', expected one"):
        headers_of({"headers": [*twice, (tenant, b"other")]})


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
