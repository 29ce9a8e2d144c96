"""nginx and Envoy with the shipped Lua between clients, a provider and the router: all real."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from gateway_bodies import TRICKY, long_body
from gateway_lua import GATEWAYS, PATHS, Serving
from gateway_processes import FALLBACK, Gateway
from raw_upstream import AFTER, BEFORE, RawUpstream, serving_raw
from serving_process import BODIES, CHAT, Server, requires_starter, serving, wait_for
from upstream import Upstream, serving_upstream

pytestmark = [pytest.mark.service, requires_starter]


@dataclass(frozen=True)
class Way:
    """From client to provider, past the router."""

    gateway: Gateway
    router: Server
    upstream: Upstream

    def outcomes(self, decision_id: str) -> list[dict[str, Any]]:
        """The outcomes of a decision, once there is one."""
        sql = f"select * from outcomes where decision_id = '{decision_id}'"
        wait_for(lambda: bool(self.router.rows(sql)))
        return self.router.rows(sql)


@pytest.fixture(scope="module", params=GATEWAYS)
def serving_gateway(request: pytest.FixtureRequest) -> Serving:
    made: Serving = request.param
    return made


@pytest.fixture(scope="module")
def way(serving_gateway: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("way")
    with serving(folder / "state") as router, serving_upstream() as upstream:
        url = str(router.http.base_url)
        with serving_gateway(folder / "gateway", router=url, upstream=upstream.url) as gateway:
            yield Way(gateway, router, upstream)


@pytest.fixture(scope="module")
def raw(
    serving_gateway: Serving, way: Way, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, RawUpstream]]:
    """A way to a provider that keeps bytes."""
    folder = tmp_path_factory.mktemp("raw") / "gateway"
    url = str(way.router.http.base_url)
    with (
        serving_raw() as upstream,
        serving_gateway(folder, router=url, upstream=upstream.url) as made,
    ):
        yield made.http, upstream


@pytest.mark.parametrize("wire_format", BODIES)
@pytest.mark.parametrize("stream", [False, True])
def test_the_provider_gets_the_chosen_model_and_the_router_the_answer(
    way: Way, wire_format: str, stream: bool
) -> None:
    path, body = PATHS[wire_format], dict(BODIES[wire_format])
    if stream and wire_format == "gemini":
        path = path.replace("generateContent", "streamGenerateContent?alt=sse")
    elif stream:
        body["stream"] = True
    response = way.gateway.http.post(path, json=body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream") == stream
    chosen, decision_id = (
        response.headers["x-routed-model"],
        response.headers["x-router-decision-id"],
    )
    assert way.upstream.received[-1].model == chosen
    assert way.router.http.get(f"/decisions/{decision_id}").json()["model"] == chosen
    (outcome,) = way.outcomes(decision_id)
    assert (outcome["model"], outcome["error"]) == (chosen, None)
    assert outcome["usage"]["input_tokens"] > 10
    assert outcome["usage"]["output_tokens"] > 0
    assert outcome["latency_ms"] >= 0


def test_tool_calls_are_read_from_a_stream(way: Way) -> None:
    tool = {"name": "bash", "parameters": {"type": "object", "required": ["command"]}}
    tool["parameters"]["properties"] = {"command": {"type": "string"}}  # type: ignore[index]
    body = {**CHAT, "stream": True, "tools": [{"type": "function", "function": tool}]}
    response = way.gateway.http.post("/v1/chat/completions", json=body)
    (outcome,) = way.outcomes(response.headers["x-router-decision-id"])
    assert (outcome["tool_call_valid"], outcome["n_tool_calls"]) == (True, 1)


@pytest.mark.parametrize(
    ("fault", "error"), [("500", "http_500"), ("429", "http_429"), ("400", "http_400")]
)
def test_a_failure_of_the_provider_is_passed_on_and_reported(
    way: Way, fault: str, error: str
) -> None:
    model = way.gateway.http.post("/v1/chat/completions", json=CHAT).headers["x-routed-model"]
    way.upstream.fail(model, fault)
    response = way.gateway.http.post("/v1/chat/completions", json=CHAT)
    assert response.status_code == int(fault)
    (outcome,) = way.outcomes(response.headers["x-router-decision-id"])
    assert error in outcome["error"]


@pytest.mark.parametrize(("before", "after"), TRICKY.values(), ids=TRICKY)
def test_only_the_model_of_the_body_itself_is_replaced(
    raw: tuple[httpx.Client, RawUpstream], before: bytes, after: bytes
) -> None:
    http, upstream = raw
    response = http.post("/v1/chat/completions", content=before)
    model = response.headers.get("x-routed-model", "").encode()
    assert upstream.bodies[-1] == after.replace(b"<MODEL>", b'"%s"' % model)
    assert bool(model) == (b"<MODEL>" in after)


def test_a_body_that_comes_in_chunks_keeps_its_bytes(
    raw: tuple[httpx.Client, RawUpstream],
) -> None:
    http, upstream = raw
    before, after = long_body(20_000)
    pieces = (before[at : at + 1_000] for at in range(0, len(before), 1_000))
    response = http.post("/v1/chat/completions", content=pieces)
    model = response.headers["x-routed-model"].encode()
    assert upstream.bodies[-1] == after.replace(b"<MODEL>", b'"%s"' % model)


def test_a_body_of_megabytes_keeps_its_bytes(raw: tuple[httpx.Client, RawUpstream]) -> None:
    http, upstream = raw
    before, after = long_body(3_000_000)
    response = http.post("/v1/chat/completions", content=before)
    model = response.headers["x-routed-model"].encode()
    assert upstream.bodies[-1] == after.replace(b"<MODEL>", b'"%s"' % model)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/chat/completions"])
@pytest.mark.parametrize("body", [b"not json", b'{"model": "gpt-x", "input": 1}', b"", b"\x00\xff"])
def test_what_the_router_is_not_asked_for_passes_untouched(
    raw: tuple[httpx.Client, RawUpstream], path: str, body: bytes
) -> None:
    http, upstream = raw
    response = http.post(path, content=body)
    assert "x-router-decision-id" not in response.headers
    assert (upstream.paths[-1], upstream.bodies[-1]) == (path, body)


def test_a_body_that_the_router_does_not_know_goes_to_the_fallback(
    raw: tuple[httpx.Client, RawUpstream],
) -> None:
    http, upstream = raw
    response = http.post("/v1/chat/completions", content=b'{"model": "auto", "odd": true}')
    assert response.headers["x-router-fallback"] == "http_422"
    assert json.loads(upstream.bodies[-1]) == {"model": FALLBACK, "odd": True}


def test_counting_tokens_is_no_decision(raw: tuple[httpx.Client, RawUpstream]) -> None:
    http, upstream = raw
    response = http.post("/v1/messages/count_tokens", json=BODIES["anthropic.messages"])
    assert "x-router-decision-id" not in response.headers
    assert json.loads(upstream.bodies[-1])["model"] == FALLBACK


def test_a_stream_comes_through_while_the_provider_still_writes(
    raw: tuple[httpx.Client, RawUpstream],
) -> None:
    http, upstream = raw
    upstream.go_on.clear()
    with http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        chunks = response.iter_raw()
        first = b""
        while len(first) < len(BEFORE):
            first += next(chunks)
        assert first == BEFORE
        upstream.go_on.set()
        assert b"".join(chunks) == AFTER


def test_the_same_call_twice_is_two_decisions_and_two_outcomes(way: Way) -> None:
    answers = [way.gateway.http.post("/v1/chat/completions", json=CHAT) for _ in range(2)]
    ids = {answer.headers["x-router-decision-id"] for answer in answers}
    assert len(ids) == 2
    assert all(len(way.outcomes(decision_id)) == 1 for decision_id in ids)


def test_many_callers_at_once_each_get_their_own_answer(way: Way) -> None:
    models: list[tuple[str, str]] = []

    def call(number: int) -> None:
        with httpx.Client(base_url=way.gateway.http.base_url, timeout=60) as http:
            body = {**CHAT, "messages": [{"role": "user", "content": f"question {number}"}]}
            response = http.post("/v1/chat/completions", json=body)
            models.append((response.headers["x-routed-model"], response.json()["model"]))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 16
    assert all(routed == served for routed, served in models)


def test_who_calls_is_told_and_no_header_of_ours_reaches_the_provider(way: Way) -> None:
    headers = {
        "authorization": "Bearer team-a-secret",
        "x-router-tenant": "someone-else",
        "x-router-models": "claude-haiku-4-5",
        "x-router-user": "kim",
        "x-claude-code-session-id": "session-of-this-test",
    }
    response = way.gateway.http.post("/v1/chat/completions", json=CHAT, headers=headers)
    decision_id = response.headers["x-router-decision-id"]
    way.outcomes(decision_id)
    way.router.http.get(f"/decisions/{decision_id}", headers={"x-router-tenant": "team-a"})
    (row,) = way.router.rows(f"select * from decisions where decision_id = '{decision_id}'")
    assert (row["tenant"], row["user"], row["session"]) == (
        *("team-a", "kim", "session-of-this-test"),
    )
    seen = way.upstream.received[-1].headers
    assert seen["authorization"] == "Bearer team-a-secret"
    assert not [name for name in seen if name.startswith("x-router")]
