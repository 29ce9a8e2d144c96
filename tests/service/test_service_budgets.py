"""Limits and budgets of tenants over HTTP, with the ledger's file in the state folder."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_process import CHAT, Server, requires_starter, serving, wait_for

pytestmark = [pytest.mark.service, requires_starter]

TENANTS = """
[tenants.small]
usd_per_day = 0.25
[tenants.racing]
usd_per_day = 0.5
[tenants.counted]
rpm = 3
[tenants.keyed]
key_rpm = 1
[tenants.short]
max_tokens_per_request = 1000
[tenants.soft]
user_usd_per_month_soft = 0.001
user_min_adequacy = 0.0
"""
BODY = {**CHAT, "max_completion_tokens": 2_000}


def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "tenants.toml").write_text(TENANTS)
    return folder


def route(server: Server, tenant: str, decision_id: str, **caller: str) -> httpx.Response:
    asked = {"tenant": tenant, "decision_id": decision_id, **caller}
    return server.http.post("/route", json={"request": BODY, "caller": asked})


def account(server: Server, tenant: str, limit: str, **params: str) -> dict[str, Any]:
    found = server.http.get("/budgets", params={"tenant": tenant, **params}).json()
    assert found["tenant"] == tenant
    return next(one for one in found["accounts"] if one["limit"] == limit)


def report(server: Server, tenant: str, *outcomes: dict[str, Any]) -> httpx.Response:
    return server.http.post("/outcomes", json=list(outcomes), headers={"x-router-tenant": tenant})


def is_limited(response: httpx.Response, limit: str) -> bool:
    assert response.status_code in (200, 429), response.text
    if response.status_code == 200:
        return False
    problem = response.json()
    assert (problem["code"], problem["limit"]) == ("limit_exceeded", limit)
    if problem["retry_after_s"] is not None:
        assert response.headers["retry-after"] == str(problem["retry_after_s"])
    return True


def test_limits_hold_over_http(tmp_path: Path) -> None:
    with serving(state(tmp_path)) as server:
        a_budget_reroutes_refuses_and_recovers(server)
        bills_settle_once(server)
        calls_are_counted_by_tenant_and_key(server)
        too_long_a_request_never_passes(server)
        a_soft_cap_downgrades(server)
    with serving(tmp_path / "state") as server:
        assert account(server, "small", "microusd_per_day")["settled"] > 0


def a_budget_reroutes_refuses_and_recovers(server: Server) -> None:
    answers: list[Any] = []
    while not is_limited(
        response := route(server, "small", f"s{len(answers)}"), "microusd_per_day"
    ):
        answers.append(response.json())
        assert len(answers) < 1_000
    assert len({answer["model"] for answer in answers}) > 1
    assert any("over_budget" in reason for reason in answers[-1]["excluded"].values())
    wait_for(lambda: account(server, "small", "microusd_per_day")["held"] > 0)
    used = account(server, "small", "microusd_per_day")
    assert used["settled"] + used["held"] + used["leased"] <= used["cap"] == 250_000
    done = [
        {"decision_id": answer["decision_id"], "model": answer["model"], "cost_usd": 0.0001}
        for answer in answers
    ]
    assert report(server, "small", *done).status_code == 200
    assert account(server, "small", "microusd_per_day")["settled"] == 100 * len(answers)
    assert route(server, "small", "again").status_code == 200


def bills_settle_once(server: Server) -> None:
    before = account(server, "small", "microusd_per_day")["settled"]
    outcome = {"decision_id": "again", "model": "m", "cost_usd": 0.0005}
    for _ in range(10):
        assert report(server, "small", outcome).status_code == 200
    assert account(server, "small", "microusd_per_day")["settled"] == before + 500
    assert report(server, "small", {**outcome, "cost_usd": 0.0002}).status_code == 200
    assert account(server, "small", "microusd_per_day")["settled"] == before + 200


def calls_are_counted_by_tenant_and_key(server: Server) -> None:
    # A minute may end in between: a whole one holds so many calls, and two twice as many.
    refused = [is_limited(route(server, "counted", f"c{n}"), "rpm") for n in range(8)]
    assert 2 <= sum(refused) <= 5
    by_key = [is_limited(route(server, "keyed", f"k{n}", key="a"), "key_rpm") for n in range(4)]
    assert 2 <= sum(by_key) <= 3
    assert not is_limited(route(server, "keyed", "other", key="b"), "key_rpm")


def too_long_a_request_never_passes(server: Server) -> None:
    response = route(server, "short", "long")
    assert is_limited(response, "max_tokens_per_request")
    assert response.json()["retry_after_s"] is None
    assert response.headers["x-should-retry"] == "false"


def a_soft_cap_downgrades(server: Server) -> None:
    first = route(server, "soft", "soft1", user="kim").json()
    outcome = {"decision_id": "soft1", "model": first["model"], "cost_usd": 0.5}
    assert report(server, "soft", outcome).status_code == 200
    numbers = iter(range(10_000))

    def is_downgraded() -> bool:
        asked = f"soft-{next(numbers)}"
        assert route(server, "soft", asked, user="kim").status_code == 200
        return bool(server.http.get(f"/decisions/{asked}").json()["contract"] == "soft_cap")

    wait_for(is_downgraded)
    other = route(server, "soft", "other-user", user="lee").json()
    assert server.http.get(f"/decisions/{other['decision_id']}").json()["contract"] is None
    assert server.metric("router_notices_total", kind="budget.soft_cap_reached") == 1.0


def test_workers_never_give_away_more_than_a_cap(tmp_path: Path) -> None:
    with serving(state(tmp_path), "--workers", "2") as server:

        def ask(n: int) -> int:
            with httpx.Client(base_url=server.http.base_url, timeout=60) as http:
                for m in range(12):
                    asked = {"tenant": "racing", "decision_id": f"r{n}-{m}"}
                    http.post("/route", json={"request": BODY, "caller": asked})
            return n

        with ThreadPoolExecutor(8) as clients:
            assert list(clients.map(ask, range(8))) == list(range(8))
        used = account(server, "racing", "microusd_per_day")
        assert 0 < used["settled"] + used["held"] + used["leased"] <= used["cap"]
        reserved = server.rows("select count(*) as n from decisions where tenant = 'racing'")
        assert reserved[0]["n"] > 1
