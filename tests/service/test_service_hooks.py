"""The endpoints in the shapes of single gateways, over HTTP."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_process import (
    ANTHROPIC,
    BODIES,
    CHAT,
    RESPONSES,
    Server,
    requires_starter,
    serving,
)

from router_serving import keys_file

pytestmark = [pytest.mark.service, requires_starter]

TIERS = {"SIMPLE": ["claude-haiku-4-5"], "COMPLEX": ["gpt-6-astra", "claude-sonnet-5-5"]}
CRITERIA = dict.fromkeys(("SIMPLE", "MEDIUM", "COMPLEX", "REASONING"), "...")
ANSWER = {
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "read_file", "arguments": '{"path": "calc.py"}'},
                    }
                ],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 120,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 100},
    },
}
SSE = (
    'event: message_start\ndata: {"type":"message_start","message":{"role":"assistant",'
    '"model":"m","content":[],"usage":{"input_tokens":5,"cache_read_input_tokens":20}}}\n\n'
    'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    '"content_block":{"type":"text","text":""}}\n\n'
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    '"delta":{"type":"text_delta","text":"Hel"}}\n\n'
    'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"max_tokens"},'
    '"usage":{"output_tokens":3}}\n\n'
    'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("hooks") / "state"
    with serving(state, systemone_tiers=json.dumps(TIERS)) as running:
        yield running


def decision(server: Server, body: Any = CHAT, **caller: str) -> str:
    answer = server.http.post("/route", json={"request": body, "caller": caller})
    return str(answer.json()["decision_id"])


def reported(server: Server, **report: Any) -> dict[str, Any]:
    response = server.http.post("/outcomes/wire", json=report)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def logged(server: Server, decision_id: str) -> dict[str, Any]:
    (row,) = server.rows(f"select * from outcomes where decision_id = '{decision_id}'")
    return row | {"signals": json.loads(row["signals"])}


def problem_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    content: dict[str, Any] = response.json()
    return content


# --- /outcomes/wire


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
        ({"status": 200, "response": "no answer"}, "provider_error"),
        ({"status": 200, "response": [1, 2]}, "provider_error"),
        ({"status": 200, "response": 'data: {"choices": [{"delta": {"content": "H'}, None),
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
    if error is not None or "response" not in report:
        assert row["error"] == error
    else:
        assert row["error"] in ("incomplete", "provider_error")
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


# --- /v1/systemone


def systemone(server: Server, **changes: Any) -> httpx.Response:
    question = {"type": "choice", "instructions": "Which tier?", "criteria": CRITERIA}
    body = {"state": "Rename a variable", "model": "jev-latest", "questions": {"tier": question}}
    return server.http.post("/v1/systemone", json=body | changes)


def test_the_tier_is_that_of_the_chosen_model(server: Server) -> None:
    content = systemone(server).json()
    answer = content["answers"]["tier"]
    assert answer["type"] == "choice"
    assert content["model"] in TIERS[answer["choice"]]
    assert answer["probabilities"].keys() == CRITERIA.keys()
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0)
    assert answer["probabilities"]["MEDIUM"] == 0.0
    assert 0.0 <= answer["confidence"] <= 1.0
    assert content["usage"] == {"input_tokens": 0, "output_tokens": 0}
    made = server.http.get(f"/decisions/{content['decision_id']}").json()
    assert made["model"] == content["model"]


def test_tiers_may_be_named_in_any_case_or_be_models_themselves(server: Server) -> None:
    question = {"type": "choice", "criteria": {"simple": "", "nothing": ""}}
    answer = systemone(server, questions={"q": question}).json()["answers"]["q"]
    assert (answer["choice"], answer["probabilities"]) == ("simple", {"simple": 1, "nothing": 0})
    question = {"type": "choice", "criteria": {"gpt-6-astra": ""}}
    content = systemone(server, questions={"q": question}).json()
    assert content["answers"]["q"]["choice"] == content["model"] == "gpt-6-astra"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": ""},
        {"state": 3},
        {"questions": {}},
        {"questions": {"a": {"type": "score", "criteria": ["x"]}}},
        {"questions": {"a": {"type": "choice", "criteria": {}}}},
        {"questions": {"a": {"type": "choice", "criteria": {"UNKNOWN": ""}}}},
        {"questions": {n: {"type": "choice", "criteria": CRITERIA} for n in ("a", "b")}},
    ],
)
def test_a_question_that_can_not_be_answered_is_a_problem(
    server: Server, changes: dict[str, Any]
) -> None:
    response = systemone(server, **changes)
    assert response.status_code == 422, response.text
    assert problem_of(response)["field"]


# --- /portkey


def hook(kind: str, body: Any, *, request_type: str = "chatComplete", **more: Any) -> Any:
    request = {"json": body, "text": "", "isStreamingRequest": False}
    return {"eventType": kind, "requestType": request_type, "request": request, **more}


def before(server: Server, body: Any, **more: Any) -> dict[str, Any]:
    response = server.http.post("/portkey", json=hook("beforeRequestHook", body, **more))
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def after(server: Server, body: Any, **more: Any) -> dict[str, Any]:
    response = server.http.post("/portkey", json=hook("afterRequestHook", body, **more))
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


@pytest.mark.parametrize(
    ("request_type", "body"),
    [("chatComplete", CHAT), ("messages", ANTHROPIC), ("createModelResponse", RESPONSES)],
)
def test_a_webhook_changes_the_model_and_nothing_else(
    server: Server, request_type: str, body: Any
) -> None:
    told = before(server, body, request_type=request_type)
    sent = told["transformedData"]["request"]["json"]
    assert sent == {**body, "model": told["data"]["model"]}
    assert told["verdict"] is True


def test_the_answer_is_reported_to_the_decision_of_its_request(server: Server) -> None:
    names = {"_user": "kim", "session": "s-1", "tenant": "other"}
    body = {**CHAT, "seed": 17}
    decisions = [before(server, body, metadata=names) for _ in range(2)]
    sent = decisions[0]["transformedData"]["request"]["json"]
    reordered = dict(reversed(sent.items()))
    response = {"json": ANSWER, "statusCode": 200}
    told = [after(server, reordered, response=response, metadata=names)["data"] for _ in decisions]
    assert [one["accepted"] for one in told] == [1, 1]
    made = {one["data"]["decision_id"] for one in decisions}
    assert {one["decision_id"] for one in told} == made
    for decision_id in made:
        assert logged(server, decision_id)["usage"]["cached_tokens"] == 100
        server.http.get(f"/decisions/{decision_id}")
        (row,) = server.rows(f"select * from decisions where decision_id = '{decision_id}'")
        assert (row["tenant"], row["user"], row["session"]) == ("default", "kim", "s-1")
    assert after(server, sent)["data"] == {"decision_id": None}


def test_an_answer_that_was_streamed_is_reported_by_its_status(server: Server) -> None:
    made = before(server, ANTHROPIC, request_type="messages")
    sent = made["transformedData"]["request"]["json"]
    response = {"json": {}, "statusCode": 500}
    after(server, sent, request_type="messages", response=response)
    assert logged(server, made["data"]["decision_id"])["error"] == "http_500"


@pytest.mark.parametrize(
    "odd",
    [
        {"requestType": "embed"},
        {"requestType": None},
        {"request": {"json": None}},
        {"request": {}},
        {"request": {"json": {}}},
    ],
)
@pytest.mark.parametrize("kind", ["beforeRequestHook", "afterRequestHook"])
def test_what_is_no_call_of_a_model_passes_untouched(
    server: Server, odd: dict[str, Any], kind: str
) -> None:
    response = server.http.post("/portkey", json=hook(kind, CHAT) | odd)
    assert (response.status_code, response.json()) == (200, {"verdict": True})


def test_a_hook_of_another_kind_or_shape_is_a_problem(server: Server) -> None:
    odd: list[Any] = [hook("duringRequestHook", CHAT), {"eventType": 3}, {"request": {}}]
    for content in odd:
        response = server.http.post("/portkey", json=content)
        assert response.status_code == 422, response.text
        assert problem_of(response)["code"] == "invalid_request"


# --- keys and tenants


def test_keys_tenants_and_scopes_hold_for_these_endpoints_too(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()

    def made(tenant: str, *scopes: Any) -> dict[str, str]:
        file, now = state / "keys.json", datetime.now(UTC)
        key = keys_file.create(file, tenant=tenant, scopes=scopes, now=now).text
        return {"x-router-api-key": key}

    acme, other = made("acme", "route", "outcomes"), made("other", "route", "outcomes")
    asking = made("acme", "route")
    with serving(state, systemone_tiers=json.dumps(TIERS)) as server:

        def post(path: str, content: Any, headers: dict[str, str]) -> httpx.Response:
            return server.http.post(path, json=content, headers=headers)

        question = {"type": "choice", "criteria": CRITERIA}
        calls: dict[str, Any] = {
            "/v1/systemone": {"state": "x", "questions": {"tier": question}},
            "/portkey": hook("beforeRequestHook", CHAT),
            "/outcomes/wire": {"decision_id": "d", "model": "m"},
        }
        for path, content in calls.items():
            assert post(path, content, {}).status_code == 401
            assert post(path, content, acme).status_code == 200
            assert post(path, content, {**acme, "x-router-tenant": "other"}).status_code == 403
        assert post("/outcomes/wire", calls["/outcomes/wire"], asking).status_code == 403
        bearer = {"authorization": f"Bearer {asking['x-router-api-key']}"}
        assert post("/v1/systemone", calls["/v1/systemone"], bearer).status_code == 200
        sent = post("/portkey", calls["/portkey"], acme).json()["transformedData"]["request"]
        reply = hook("afterRequestHook", sent["json"], response={"json": ANSWER, "statusCode": 200})
        assert post("/portkey", reply, asking).status_code == 403
        assert post("/portkey", reply, other).json()["data"] == {"decision_id": None}
        assert post("/portkey", reply, acme).json()["data"]["accepted"] == 1
        decision_id = post("/route", CHAT, acme).json()["decision_id"]
        report = {"decision_id": decision_id, "model": "m", "request": CHAT, "response": ANSWER}
        assert post("/outcomes/wire", report, other).json()["unmatched"] == [decision_id]
        assert post("/outcomes/wire", report, acme).json()["unmatched"] == []
        rows = server.rows(f"select tenant from outcomes where decision_id = '{decision_id}'")
        assert sorted(row["tenant"] for row in rows) == ["acme", "other"]
