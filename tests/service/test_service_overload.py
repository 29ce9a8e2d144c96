"""More calls at once than the service decides: some wait, some fall back, some are refused."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from raw_http import Told, connected, post, told
from serving_process import CHAT, Server, requires_starter, serving, wait_for

pytestmark = [pytest.mark.service, requires_starter]

BODY = json.dumps(CHAT).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("overload") / "state"
    with serving(state, max_waiting="20", deadline_ms="4") as running:
        yield running


def at_once(port: int, data: bytes, *, n: int) -> list[Told]:
    """The answers to `n` callers that all call before any of them reads."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(port)) for _ in range(n)]
        for connection in connections:
            connection.sendall(data)
        return [told(connection) for connection in connections]


def answer_of(answer: Told) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(answer.received.partition(b"\r\n\r\n")[2])
    return content


def test_every_call_is_decided_falls_back_or_is_refused_and_each_says_so(server: Server) -> None:
    port = server.http.base_url.port or 0
    found: Counter[str] = Counter()
    while not {"decided", "fell back", "refused"} <= found.keys():
        for answer in at_once(port, post(BODY), n=100):
            content = answer_of(answer)
            if answer.statuses == (503,):
                assert content["code"] == "overloaded"
                assert b"retry-after: 1\r\n" in answer.received
                found["refused"] += 1
            elif content["reason"].startswith("fallback_deadline: waited "):
                assert answer.statuses == (200,)
                assert content["policy"] == "strongest_admissible"
                assert content["expected"]["p_adequate"] is None
                found["fell back"] += 1
            else:
                assert answer.statuses == (200,)
                found["decided"] += 1
    assert server.metric("router_problems_total", code="overloaded") == found["refused"]
    wait_for(lambda: server.metric("router_waiting_calls") == 0)


def test_afterwards_a_call_is_decided_as_ever(server: Server) -> None:
    answer = server.http.post("/route", json=CHAT)
    assert answer.status_code == 200
    assert not answer.json()["reason"].startswith("fallback")


def test_callers_that_hang_up_while_they_wait_leave_nothing_behind(server: Server) -> None:
    port = server.http.base_url.port or 0
    for _ in range(3):
        with ExitStack() as stack:
            for connection in [stack.enter_context(connected(port)) for _ in range(60)]:
                connection.sendall(post(BODY))
    assert server.http.post("/route", json=CHAT).status_code == 200
    wait_for(lambda: server.metric("router_waiting_calls") == 0)
    text = server.stderr.read_text()
    assert "Traceback" not in text
    assert "Exception" not in text


def test_every_row_is_whole_and_fallbacks_are_named_in_it(server: Server) -> None:
    server.http.get("/decisions/none")  # waits for the log
    sql = (
        "select embedding is null as bare, reason like 'fallback_deadline%' as late from decisions"
    )
    rows = server.rows(sql)
    assert {(row["bare"], row["late"]) for row in rows} == {(True, True), (False, False)}
    assert server.rows("select * from quarantine where kind = 'decision'") == []


def test_several_workers_keep_to_the_same_limits(tmp_path: Path) -> None:
    with serving(tmp_path / "state", "--workers", "2", header_timeout_s="1") as server:
        port = server.http.base_url.port or 0
        with connected(port) as connection:
            connection.sendall(b"POST /route HTTP/1.1\r\nhost: x\r\nx-a")
            assert told(connection, until_closed=True).statuses == (408,)
        assert server.http.post("/route", json=CHAT).status_code == 200
        assert server.metric("router_connections_closed_total", cause="head_timeout") >= 1
        assert "Traceback" not in server.stderr.read_text()
