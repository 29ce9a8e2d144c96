"""Outcomes, explanations, spend and the log over HTTP: durable, idempotent, readable meanwhile."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_decisions import outcome
from serving_process import CHAT, Server, requires_starter, serving, wait_for

from router_data.log import verify

pytestmark = [pytest.mark.service, requires_starter]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("log") / "state") as running:
        yield running


def routed(server: Server, decision_id: str, **caller: str) -> dict[str, Any]:
    call = {"request": CHAT, "caller": {"decision_id": decision_id, **caller}}
    answer: dict[str, Any] = server.http.post("/route", json=call).json()
    return answer


def test_an_outcome_is_on_disk_when_it_is_acknowledged_even_if_the_process_is_killed(
    tmp_path: Path,
) -> None:
    with serving(tmp_path / "state") as server:
        routed(server, "d1")
        response = server.http.post("/outcomes", json=outcome())
        assert response.json() == {"accepted": 1, "unmatched": []}
        server.stop(signal.SIGKILL)
        rows = server.rows("select adequate, cost_usd from outcomes where decision_id = 'd1'")
        assert rows == [{"adequate": True, "cost_usd": 0.002}]
        assert len(server.rows("select * from rounds")) == 1
    with serving(tmp_path / "state") as server:
        explained = server.http.get("/decisions/d1").json()
        assert len(explained["outcomes"]) == 1
    assert verify(tmp_path / "state" / "log").is_ok


def test_stopping_writes_every_decision_that_was_answered(tmp_path: Path) -> None:
    with serving(tmp_path / "state", log_flush_ms="10000") as server:
        ids = [server.http.post("/route", json=CHAT).json()["decision_id"] for _ in range(100)]
        assert server.stop(signal.SIGTERM) == 0
        assert {row["decision_id"] for row in server.rows("from decisions")} == set(ids)


def test_a_repeated_decision_id_gets_its_answer_after_a_restart_too(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as server:
        before = routed(server, "d1", tenant="acme")
        assert server.stop(signal.SIGINT) == 0
    with serving(tmp_path / "state") as server:
        wait_for(lambda: "recent.read" in server.stderr.read_text())
        assert routed(server, "d1", tenant="acme") == before
        assert server.metric("router_repeated_decisions_total") == 1
        server.http.post("/outcomes", json=outcome())
        assert server.rows("select tenant from outcomes") == [{"tenant": "acme"}]


def test_a_repeated_outcome_counts_once_and_a_later_one_corrects_it(server: Server) -> None:
    routed(server, "twice")
    for adequate in (True, True, False):
        response = server.http.post(
            "/outcomes", json=outcome(decision_id="twice", adequate=adequate)
        )
        assert response.status_code == 200
    server.http.post("/outcomes", json=outcome(decision_id="twice", attempt=1))
    rows = server.rows(
        "select attempt, adequate from outcomes where decision_id = 'twice' order by attempt"
    )
    assert rows == [{"attempt": 0, "adequate": False}, {"attempt": 1, "adequate": True}]


def test_an_outcome_of_an_unknown_decision_is_kept_and_flagged(server: Server) -> None:
    response = server.http.post("/outcomes", json=[outcome(decision_id="nobody-knows")])
    assert response.json() == {"accepted": 1, "unmatched": ["nobody-knows"]}
    assert server.rows("from outcomes where decision_id = 'nobody-knows'")


def test_one_wrong_outcome_refuses_the_list_and_is_named(server: Server) -> None:
    listed = [outcome(decision_id="all-or-nothing", attempt=i) for i in range(3)]
    listed[2]["usage"] = {"input_tokens": "many"}
    response = server.http.post("/outcomes", json=listed)
    assert response.status_code == 422
    assert response.json()["field"] == "[2].usage.input_tokens"
    assert not server.rows("from outcomes where decision_id = 'all-or-nothing'")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_outcomes_that_are_not_json_are_malformed(server: Server, body: bytes) -> None:
    response = server.http.post("/outcomes", content=body)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"text"', b"[[]]", b"{}"])
def test_outcomes_of_another_shape_are_invalid(server: Server, body: bytes) -> None:
    response = server.http.post("/outcomes", content=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_a_decision_is_explained_as_soon_as_it_is_answered(server: Server) -> None:
    answer = routed(server, "explained")
    server.http.post("/outcomes", json=outcome(decision_id="explained"))
    explained = server.http.get("/decisions/explained").json()
    assert explained["decision_id"] == "explained"
    assert explained["model"] == answer["model"]
    assert [row["attempt"] for row in explained["outcomes"]] == [0]
    assert explained["candidates"]


def test_an_unknown_decision_is_not_found(server: Server) -> None:
    response = server.http.get("/decisions/never-was")
    assert (response.status_code, response.json()["code"]) == (404, "decision_not_found")
    routed(server, "of-acme", tenant="acme")
    other = {"x-router-tenant": "other"}
    assert server.http.get("/decisions/of-acme", headers=other).status_code == 404
    assert server.http.get("/decisions/of-acme").status_code == 200


def test_an_id_of_several_tenants_needs_the_tenant(server: Server) -> None:
    for tenant in ("acme", "other"):
        routed(server, "shared-id", tenant=tenant)
    response = server.http.get("/decisions/shared-id")
    assert (response.status_code, response.json()["field"]) == (422, "x-router-tenant")
    found = server.http.get("/decisions/shared-id", headers={"x-router-tenant": "acme"})
    assert found.status_code == 200


def test_spend_counts_reported_and_expected_cost(server: Server) -> None:
    routed(server, "spend-1", user="spender")
    answer = routed(server, "spend-2", user="spender")
    server.http.post("/outcomes", json=outcome(decision_id="spend-1", cost_usd=0.75))
    groups = server.http.get("/spend", params={"group_by": "user"}).json()["groups"]
    (row,) = [group for group in groups if group["group"] == "spender"]
    assert row["n_decisions"] == 2
    assert row["reported_usd"] == 0.75
    assert row["expected_usd"] == pytest.approx(answer["expected"]["cost_usd"])
    assert row["is_estimated"] is True


def test_spend_names_what_it_can_be_grouped_by(server: Server) -> None:
    for params in ({}, {"group_by": "mood"}):
        response = server.http.get("/spend", params=params)
        assert response.status_code == 422
        assert response.json()["field"] == "group_by"


def test_metrics_tell_what_happened(server: Server) -> None:
    before = server.metric("router_stage_seconds_count", stage="total")
    model = routed(server, "measured")["model"]
    server.http.post("/outcomes", json=outcome(decision_id="measured", model=model))
    assert server.metric("router_stage_seconds_count", stage="total") == before + 1
    assert server.metric("router_outcomes_total", model=model, adequate="true") >= 1
    assert server.metric("router_log_rows_total", kind="outcome") >= 1


def test_no_prompt_text_is_kept_without_the_tenants_consent(tmp_path: Path) -> None:
    with serving(tmp_path / "state", log_text_tenants='["open"]') as server:
        for tenant in ("open", "closed"):
            routed(server, f"text-{tenant}", tenant=tenant)
        server.http.post("/route", content=b'{"messages": "Fix the failing test"}')
        server.stop()
        found = {row["tenant"]: row["text"] for row in server.rows("from decisions")}
        assert "failing test" in found["open"]
        assert found["closed"] is None
        assert "failing test" not in server.stderr.read_text()


def test_a_disk_that_refuses_is_told_and_routing_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    in_the_way = state / "log" / "segments"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where the folder should be")
    with serving(state) as server:
        response = server.http.post("/outcomes", json=outcome())
        assert (response.status_code, response.json()["code"]) == (503, "log_error")
        assert response.headers["retry-after"]
        assert server.http.post("/route", json=CHAT).status_code == 200
        assert server.http.get("/readyz").json()["log"]["last_error"]
        in_the_way.unlink()
        assert server.http.post("/outcomes", json=outcome()).status_code == 200
        assert len(server.rows("from decisions")) == 1
