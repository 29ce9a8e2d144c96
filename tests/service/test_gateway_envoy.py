"""Envoy's ext_authz: the decision in headers, by which a route chooses its provider."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from gateway_envoy import requires_envoy, serving_envoy
from gateway_processes import Gateway
from raw_upstream import AFTER, BEFORE, RawUpstream, serving_raw
from serving_process import BODIES, CHAT, Server, requires_starter, serving, wait_for

from router_serving import keys_file
from router_serving.keys import Scope

pytestmark = [pytest.mark.service, requires_starter, requires_envoy]

PATHS = {
    "openai.chat": "/v1/chat/completions",
    "openai.responses": "/v1/responses",
    "anthropic.messages": "/v1/messages?beta=true",
    "gemini": "/v1beta/models/auto:streamGenerateContent?alt=sse",
}


@dataclass(frozen=True)
class Way:
    """From client to one of two providers, past the router."""

    gateway: Gateway
    router: Server
    other: RawUpstream
    anthropic: RawUpstream

    def seen_by(self, model: str) -> RawUpstream:
        """The provider that a model's calls have to get to."""
        return self.anthropic if model.startswith("claude-") else self.other


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("authz")
    with (
        serving(folder / "state") as router,
        serving_raw() as other,
        serving_raw() as anthropic,
        serving_envoy(
            folder / "gateway",
            router=str(router.http.base_url),
            upstream=other.url,
            other=anthropic.url,
            file="ext_authz.yaml",
        ) as gateway,
    ):
        yield Way(gateway, router, other, anthropic)


@pytest.mark.parametrize("wire_format", BODIES)
def test_the_decision_of_every_dialect_stands_in_the_headers(way: Way, wire_format: str) -> None:
    headers = {"x-routed-model": "claude-of-the-client", "x-router-user": "kim"}
    path = PATHS[wire_format]
    response = way.gateway.http.post(path, json=BODIES[wire_format], headers=headers)
    chosen, decision_id = (
        response.headers[name] for name in ("x-routed-model", "x-router-decision-id")
    )
    provider = way.seen_by(chosen)
    assert provider.paths[-1] == path
    assert provider.bodies[-1] == response.request.content
    assert provider.headers[-1]["x-routed-model"] == chosen
    team = {"x-router-tenant": "team-a"}
    assert way.router.http.get(f"/decisions/{decision_id}", headers=team).json()["model"] == chosen
    (row,) = way.router.rows(f"select * from decisions where decision_id = '{decision_id}'")
    assert (row["tenant"], row["user"], row["format"]) == ("team-a", "kim", wire_format)


def test_the_route_follows_the_chosen_model(way: Way) -> None:
    state = way.router.state / "tenants.toml"
    state.write_text('[tenants.team-a]\nmodels = ["claude-haiku-4-5"]\n')
    way.router.process.send_signal(signal.SIGHUP)  # look at the file now

    def model() -> str:
        response = way.gateway.http.post("/v1/chat/completions", json=CHAT)
        return str(response.headers["x-routed-model"])

    wait_for(lambda: model() == "claude-haiku-4-5")
    n_before = len(way.anthropic.bodies)
    assert {model() for _ in range(3)} == {"claude-haiku-4-5"}
    assert len(way.anthropic.bodies) == n_before + 3


def test_a_stream_comes_through_while_the_provider_still_writes(way: Way) -> None:
    for provider in (way.other, way.anthropic):
        provider.go_on.clear()
    with way.gateway.http.stream("POST", "/v1/chat/completions", json=CHAT) as response:
        chunks = response.iter_raw()
        first = b""
        while len(first) < len(BEFORE):
            first += next(chunks)
        assert first == BEFORE
        for provider in (way.other, way.anthropic):
            provider.go_on.set()
        assert b"".join(chunks) == AFTER


def test_other_paths_are_not_asked_for(way: Way) -> None:
    response = way.gateway.http.post("/v1/embeddings", content=b"\x00 anything")
    assert way.other.bodies[-1] == b"\x00 anything"
    assert "x-router-decision-id" not in response.headers
    assert "x-routed-model" not in way.other.headers[-1]


def test_the_key_and_the_tenant_are_the_gateway_s_and_nothing_of_ours_reaches_a_provider(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    state.mkdir()

    def made(tenant: str, *scopes: Scope) -> str:
        file, now = state / "keys.json", datetime.now(UTC)
        return keys_file.create(file, tenant=tenant, scopes=scopes, now=now).text

    own, foreign = made("*", "route"), made("other", "route")
    reader = {"x-router-api-key": made("*", "read")}
    with (
        serving(state) as router,
        serving_raw() as upstream,
        serving_envoy(
            tmp_path / "gateway",
            router=str(router.http.base_url),
            upstream=upstream.url,
            api_key=own,
            file="ext_authz.yaml",
        ) as gateway,
    ):
        said = {"tenant": "other", "user": "kim", "api-key": foreign, "max-cost-usd": "1e-9"}
        said |= {"decision-id": "of-the-client", "session": "s"}
        headers = {f"x-router-{name}": value for name, value in said.items()}
        headers |= {"authorization": f"Bearer {foreign}"}
        for path in ("/v1/chat/completions", "/v1/embeddings"):
            response = gateway.http.post(path, json=CHAT, headers=headers)
            assert response.status_code == 200, response.text
            seen = upstream.headers[-1]
            assert not [name for name in seen if name.startswith("x-router-")]
            assert not set(seen.values()) & {own, "of-the-client"}
            is_decided = path != "/v1/embeddings"
            assert ("x-router-decision-id" in response.headers) == is_decided
        router.http.get("/decisions/none", headers=reader)  # waits for the log
        (row,) = router.rows('select tenant, "user", session from decisions')
        assert row == {"tenant": "team-a", "user": "kim", "session": "s"}
        answer = router.http.get("/spend?group_by=tenant", headers=reader)
        assert {group["group"] for group in answer.json()["groups"]} == {"team-a"}


def test_without_a_router_the_last_route_answers(way: Way) -> None:
    way.router.stop()
    headers = {"x-routed-model": "claude-of-the-client"}
    response = way.gateway.http.post("/v1/chat/completions", json=CHAT, headers=headers)
    assert response.status_code == 200
    assert way.other.bodies[-1] == response.request.content
    assert "x-routed-model" not in way.other.headers[-1]


def test_a_router_that_hangs_is_left_alone_for_a_while(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "state") as router,
        serving_raw() as upstream,
        serving_envoy(
            tmp_path / "gateway",
            router=str(router.http.base_url),
            upstream=upstream.url,
            timeout_ms=250,
        ) as gateway,
    ):

        def headers() -> httpx.Headers:
            return gateway.http.post("/v1/chat/completions", json=CHAT).headers

        router.process.send_signal(signal.SIGSTOP)
        assert headers()["x-router-fallback"] == "http_504"
        wait_for(lambda: headers()["x-router-fallback"] == "http_503")
        router.process.send_signal(signal.SIGCONT)
        wait_for(lambda: "x-router-decision-id" in headers())
