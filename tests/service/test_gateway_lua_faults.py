"""nginx and Envoy with the shipped Lua where the router refuses, is gone, or is told nothing."""

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from claude_code import requires_claude, run_claude
from gateway_lua import GATEWAYS, PATHS, Serving
from gateway_processes import FALLBACK
from serving_process import BODIES, CHAT, requires_starter, serving, wait_for
from upstream import serving_upstream
from upstream_script import TEXT

from router_serving import keys_file
from router_serving.keys import Scope

pytestmark = [pytest.mark.service, requires_starter]


@pytest.fixture(scope="module", params=GATEWAYS)
def serving_gateway(request: pytest.FixtureRequest) -> Serving:
    made: Serving = request.param
    return made


def test_a_router_that_is_gone_costs_a_fallback_and_no_call(
    serving_gateway: Serving, tmp_path: Path
) -> None:
    with serving(tmp_path / "state") as router, serving_upstream() as upstream:
        url = str(router.http.base_url)
        with serving_gateway(
            tmp_path / "gateway", router=url, upstream=upstream.url, timeout_ms=250
        ) as gateway:
            router.process.send_signal(signal.SIGSTOP)
            answers = [gateway.http.post("/v1/chat/completions", json=CHAT)]
            router.process.send_signal(signal.SIGCONT)
            router.stop()
            for path, body in zip(PATHS.values(), BODIES.values(), strict=True):
                answers.append(gateway.http.post(path, json=body))
    assert upstream.models == [FALLBACK] * 5
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["x-routed-model"] == FALLBACK
        assert answer.headers["x-router-fallback"]
        assert "x-router-decision-id" not in answer.headers


def test_a_limit_that_is_reached_is_told_to_the_client(
    serving_gateway: Serving, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "tenants.toml").write_text("[default]\nrpm = 1\n")
    with (
        serving(state) as router,
        serving_upstream() as upstream,
        serving_gateway(
            tmp_path / "gateway", router=str(router.http.base_url), upstream=upstream.url
        ) as gateway,
    ):
        answers = [gateway.http.post("/v1/chat/completions", json=CHAT) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert answers[1].json()["limit"] == "rpm"
        assert int(answers[1].headers["retry-after"]) > 0
        assert len(upstream.received) == 1


def test_keys_are_the_gateway_s_and_a_tenant_is_what_the_gateway_says(
    serving_gateway: Serving, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()

    def made(tenant: str, *scopes: Scope) -> str:
        file, now = state / "keys.json", datetime.now(UTC)
        return keys_file.create(file, tenant=tenant, scopes=scopes, now=now).text

    own, reader = made("*", "route", "outcomes"), {"x-router-api-key": made("*", "read")}
    foreign = made("other", "route")
    with serving(state) as router, serving_upstream() as upstream:
        url = str(router.http.base_url)
        with serving_gateway(
            tmp_path / "gateway", router=url, upstream=upstream.url, api_key=own
        ) as gateway:
            headers = {
                "authorization": "Bearer team-a-secret",
                "x-router-api-key": foreign,
                "x-router-tenant": "other",
            }
            response = gateway.http.post("/v1/chat/completions", json=CHAT, headers=headers)
            decision_id = response.headers["x-router-decision-id"]
            sql = f"select tenant, usage from outcomes where decision_id = '{decision_id}'"
            wait_for(lambda: bool(router.rows(sql)))
        (outcome,) = router.rows(sql)
        assert (outcome["tenant"], bool(outcome["usage"])) == ("team-a", True)
        for tenant, status in (("team-a", 200), ("other", 404)):
            asking = {**reader, "x-router-tenant": tenant}
            answer = router.http.get(f"/decisions/{decision_id}", headers=asking)
            assert answer.status_code == status, answer.text
        assert not [name for name in upstream.received[-1].headers if "router" in name]


@requires_claude
def test_claude_code_finishes_its_task_though_the_router_goes_away(
    serving_gateway: Serving, tmp_path: Path
) -> None:
    commands = [f"echo {number}" for number in range(5)]
    with serving(tmp_path / "state") as router, serving_upstream(commands) as upstream:
        url = str(router.http.base_url)
        with serving_gateway(tmp_path / "gateway", router=url, upstream=upstream.url) as gateway:

            def leave() -> None:
                wait_for(lambda: len(upstream.received) >= 2)
                wait_for(lambda: bool(router.rows("select 1 from decisions")))
                router.stop(signal.SIGKILL)

            leaving = threading.Thread(target=leave)
            leaving.start()
            model = {"ANTHROPIC_MODEL": "auto", "ANTHROPIC_SMALL_FAST_MODEL": "auto"}
            said = run_claude(tmp_path, url=str(gateway.http.base_url), environment=model)
            leaving.join()
    assert said == TEXT
    assert len(upstream.models) >= 6
    assert "auto" not in upstream.models
    assert upstream.models[-1] == FALLBACK
    sessions = router.rows("select distinct session from decisions")
    assert len(sessions) == 1


def test_a_gateway_that_can_not_report_ties_up_its_budget_for_a_while_only(
    serving_gateway: Serving, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "tenants.toml").write_text("[default]\nusd_per_day = 0.5\n")
    body = {**CHAT, "max_tokens": 1000}
    with serving(state, hold_s="10") as router, serving_upstream() as upstream:
        url = str(router.http.base_url)
        with serving_gateway(tmp_path / "gateway", router=url, upstream=upstream.url) as gateway:

            def day() -> dict[str, Any]:
                accounts = router.http.get("/budgets", params={"tenant": "default"}).json()
                (found,) = (
                    one for one in accounts["accounts"] if one["limit"] == "microusd_per_day"
                )
                return dict(found)

            router.http.post("/route", json=body)  # what nobody reports
            assert day()["held"] > 0
            wait_for(lambda: day()["held"] == 0)
            assert day()["settled"] == 0
            response = gateway.http.post("/v1/chat/completions", json=body)
            assert response.headers["x-router-decision-id"]
            wait_for(lambda: day()["settled"] > 0)
