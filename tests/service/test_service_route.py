"""POST /route and /authz over HTTP."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from paths import CAPTURED, requires_captured
from serving_process import ANTHROPIC, BODIES, CHAT, GEMINI, Server, requires_starter, serving

pytestmark = [pytest.mark.service, requires_starter]

ANSWER = {
    *("decision_id", "model", "snapshot", "provider", "fallbacks", "expected", "propensity"),
    *("policy", "reason", "excluded", "versions"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("route") / "state") as running:
        yield running


def problem_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = response.json()
    assert content["status"] == response.status_code
    assert {"type", "title", "code", "detail"} <= content.keys()
    return content


@pytest.mark.parametrize("wire_format", BODIES)
def test_every_dialect_is_answered_raw_named_and_in_the_envelope(
    server: Server, wire_format: str
) -> None:
    body = BODIES[wire_format]
    calls: list[dict[str, Any]] = [
        {"json": body},
        {"json": body, "headers": {"x-router-format": wire_format}},
        {"json": {"request": body}},
        {"json": {"request": body, "format": wire_format}},
    ]
    models = set()
    for call in calls:
        response = server.http.post("/route", **call)
        assert response.status_code == 200, response.text
        assert response.json().keys() == ANSWER
        models.add(response.json()["model"])
    assert len(models) == 1


def test_the_answer_names_a_model_of_the_catalog_and_ordered_fallbacks(server: Server) -> None:
    answer = server.http.post("/route", json=CHAT).json()
    known = {card["id"]: card for card in server.http.get("/models").json()["models"]}
    assert answer["snapshot"] == known[answer["model"]]["snapshot"]
    assert answer["provider"] == known[answer["model"]]["provider"]
    assert answer["model"] not in answer["fallbacks"]
    assert set(answer["fallbacks"]) <= known.keys()
    assert answer["excluded"].keys() <= known.keys()
    assert 0 < answer["propensity"] <= 1
    assert 0 <= answer["expected"]["p_adequate"] <= 1
    assert answer["expected"]["cost_usd"] > 0
    assert answer["expected"]["input_tokens"] > 10


def test_the_caller_and_the_limits_have_effect(server: Server) -> None:
    answer = server.http.post("/route", json=CHAT).json()
    other = answer["fallbacks"][0]
    limited = server.http.post("/route", json={"request": CHAT, "policy": {"models": [other]}})
    assert limited.json()["model"] == other
    by_header = server.http.post("/route", json=CHAT, headers={"x-router-models": other})
    assert by_header.json()["model"] == other


def test_timing_is_told_on_demand_only(server: Server) -> None:
    assert "timing_us" not in server.http.post("/route", json=CHAT).json()
    for query, headers in (("?timing=1", {}), ("", {"x-router-timing": "1"})):
        response = server.http.post(f"/route{query}", json=CHAT, headers=headers)
        timing = response.json()["timing_us"]
        assert {"read", "parse", "features", "decide", "total"} <= timing.keys()
        assert timing["total"] >= timing["decide"]


def test_a_repeated_decision_id_gets_the_identical_answer_and_is_logged_once(
    server: Server,
) -> None:
    call = {"request": CHAT, "caller": {"decision_id": "retry-1", "tenant": "acme"}}
    answers = {server.http.post("/route", json=call).content for _ in range(3)}
    assert len(answers) == 1
    server.http.get("/decisions/retry-1")  # waits for the log
    sql = "select count(*) as n from decisions where decision_id = 'retry-1'"
    assert server.rows(sql) == [{"n": 1}]
    (segment,) = (server.state / "log" / "segments").glob("*.jsonl")
    assert segment.read_text().count('"decision_id":"retry-1"') == 1


@pytest.mark.parametrize("changed", ["request", "policy"])
def test_another_request_under_a_used_decision_id_is_a_conflict(
    server: Server, changed: str
) -> None:
    call: dict[str, Any] = {"request": CHAT, "caller": {"decision_id": f"reused-{changed}"}}
    assert server.http.post("/route", json=call).status_code == 200
    call[changed] = ANTHROPIC if changed == "request" else {"max_cost_usd": 5}
    response = server.http.post("/route", json=call)
    assert response.status_code == 409
    assert problem_of(response)["code"] == "decision_id_reused"


def test_no_admissible_model_is_a_conflict_with_the_reasons(server: Server) -> None:
    call = {"request": CHAT, "policy": {"max_cost_usd": 1e-12}}
    response = server.http.post("/route", json=call)
    content = problem_of(response)
    assert (response.status_code, content["code"]) == (409, "no_admissible_model")
    assert content["excluded"]


BAD_BODIES: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "malformed_json"),
    ("blank", b"  \n", 400, "malformed_json"),
    ("text", b"hello", 400, "malformed_json"),
    ("cut off", b'{"messages": [', 400, "malformed_json"),
    ("cut off envelope", b'{"request": {"messages": [', 400, "malformed_json"),
    ("not UTF-8", b'{"messages": [{"role": "user", "content": "\xff"}]}', 400, "malformed_json"),
    ("null", b"null", 422, "invalid_request"),
    ("list", b"[]", 422, "invalid_request"),
    ("number", b"3", 422, "invalid_request"),
    ("nothing in it", b"{}", 422, "invalid_request"),
    ("wrong type", b'{"messages": "hello"}', 422, "invalid_request"),
    ("wrong inner type", b'{"messages": [3]}', 422, "invalid_request"),
    ("no messages", b'{"messages": []}', 422, "invalid_request"),
    ("empty request", b'{"request": {}}', 422, "invalid_request"),
    ("null request", b'{"request": null}', 422, "invalid_request"),
    ("text request", b'{"request": "hello"}', 422, "invalid_request"),
    ("no request", b'{"caller": {}}', 422, "invalid_request"),
    ("deep", b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 422, "invalid_request"),
]


@pytest.mark.parametrize(
    ("body", "status", "code"), [case[1:] for case in BAD_BODIES], ids=[c[0] for c in BAD_BODIES]
)
def test_a_bad_body_gets_a_problem_that_names_the_field(
    server: Server, body: bytes, status: int, code: str
) -> None:
    response = server.http.post("/route", content=body)
    content = problem_of(response)
    assert (response.status_code, content["code"]) == (status, code), content
    assert content["field"]


def test_an_error_inside_the_envelope_is_named_from_the_outside(server: Server) -> None:
    response = server.http.post("/route", json={"request": {"messages": [3]}})
    assert problem_of(response)["field"].startswith("request.messages[0]")


def test_unknown_models_are_named_beside_the_known(server: Server) -> None:
    policy = {"models": ["gpt-0", "no-such-model"]}
    response = server.http.post("/route", json={"request": CHAT, "policy": policy})
    content = problem_of(response)
    assert (response.status_code, content["field"]) == (422, "policy.models")
    assert "gpt-0" in content["detail"]
    assert "no-such-model" in content["detail"]
    assert server.http.get("/models").json()["models"][0]["id"] in content["allowed"]


def test_ten_thousand_tools_are_answered(server: Server) -> None:
    tool = CHAT["tools"][0]["function"]  # type: ignore[index]  # JSON
    tools = [{"type": "function", "function": {**tool, "name": f"t{i}"}} for i in range(10_000)]
    response = server.http.post("/route", json={**CHAT, "tools": tools})
    assert response.status_code in (200, 409), response.text
    assert server.http.get("/healthz").status_code == 200


def test_two_megabytes_are_answered(server: Server) -> None:
    turns = [
        {"role": role, "content": "some words of a long conversation " * 300}
        for _ in range(100)
        for role in ("user", "assistant")
    ]
    messages = [*turns, {"role": "user", "content": "go on"}]
    response = server.http.post("/route", json={"messages": messages})
    assert len(response.request.content) > 2_000_000
    assert response.status_code == 200, response.text
    assert response.json()["expected"]["input_tokens"] > 300_000


@pytest.mark.parametrize("path", ["/route", "/authz/v1/chat/completions", "/outcomes"])
def test_a_body_over_the_limit_is_refused_also_when_it_comes_in_chunks(
    server: Server, path: str
) -> None:
    piece = b" " * 65_536
    whole = httpx.Request("POST", server.http.base_url.join(path), content=piece * 130)
    chunked = httpx.Request("POST", server.http.base_url.join(path), content=iter([piece] * 130))
    for request in (whole, chunked):
        response = server.http.send(request)
        assert response.status_code == 413
        assert problem_of(response)["code"] == "payload_too_large"


def test_other_paths_and_methods_are_problems_too(server: Server) -> None:
    for path in ("/", "/nothing", "/route/", "/authzed"):
        assert problem_of(server.http.post(path))["code"] == "not_found"
    for method, path in (("GET", "/route"), ("PUT", "/outcomes"), ("DELETE", "/models")):
        response = server.http.request(method, path)
        assert response.status_code == 405
        assert response.headers["allow"]
        assert problem_of(response)["code"] == "method_not_allowed"
    # It named the first of several routes of a path only.
    assert server.http.post("/switches/all").headers["allow"] == "DELETE, PUT"


def test_authz_answers_in_headers(server: Server) -> None:
    headers = {"x-router-decision-id": "authz-1"}
    response = server.http.put("/authz/v1/chat/completions", json=CHAT, headers=headers)
    assert response.status_code == 200
    assert response.content == b""
    assert response.headers["x-router-decision-id"] == "authz-1"
    direct = server.http.post("/route", json=CHAT).json()
    assert response.headers["x-routed-model"] == direct["model"]
    assert response.headers["x-router-fallbacks"].split(",") == direct["fallbacks"]


def test_authz_reads_the_gemini_model_from_the_path(server: Server) -> None:
    path = "/authz/v1beta/models/gemini-2.5-pro:generateContent"
    response = server.http.post(path, json=GEMINI, headers={"x-router-decision-id": "authz-2"})
    assert response.status_code == 200, response.text
    server.http.get("/decisions/authz-2")
    (row,) = server.rows(
        "select format, requested_model from decisions where decision_id = 'authz-2'"
    )
    assert row == {"format": "gemini", "requested_model": "gemini-2.5-pro"}


def test_authz_lets_pass_what_asks_no_model_and_refuses_what_is_broken(server: Server) -> None:
    assert server.http.get("/authz/v1/models").status_code == 200
    assert "x-routed-model" not in server.http.get("/authz/v1/models").headers
    assert problem_of(server.http.post("/authz/v1/messages"))["code"] == "malformed_json"
    assert server.http.post("/authz/v1/messages", content=b"{").status_code == 400


@requires_captured
def test_every_captured_body_is_answered(server: Server) -> None:
    for path in sorted(CAPTURED.glob("*.json")):
        captured = json.loads(path.read_text())
        raw = server.http.post("/route", json=captured["body"], headers=captured["headers"])
        assert raw.status_code == 200, (path.name, raw.text)
        enveloped = server.http.post("/route", json={"request": captured["body"]})
        assert enveloped.status_code == 200, (path.name, enveloped.text)
        authz = server.http.post(f"/authz{captured['path']}", json=captured["body"])
        assert authz.status_code == 200, (path.name, authz.text)


def test_nothing_above_failed_inside(server: Server) -> None:
    assert server.metric("router_problems_total", code="internal_error") == 0
    assert server.metric("router_log_dropped_total", cause="unbuildable") == 0
