"""What nginx's Lua does when the router is away for a while."""

import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_nginx import requires_nginx, serving_nginx
from gateway_processes import FALLBACK
from raw_upstream import AFTER, BEFORE, serving_raw
from serving_process import CHAT, requires_starter, serving, wait_for
from upstream import serving_upstream

pytestmark = [pytest.mark.service, requires_starter, requires_nginx]


def test_a_router_that_hangs_or_is_gone_is_left_alone_for_a_while(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "state") as router,
        serving_upstream() as upstream,
        serving_nginx(
            tmp_path / "gateway",
            router=str(router.http.base_url),
            upstream=upstream.url,
            timeout_ms=250,
        ) as gateway,
    ):
        router.process.send_signal(signal.SIGSTOP)
        response = gateway.http.post("/v1/chat/completions", json=CHAT)
        router.process.send_signal(signal.SIGCONT)
        assert (response.status_code, upstream.models[-1]) == (200, FALLBACK)
        assert response.headers["x-router-fallback"] == "timeout"
        router.stop()
        reasons = []
        for _ in range(5):
            response = gateway.http.post("/v1/chat/completions", json=CHAT)
            assert (response.status_code, upstream.models[-1]) == (200, FALLBACK)
            assert "x-router-decision-id" not in response.headers
            reasons.append(response.headers["x-router-fallback"])
        assert reasons[0] == "connection_refused"
        assert reasons[-1] == "paused"


def test_reports_wait_for_a_router_that_comes_back(tmp_path: Path) -> None:
    with serving_raw() as upstream, serving(tmp_path / "state") as router:
        url = str(router.http.base_url)
        with serving_nginx(tmp_path / "gateway", router=url, upstream=upstream.url) as gateway:
            upstream.go_on.clear()
            body = {**CHAT, "stream": True}
            with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
                decision_id = response.headers["x-router-decision-id"]
                router.stop()
                upstream.go_on.set()
                response.read()
            port = str(router.http.base_url.port)
            with serving(tmp_path / "state", "--port", port) as again:
                sql = f"select model from outcomes where decision_id = '{decision_id}'"
                wait_for(lambda: bool(again.rows(sql)))


def test_answers_that_break_off_are_reported(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as router, serving_raw() as upstream:
        url = str(router.http.base_url)
        body = {**CHAT, "stream": True}

        def outcome_of(decision_id: str) -> dict[str, Any]:
            sql = f"select * from outcomes where decision_id = '{decision_id}'"
            wait_for(lambda: bool(router.rows(sql)))
            (row,) = router.rows(sql)
            return row

        with serving_nginx(tmp_path / "client", router=url, upstream=upstream.url) as gateway:
            upstream.go_on.clear()
            with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
                next(response.iter_raw())
            upstream.go_on.set()
            row = outcome_of(response.headers["x-router-decision-id"])
            assert (row["usage"], row["error"], row["signals"]) == (None, None, "{}")
        with (
            serving_upstream() as breaking,
            serving_nginx(tmp_path / "provider", router=url, upstream=breaking.url) as gateway,
        ):
            first = gateway.http.post("/v1/chat/completions", json=CHAT)
            breaking.fail(first.headers["x-routed-model"], "cut")
            streamed = gateway.http.stream("POST", "/v1/chat/completions", json=body)
            with streamed as response, pytest.raises(httpx.RemoteProtocolError):
                response.read()
            row = outcome_of(response.headers["x-router-decision-id"])
            assert row["error"] == "incomplete"


def test_every_call_may_be_decided_whatever_model_it_names(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "tenants.toml").write_text(
        '[default]\nadoption = "observe"\nincumbent = "claude-haiku-4-5"\n'
    )
    body = {**CHAT, "model": "claude-opus-4-6"}
    with (
        serving(state) as router,
        serving_raw() as upstream,
        serving_nginx(
            tmp_path / "gateway",
            router=str(router.http.base_url),
            upstream=upstream.url,
            settings='alias = "*"',
        ) as gateway,
    ):
        observed = gateway.http.post("/v1/chat/completions", json=body)
        assert observed.headers["x-routed-model"] == "claude-opus-4-6"
        assert observed.headers["x-router-decision-id"]
        unknown = gateway.http.post("/v1/chat/completions", json={**body, "model": "own"})
        assert unknown.headers["x-routed-model"] == "own"
        assert unknown.headers["x-router-decision-id"]
        router.stop()
        down = gateway.http.post("/v1/chat/completions", json={**body, "model": "own"})
    assert down.headers["x-router-fallback"] == "connection_refused"
    models = [json.loads(sent)["model"] for sent in upstream.bodies]
    assert models == ["claude-opus-4-6", "own", "own"]
    assert upstream.bodies[0] == observed.request.content


def test_of_a_long_answer_both_ends_are_kept_and_its_usage_is_read(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "state") as router,
        serving_raw() as upstream,
        serving_nginx(
            tmp_path / "gateway",
            router=str(router.http.base_url),
            upstream=upstream.url,
            settings='alias = "auto", kept_bytes = 40000',
        ) as gateway,
    ):
        upstream.filler = 5_000 * BEFORE
        body = {**CHAT, "stream": True}
        response = gateway.http.post("/v1/chat/completions", json=body)
        assert response.content == BEFORE + upstream.filler + AFTER
        decision_id = response.headers["x-router-decision-id"]
        sql = f"select * from outcomes where decision_id = '{decision_id}'"
        wait_for(lambda: bool(router.rows(sql)))
        (row,) = router.rows(sql)
    assert (row["usage"]["input_tokens"], row["usage"]["output_tokens"]) == (12, 3)
    assert (row["signals"], row["n_tool_calls"], row["error"]) == ("{}", None, None)
