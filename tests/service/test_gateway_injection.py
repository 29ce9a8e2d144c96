"""Clients that write a request of their own into the question that a gateway asks."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from gateway_lua import GATEWAYS, Serving
from gateway_processes import Gateway
from raw_http import connected, post
from raw_upstream import RawUpstream, serving_raw
from serving_process import CHAT, GEMINI, Server, requires_starter, serving, wait_for

from router_serving import keys_file
from router_serving.keys import Scope

pytestmark = [pytest.mark.service, requires_starter]

END = "/v1/chat/completions"
MODEL = "claude-haiku-4-5"
OUTCOME: dict[str, Any] = {
    "decision_id": "smuggled",
    "model": MODEL,
    "adequate": True,
    "usage": {"input_tokens": 900_000, "output_tokens": 900_000},
}
HEADERS = "/x HTTP/1.1\r\nx-router-tenant: acme\r\nx-foo: "
SECOND = (
    "/x HTTP/1.1\r\ncontent-length: 0\r\nhost: x\r\n\r\n"
    "POST {path} HTTP/1.1\r\nx-router-tenant: acme\r\nx-foo: "
)
# What stands before the path, and the body that goes with it.
ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "a header": (HEADERS, {**CHAT, "model": MODEL}),
    "a header, with bare line feeds": (HEADERS.replace("\r", ""), {**CHAT, "model": MODEL}),
    "a second report": (SECOND.format(path="/outcomes"), OUTCOME),
    "a second question": (SECOND.format(path="/route"), {**CHAT, "model": MODEL}),
}
PATHS = {
    "chat": (f"/team%20a%25%3F%23%C3%A9{END}", CHAT),
    "gemini": ("/team%20a%25%3F%23%C3%A9/models/auto:generateContent", GEMINI),
}


@dataclass(frozen=True)
class Way:
    """From client to provider, past a router that asks for keys."""

    gateway: Gateway
    router: Server
    upstream: RawUpstream
    reader: dict[str, str]

    def logged(self, decision_id: str) -> list[dict[str, Any]]:
        """The outcomes of a decision, once there is one."""
        sql = f"select * from outcomes where decision_id = '{decision_id}'"
        wait_for(lambda: bool(self.router.rows(sql)))
        return self.router.rows(sql)

    def check_tenants(self, *allowed: str) -> None:
        """Fail where anything is logged or spent for another tenant than these."""
        params = {"group_by": "tenant"}
        answer = self.router.http.get("/spend", params=params, headers=self.reader)
        groups = {group["group"] for group in answer.json()["groups"]}
        for table in ("decisions", "outcomes"):
            groups |= {row["tenant"] for row in self.router.rows(f"select tenant from {table}")}
        assert groups <= set(allowed), groups


@pytest.fixture(scope="module", params=GATEWAYS)
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    serving_gateway: Serving = request.param
    folder = tmp_path_factory.mktemp("injection")
    state = folder / "state"
    state.mkdir()

    def made(*scopes: Scope) -> str:
        file, now = state / "keys.json", datetime.now(UTC)
        return keys_file.create(file, tenant="*", scopes=scopes, now=now).text

    key, reader = made("route", "outcomes"), {"x-router-api-key": made("read")}
    with serving(state) as router, serving_raw() as upstream:
        url = str(router.http.base_url)
        with serving_gateway(
            folder / "gateway", router=url, upstream=upstream.url, api_key=key
        ) as gateway:
            yield Way(gateway, router, upstream, reader)


@pytest.mark.parametrize(("before", "body"), ATTACKS.values(), ids=ATTACKS)
def test_a_path_that_holds_a_request_speaks_for_no_other_tenant(
    way: Way, before: str, body: dict[str, Any]
) -> None:
    for alias in ("auto", MODEL):
        content = json.dumps({**body, "model": alias})
        way.gateway.http.post(quote(before, safe="/:") + END, content=content)
    checked = way.gateway.http.post(END, json=CHAT)  # by the same connections
    way.logged(checked.headers["x-router-decision-id"])
    way.check_tenants("default")


@pytest.mark.parametrize(("path", "body"), PATHS.values(), ids=PATHS)
def test_a_path_with_escapes_is_decided_and_stays_as_it_was(
    way: Way, path: str, body: dict[str, Any]
) -> None:
    response = way.gateway.http.post(path + "?alt=%20a", json=body)
    model = response.headers["x-routed-model"]
    assert response.headers["x-router-decision-id"]
    wanted = path.replace("models/auto", f"models/{model}") + "?alt=%20a"
    assert way.upstream.paths[-1] == wanted
    way.check_tenants("default")


@pytest.mark.parametrize("path", [END, "/v1/embeddings"])
@pytest.mark.parametrize("model", ["auto", "own"])
def test_no_header_of_ours_reaches_the_provider_though_nothing_is_decided(
    way: Way, path: str, model: str
) -> None:
    headers = {"x-router-user": "kim", "x-router-api-key": "rk_x", "x-router-tenant": "acme"}
    way.gateway.http.post(path, json={**CHAT, "model": model}, headers=headers)
    seen = way.upstream.headers[-1]
    assert not [name for name in seen if name.startswith("x-router")]
    way.check_tenants("default")


def test_headers_with_control_characters_write_no_others(way: Way) -> None:
    body, port = json.dumps(CHAT).encode(), way.gateway.http.base_url.port
    assert port is not None
    for value in ("a\tb", "a\x0bb", "a\x01x-router-tenant: acme", "a\rx-router-tenant: acme"):
        named = [f"{name}: {value}" for name in ("x-router-user", "user-agent", "session-id")]
        with connected(port) as connection:
            connection.sendall(post(body, "connection: close", *named, path=END))
            assert b" 200 OK" in (answer := all_of(connection)) or b" 400 Bad" in answer
    way.check_tenants("default")


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))
