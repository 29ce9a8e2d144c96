"""POST /outcomes/wire over HTTP."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from serving_process import (
    ANTHROPIC,
    BODIES,
    CHAT,
    Server,
    requires_starter,
    serving,
)
from wire_reports import ANSWER, SSE, decision, logged, problem_of, reported

pytestmark = [pytest.mark.service, requires_starter]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("hooks") / "state"
    with serving(state) as running:
        yield running


@pytest.mark.parametrize("as_text", [False, True])
def test_usage_and_tool_calls_are_read_from_an_answer(server: Server, as_text: bool) -> None:
    decision_id = decision(server)
    bodies: dict[str, Any] = {"request": CHAT, "response": ANSWER}
    if as_text:
        bodies = {name: json.dumps(body) for name, body in bodies.items()}
    told = reported(server, decision_id=decision_id, model="gpt-6-astra", status=200, **bodies)
    assert told == {"accepted": 1, "unmatched": []}
    row = logged(server, decision_id)
    assert row["usage"]["input_tokens"] == 120
    assert row["usage"]["cached_tokens"] == 100
    assert row["usage"]["output_tokens"] == 9
    assert (row["tool_call_valid"], row["n_tool_calls"], row["error"]) == (True, 1, None)


def test_a_stream_is_read_from_its_events(server: Server) -> None:
    decision_id = decision(server, ANTHROPIC)
    path = "/v1/messages?beta=true"
    bodies = {"request": ANTHROPIC, "response": SSE}
    reported(server, decision_id=decision_id, model="m", path=path, latency_ms=7, **bodies)
    row = logged(server, decision_id)
    assert (row["usage"]["input_tokens"], row["usage"]["output_tokens"]) == (25, 3)
    assert (row["signals"]["truncated"], row["latency_ms"], row["error"]) == (True, 7, None)


def test_of_a_stream_that_was_cut_the_usage_is_read_and_nothing_else(server: Server) -> None:
    decision_id = decision(server, ANTHROPIC)
    cut = SSE.partition("event: content_block_start")[0] + SSE[SSE.index("event: message_delta") :]
    report = {"request": ANTHROPIC, "response": cut, "is_cut": True}
    reported(server, decision_id=decision_id, model="m", **report)
    row = logged(server, decision_id)
    assert row["usage"]["output_tokens"] == 3
    assert (row["signals"], row["tool_call_valid"], row["error"]) == ({}, None, None)


def test_arguments_that_break_their_schema_are_told(server: Server) -> None:
    decision_id = decision(server)
    broken = json.loads(json.dumps(ANSWER).replace("path\\", "wrong\\"))
    reported(server, decision_id=decision_id, model="m", request=CHAT, response=broken)
    assert logged(server, decision_id)["tool_call_valid"] is False


@pytest.mark.parametrize(
    ("report", "error"),
    [
        ({"status": 503, "response": "<html>Bad gateway</html>"}, "http_503"),
        ({"status": 429, "response": {"error": {"message": "secret words"}}}, "http_429"),
        ({"status": 200, "response": {"error": {"message": "secret words"}}}, "provider_error"),
        ({"status": 200, "response": "no answer"}, None),
        ({"status": 200, "response": [1, 2]}, None),
        (
            {"status": 200, "response": 'data: {"choices": [{"delta": {"content": "H"}}]}\n\n'},
            "incomplete",
        ),
        ({"status": 200}, None),
        ({"status": 500}, "http_500"),
        ({"status": 500, "error": "timeout"}, "timeout"),
    ],
)
def test_what_is_no_answer_is_an_error_without_its_words(
    server: Server, report: dict[str, Any], error: str | None
) -> None:
    decision_id = decision(server)
    reported(server, decision_id=decision_id, model="m", request=CHAT, **report)
    row = logged(server, decision_id)
    assert row["error"] == error
    assert "secret" not in json.dumps(row, default=str)


def test_what_is_said_wins_over_what_is_read(server: Server) -> None:
    decision_id = decision(server)
    usage = {"input_tokens": 7, "output_tokens": 1}
    report = {"request": CHAT, "response": ANSWER, "usage": usage, "tool_call_valid": False}
    reported(server, decision_id=decision_id, model="m", **report)
    row = logged(server, decision_id)
    assert (row["usage"]["input_tokens"], row["tool_call_valid"]) == (7, False)


def test_a_report_that_comes_twice_counts_once(server: Server) -> None:
    decision_id = decision(server)
    for _ in range(2):
        reported(server, decision_id=decision_id, model="m", request=CHAT, response=ANSWER)
    assert logged(server, decision_id)["usage"]["input_tokens"] == 120


def test_the_earlier_decision_of_a_step_that_is_asked_again_was_no_use(server: Server) -> None:
    session = {"session": "asked-again"}
    first = decision(server, **session)
    reported(server, decision_id=first, model="m", request=CHAT, response=ANSWER)
    assert "retried" not in logged(server, first)["signals"]
    second = decision(server, **session)
    reported(server, decision_id=second, model="m", request=CHAT, response=ANSWER, latency_ms=1)
    assert logged(server, first)["signals"]["retried"] is True
    assert logged(server, first)["usage"]["input_tokens"] == 120
    assert "retried" not in logged(server, second)["signals"]


def test_the_same_step_at_the_same_time_is_no_retry(server: Server) -> None:
    session = {"session": "side-by-side"}
    ids = [decision(server, **session) for _ in range(2)]
    for decision_id in ids:
        report = {"request": CHAT, "response": ANSWER, "latency_ms": 60_000}
        reported(server, decision_id=decision_id, model="m", **report)
    assert not [one for one in ids if "retried" in logged(server, one)["signals"]]


BAD_REPORTS: list[tuple[Any, int, str]] = [
    ({}, 422, "decision_id"),
    ([], 422, "body"),
    ({"decision_id": "d"}, 422, "model"),
    ({"decision_id": "d", "model": "m", "format": "openai.gpt"}, 422, "format"),
    ({"decision_id": "d", "model": "m", "status": "200"}, 422, "status"),
    ({"decision_id": "d", "model": "m", "status": 99}, 422, "status"),
    ({"decision_id": "d", "model": "m", "status": True}, 422, "status"),
    ({"decision_id": "d", "model": "m", "path": 3}, 422, "path"),
    ({"decision_id": "d", "model": "m", "is_cut": "no"}, 422, "is_cut"),
    ({"decision_id": "d", "model": "m", "response": 3}, 422, "response"),
    ({"decision_id": "d", "model": "m", "request": [3]}, 422, "request"),
    ({"decision_id": "d", "model": "m", "stauts": 200}, 422, "stauts"),
    ({"decision_id": "d", "model": "m", "attempt": -1}, 422, "attempt"),
]


@pytest.mark.parametrize(("report", "status", "field"), BAD_REPORTS)
def test_a_bad_report_gets_a_problem_that_names_the_field(
    server: Server, report: Any, status: int, field: str
) -> None:
    response = server.http.post("/outcomes/wire", json=report)
    assert response.status_code == status, response.text
    assert problem_of(response)["field"] == field


@pytest.mark.parametrize("path", ["/outcomes/wire", "/v1/systemone", "/portkey"])
@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"\xff", 400), (b"null", 422), (b"[" * 5000, 422), (b"{}", 422)],
)
def test_what_is_no_body_is_a_problem_everywhere(
    server: Server, path: str, body: bytes, status: int
) -> None:
    response = server.http.post(path, content=body)
    assert response.status_code in (status, 400), response.text
    assert problem_of(response)["code"] in ("malformed_json", "invalid_request")
    assert server.http.get(path).status_code == 405


ODD_REQUESTS: list[Any] = [{}, {"messages": 3}, {"contents": []}, "no JSON", "", None, CHAT]
ODD_RESPONSES: list[Any] = [{}, {"usage": {"prompt_tokens": -3}}, "", "data: x\n\n", [], None]


def test_requests_and_answers_of_any_shape_are_taken(server: Server) -> None:
    for number, (one, other) in enumerate(
        (request, response) for request in ODD_REQUESTS for response in ODD_RESPONSES
    ):
        for wire_format in (None, *BODIES):
            report = {"decision_id": f"odd-{number}", "model": "m", "format": wire_format}
            response = server.http.post(
                "/outcomes/wire", json={**report, "request": one, "response": other}
            )
            assert response.status_code == 200, (one, other, wire_format, response.text)


def test_a_report_over_the_limit_is_refused(server: Server) -> None:
    response = server.http.post("/outcomes/wire", content=b" " * 9_000_000)
    assert response.status_code == 413
    assert problem_of(response)["code"] == "payload_too_large"
