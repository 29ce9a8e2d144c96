import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from router_model.types import WireFormat
from router_serving.gateways.asking import Asker, Asking
from router_serving.gateways.errors import RefusedError, UnavailableError
from router_serving.gateways.settings import GatewaySettings

ASKING = Asking(
    body=b'{"model": "auto", "messages": []}',
    wire_format=WireFormat.OPENAI_CHAT,
    caller={"tenant": "acme"},
    models=("a", "b"),
    headers={"session-id": "s-1"},
)
DECIDED = {"decision_id": "d-1", "model": "a", "fallbacks": ["b"], "more": 1}


@contextmanager
def _answering(*answers: tuple[int, Any]) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives these answers, the last one for ever, and what it was asked."""
    left, asked = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.append((json.loads(body), dict(self.headers.items())))
            status, content = left.pop(0) if len(left) > 1 else left[0]
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.send_header("retry-after", "7")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def _asked(settings: GatewaySettings, n: int = 1) -> list[str]:
    """The models of so many answers; in place of one, the reason why there is none."""
    asker, found = Asker(settings), []
    try:
        for _ in range(n):
            try:
                found.append((await asker.ask(ASKING)).model)
            except UnavailableError as error:
                found.append(f"{error.reason} {error.may_be_logged}")
    finally:
        await asker.aclose()
    return found


def _settings(url: str, **more: Any) -> GatewaySettings:
    return GatewaySettings(url=url, **{"timeout_s": 5.0, **more})


def test_the_body_goes_as_it_is_with_who_asks_and_what_may_answer() -> None:
    with _answering((200, DECIDED)) as (url, asked):
        assert asyncio.run(_asked(_settings(url, api_key="rk_1"))) == ["a"]
    ((body, headers),) = asked
    assert body == {
        "request": {"model": "auto", "messages": []},
        "format": "openai.chat",
        "caller": {"tenant": "acme"},
        "policy": {"models": ["a", "b"]},
    }
    assert headers["x-router-api-key"] == "rk_1"
    assert headers["session-id"] == "s-1"


def test_a_name_that_the_router_does_not_know_is_left_out_from_then_on() -> None:
    unknown = {"code": "invalid_request", "unknown": ["b"]}
    with _answering((422, unknown), (200, DECIDED)) as (url, asked):
        assert asyncio.run(_asked(_settings(url), 2)) == ["a", "a"]
    assert [body["policy"]["models"] for body, _ in asked] == [["a", "b"], ["a"], ["a"]]


def test_nobody_is_asked_for_models_of_which_none_is_known() -> None:
    unknown = {"code": "invalid_request", "unknown": ["a", "b"]}
    with _answering((422, unknown)) as (url, asked):
        assert asyncio.run(_asked(_settings(url))) == ["no_known_model False"]
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(429, "limit_exceeded"), (409, "no_admissible_model")]
)
def test_a_refusal_carries_what_the_client_is_to_know(status: int, code: str) -> None:
    problem = {"code": code, "detail": "not now", "limit": "rpm"}
    with _answering((status, problem)) as (url, _), pytest.raises(RefusedError) as raised:
        asyncio.run(_asked(_settings(url)))
    assert raised.value.status == status
    assert raised.value.headers == {"retry-after": "7"}
    assert str(raised.value) == "not now"


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [
        (401, {"code": "unauthorized"}, "status_401"),
        (403, {"code": "forbidden"}, "status_403"),
        (409, {"code": "decision_id_reused"}, "status_409"),
        (422, {"code": "invalid_request"}, "status_422"),
        (503, {"code": "overloaded"}, "status_503"),
        (500, "no problem document", "status_500"),
        (429, ["of somebody else"], "status_429"),
        (200, {"no": "decision"}, "odd_answer"),
        (200, {"decision_id": 1, "model": []}, "odd_answer"),
    ],
)
def test_anything_else_is_no_decision(status: int, content: Any, reason: str) -> None:
    with _answering((status, content)) as (url, _):
        assert asyncio.run(_asked(_settings(url))) == [f"{reason} False"]


def test_a_router_that_fails_three_times_is_left_alone_for_a_while() -> None:
    failing: list[tuple[int, Any]] = [(503, {})] * 3
    with _answering(*failing, (200, DECIDED)) as (url, asked):
        reasons = asyncio.run(_asked(_settings(url, pause_s=60.0), 5))
        assert reasons == ["status_503 False"] * 3 + ["paused False"] * 2
        assert len(asked) == 3


def test_after_the_pause_one_answer_brings_it_back() -> None:
    failing: list[tuple[int, Any]] = [(503, {})] * 3
    with _answering(*failing, (200, DECIDED)) as (url, _):
        found = asyncio.run(_asked(_settings(url, pause_s=0.0), 5))
        assert found == ["status_503 False"] * 3 + ["a", "a"]


def test_nobody_there_is_told_from_somebody_who_may_have_decided() -> None:
    assert asyncio.run(_asked(_settings("http://127.0.0.1:9"))) == ["connect False"]
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        assert asyncio.run(_asked(_settings(url, timeout_s=0.05))) == ["timeout True"]
