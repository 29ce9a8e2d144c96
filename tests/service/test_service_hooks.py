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
    CHAT,
    RESPONSES,
    Server,
    requires_starter,
    serving,
)
from wire_reports import ANSWER, logged, problem_of

from router_serving import keys_file

pytestmark = [pytest.mark.service, requires_starter]

TIERS = {"SIMPLE": ["claude-haiku-4-5"], "COMPLEX": ["gpt-6-astra", "claude-sonnet-5-5"]}
CRITERIA = dict.fromkeys(("SIMPLE", "MEDIUM", "COMPLEX", "REASONING"), "...")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("hooks") / "state"
    with serving(state, systemone_tiers=json.dumps(TIERS)) as running:
        yield running


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


def test_no_tier_is_answered_where_the_call_keeps_a_model_of_none(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    text = '[default]\nadoption = "observe"\nincumbent = "grok-4.3"\n'
    (state / "tenants.toml").write_text(text)
    with serving(state, systemone_tiers=json.dumps(TIERS)) as server:
        response = systemone(server)
        assert response.status_code == 409, response.text
        assert "grok-4.3" in response.json()["excluded"]


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
    asking, any_tenant = made("acme", "route"), made("*", "route", "outcomes")
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
        for kind in ("beforeRequestHook", "afterRequestHook"):
            for headers in (any_tenant, {**any_tenant, "x-router-tenant": "acme"}):
                refused = post("/portkey", hook(kind, CHAT), headers)
                problem = problem_of(refused)
                assert (refused.status_code, problem["code"]) == (403, "forbidden")
                assert "router-serve keys create" in problem["detail"]
        assert post("/v1/systemone", calls["/v1/systemone"], any_tenant).status_code == 200
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
