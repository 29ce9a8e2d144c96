"""Gateways that are careless: an unknown format, calls and reports twice, foreign ones, or none."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from serving_process import CHAT, Server, requires_starter, serving, wait_for

from router_serving import keys_file

pytestmark = [pytest.mark.service, requires_starter]
TENANTS = """
[tenants.acme]
usd_per_day = 0.25
[tenants.other]
rpm = 1000
"""


@dataclass(frozen=True)
class Gateways:
    """A router, and the gateways of two tenants."""

    router: Server
    keys: dict[str, str]

    def post(self, tenant: str, path: str, content: Any, **headers: str) -> httpx.Response:
        own = {"x-router-api-key": self.keys[tenant], **headers}
        return self.router.http.post(path, json=content, headers=own)

    def route(self, tenant: str, decision_id: str) -> httpx.Response:
        caller = {"decision_id": decision_id}
        request = {**CHAT, "max_completion_tokens": 1_000}
        return self.post(tenant, "/route", {"request": request, "caller": caller})

    def held(self) -> int:
        """What is reserved of the budget of acme, in micro-dollars."""
        own = {"x-router-api-key": self.keys["acme"]}
        found = self.router.http.get("/budgets", headers=own).json()
        return int(found["accounts"][0]["held"])


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    state = tmp_path_factory.mktemp("careless") / "state"
    state.mkdir()
    (state / "tenants.toml").write_text(TENANTS)
    keys = {
        tenant: keys_file.create(
            state / "keys.json", tenant=tenant, scopes=("admin",), now=datetime.now(UTC)
        ).text
        for tenant in ("acme", "other")
    }
    with serving(state, hold_s="10") as router:
        yield Gateways(router, keys)


@pytest.mark.parametrize("wire_format", ["cohere.chat", "OPENAI.CHAT", "", 7])
def test_an_unknown_format_is_refused_with_those_that_are_known(
    gateways: Gateways, wire_format: object
) -> None:
    response = gateways.post("acme", "/route", {"request": CHAT, "format": wire_format})
    problem = response.json()
    assert (response.status_code, problem["field"]) == (422, "format")
    assert "openai.chat, openai.responses, anthropic.messages, gemini" in problem["allowed"]


def test_a_body_of_no_known_format_is_decided_as_far_as_it_is_understood(
    gateways: Gateways,
) -> None:
    response = gateways.post("other", "/route", {"request": {"prompt": "Once upon a time"}})
    assert response.status_code == 200, response.text


def test_a_call_that_is_repeated_is_one_decision(gateways: Gateways) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateways.route("other", "repeated").json(), range(8)))
    assert all(answer == answers[0] for answer in answers)
    sql = "select * from decisions where decision_id = 'repeated'"
    wait_for(lambda: len(gateways.router.rows(sql)) == 1)


def test_a_report_that_is_repeated_counts_once(gateways: Gateways) -> None:
    model = gateways.route("other", "told-twice").json()["model"]
    outcome = {"decision_id": "told-twice", "model": model, "cost_usd": 0.5}
    for report in (outcome, [outcome, outcome], {**outcome, "cost_usd": 0.25}):
        assert gateways.post("other", "/outcomes", report).status_code == 200
    sql = "select * from outcomes where decision_id = 'told-twice'"
    (row,) = gateways.router.rows(sql)
    assert row["cost_usd"] == 0.25


def test_a_report_for_another_tenant_is_refused_and_changes_nothing(gateways: Gateways) -> None:
    gateways.route("other", "not-yours")
    outcome = {"decision_id": "not-yours", "model": "m", "cost_usd": 0.1, "adequate": False}
    named = {"x-router-tenant": "other"}
    assert gateways.post("acme", "/outcomes", outcome, **named).status_code == 403
    unnamed = gateways.post("acme", "/outcomes", outcome)
    assert unnamed.json()["unmatched"] == ["not-yours"]
    sql = "select tenant from outcomes where decision_id = 'not-yours'"
    assert [row["tenant"] for row in gateways.router.rows(sql)] == ["acme"]


def test_a_gateway_that_never_reports_is_served_and_its_budget_comes_back(
    gateways: Gateways,
) -> None:
    assert gateways.route("acme", "never-told").status_code == 200
    wait_for(lambda: gateways.held() > 0)
    wait_for(lambda: gateways.held() == 0)
    assert gateways.route("acme", "afterwards").status_code == 200
