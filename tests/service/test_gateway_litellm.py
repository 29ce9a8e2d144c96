"""LiteLLM's proxy asks the router and reports to it: with real clients, on every route."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from litellm_proxy import (
    CLAUDE,
    FALLBACK_SENT,
    GEMINI,
    GPT,
    SENT,
    Proxy,
    Sdks,
    configuration,
    key_of,
    requires_litellm,
    running_sdks,
    serving_litellm,
)
from serving_process import Server, requires_starter, serving, wait_for
from upstream import Upstream, serving_upstream

pytestmark = [pytest.mark.service, requires_litellm, requires_starter]
ROUTES = ("chat", "messages", "responses")
FORMATS = {
    "chat": "openai.chat",
    "messages": "anthropic.messages",
    "responses": "openai.responses",
    "gemini": "gemini",
}


@dataclass(frozen=True)
class World:
    """A router, a provider, and a proxy between clients and it."""

    router: Server
    upstream: Upstream
    proxy: Proxy
    sdks: Sdks

    def gemini(self, key: str, *, stream: bool) -> httpx.Response:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        parameters = {"type": "object", "properties": {"command": {"type": "string"}}}
        tool = {"name": "bash", "parameters": parameters}
        return httpx.post(
            f"{self.proxy.url}/v1beta/models/auto:{method}",
            json={
                "contents": [{"role": "user", "parts": [{"text": "Fix it"}]}],
                "tools": [{"functionDeclarations": [tool]}],
            },
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
        )

    def decision(self, decision_id: str) -> dict[str, Any]:
        """The decision's row, once it is in the log."""
        sql = f"select * from decisions where decision_id = '{decision_id}'"
        wait_for(lambda: bool(self.router.rows(sql)))
        return self.router.rows(sql)[0]

    def outcomes(self, decision_id: str, *, n: int = 1) -> list[dict[str, Any]]:
        """The decision's outcomes by attempt, once there are so many."""
        sql = f"select * from outcomes where decision_id = '{decision_id}' order by attempt"
        wait_for(lambda: len(self.router.rows(sql)) >= n)
        return self.router.rows(sql)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("litellm")
    with ExitStack() as stack:
        upstream = stack.enter_context(serving_upstream())
        (folder / "state").mkdir()
        (folder / "state" / "tenants.toml").write_text("[tenants.poor]\nrpm = 1\n")
        router = stack.enter_context(serving(folder / "state"))
        fallbacks = [{CLAUDE: [GPT]}]
        config = configuration(upstream.url, num_retries=1, retry_after=0, fallbacks=fallbacks)
        url = str(router.http.base_url)
        proxy = stack.enter_context(serving_litellm(folder / "proxy", config, router=url))
        sdks = stack.enter_context(running_sdks(proxy.url))
        yield World(router, upstream, proxy, sdks)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [GPT, CLAUDE, GEMINI])
@pytest.mark.parametrize("route", ROUTES)
def test_the_router_s_choice_answers_and_is_reported(
    world: World, route: str, model: str, stream: bool
) -> None:
    found = world.sdks.call(route, key=key_of(model), stream=stream)
    assert found["status"] == 200, found
    assert found["calls"] == ['{"command": "echo hello"}'], "the tool call arrives"
    assert world.upstream.models[-1] == SENT[model]
    assert found["headers"]["x-routed-model"] == model
    decision_id = found["headers"]["x-router-decision-id"]

    decision = world.decision(decision_id)
    assert decision["model"] == model
    assert decision["format"] == FORMATS[route]
    assert (decision["tenant"], decision["key"], decision["user"]) == ("acme", "ci", "kim")

    (outcome,) = world.outcomes(decision_id)
    assert (outcome["attempt"], outcome["model"], outcome["tenant"]) == (0, model, "acme")
    assert outcome["error"] is None
    assert outcome["tool_call_valid"] is True
    assert outcome["n_tool_calls"] == 1
    assert 0 < outcome["tool_call_latency_ms"] <= outcome["latency_ms"] + 1_000
    assert outcome["usage"]["input_tokens"] > 0
    assert outcome["usage"]["output_tokens"] > 0
    assert outcome["cost_usd"] > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [GPT, CLAUDE, GEMINI])
def test_the_router_s_choice_answers_clients_of_gemini(
    world: World, model: str, stream: bool
) -> None:
    found = world.gemini(key_of(model), stream=stream)
    assert found.status_code == 200, found.text
    assert "echo hello" in found.text
    assert world.upstream.models[-1] == SENT[model]
    decision_id = found.headers["x-router-decision-id"]
    assert world.decision(decision_id)["format"] == "gemini"
    (outcome,) = world.outcomes(decision_id)
    assert (outcome["model"], outcome["error"]) == (model, None)
    assert outcome["usage"]["output_tokens"] > 0
    assert outcome["tool_call_valid"] is True
    assert outcome["tool_call_latency_ms"] > 0


@pytest.mark.parametrize("route", ROUTES)
def test_tokens_read_from_a_cache_are_reported(world: World, route: str) -> None:
    for _ in range(2):
        found = world.sdks.call(route, key=key_of(CLAUDE), text=f"Cache me on {route}")
    (outcome,) = world.outcomes(found["headers"]["x-router-decision-id"])
    usage = outcome["usage"]
    assert 0 < usage["cached_tokens"] < usage["input_tokens"]


def test_a_named_model_is_left_alone(world: World) -> None:
    found = world.sdks.call("chat", key=key_of(), model=GPT)
    assert world.upstream.models[-1] == SENT[GPT]
    assert "x-router-decision-id" not in found["headers"]


def test_all_models_of_the_proxy_may_answer_and_no_other(world: World) -> None:
    found = world.sdks.call("chat", key=key_of())
    decision = world.decision(found["headers"]["x-router-decision-id"])
    assert set(decision["overrides"]["models"]) == set(SENT)
    assert found["headers"]["x-routed-model"] in SENT


@pytest.mark.parametrize("route", ROUTES)
def test_the_client_s_own_metadata_stays_what_it_was(world: World, route: str) -> None:
    world.sdks.call(route, key=key_of(CLAUDE))
    body = world.upstream.received[-1].body
    assert body.get("metadata") in (None, {}, {"user_id": "the-client-s-own"})
    assert "router_decision_id" not in str(body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_each_attempt_of_a_call_is_reported_by_itself(
    world: World, route: str, stream: bool
) -> None:
    world.upstream.fail(SENT[CLAUDE], "500", times=2)
    found = world.sdks.call(route, key=key_of(CLAUDE), stream=stream)
    assert found["status"] == 200, found
    outcomes = world.outcomes(found["headers"]["x-router-decision-id"], n=3)
    assert [row["attempt"] for row in outcomes] == [0, 1, 2]
    assert [row["model"] for row in outcomes] == [CLAUDE, CLAUDE, GPT]
    assert [row["error"] is None for row in outcomes] == [False, False, True]
    assert "InternalServerError 500" in outcomes[0]["error"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["500", "429", "cut"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_call_that_fails_for_good_is_reported_as_such(
    world: World, route: str, fault: str, stream: bool
) -> None:
    world.upstream.fail(SENT[GPT], fault, times=2)
    n_before = len(_ids(world))
    found = world.sdks.call(route, key=key_of(GPT), stream=stream)
    world.upstream.faults.clear()
    assert found["status"] != 200 or found.get("error")
    wait_for(lambda: len(_ids(world)) > n_before)
    outcomes = world.outcomes(_ids(world)[-1])
    assert all(row["error"] for row in outcomes)
    assert all(row["model"] == GPT for row in outcomes)


def _ids(world: World) -> list[str]:
    rows = world.router.rows("select decision_id from decisions order by ts_ms, decision_id")
    return [row["decision_id"] for row in rows]


@pytest.mark.parametrize(
    ("fault", "signal"),
    [("truncated", "truncated"), ("refusal", "refused"), ("empty", "empty_answer")],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_what_an_answer_shows_of_itself_is_reported(
    world: World, route: str, stream: bool, fault: str, signal: str
) -> None:
    world.upstream.fail(SENT[CLAUDE], fault)
    found = world.sdks.call(route, key=key_of(CLAUDE), stream=stream)
    assert found["status"] == 200, found
    (outcome,) = world.outcomes(found["headers"]["x-router-decision-id"])
    assert f'"{signal}":true' in str(outcome["signals"]).replace(" ", "")


@pytest.mark.parametrize("route", ROUTES)
def test_arguments_against_the_schema_are_reported(world: World, route: str) -> None:
    world.upstream.fail(SENT[GPT], "badargs")
    found = world.sdks.call(route, key=key_of(GPT))
    (outcome,) = world.outcomes(found["headers"]["x-router-decision-id"])
    assert outcome["tool_call_valid"] is False


def test_a_step_that_is_asked_again_counts_against_the_answer_before(world: World) -> None:
    session = {"x-litellm-session-id": "session-of-retries"}
    first, _ = (
        world.sdks.call("chat", key=key_of(GPT), text="Once more", headers=session)
        for _ in range(2)
    )
    decision_id = first["headers"]["x-router-decision-id"]
    wait_for(lambda: '"retried":true' in str(world.outcomes(decision_id)[0]["signals"]))
    assert world.decision(decision_id)["session"] == "session-of-retries"


@pytest.mark.parametrize("route", ROUTES)
def test_a_limit_of_the_router_reaches_the_client(world: World, route: str) -> None:
    key = key_of(team="poor", user=route)
    world.sdks.call(route, key=key)
    n_before = len(world.upstream.received)
    found = world.sdks.call(route, key=key)
    assert found["status"] == 429, found
    assert found["error"] == "RateLimitError"
    assert "rpm" in found["text"]
    if route != "messages":  # there LiteLLM drops the headers of errors
        assert int(found["headers"]["retry-after"]) > 0
    assert len(world.upstream.received) == n_before


def test_a_call_that_no_model_can_take_reaches_the_client_as_a_conflict(world: World) -> None:
    found = world.sdks.call("chat", key=key_of(GPT), text="word " * 1_500_000)
    assert found["status"] == 409, found
    assert "context" in found["text"]


def test_a_key_for_no_model_of_the_catalog_gets_the_fallback(world: World) -> None:
    found = world.sdks.call("chat", key=key_of("no-such-model"))
    assert found["headers"]["x-router-fallback"] == "no_known_model"
    assert world.upstream.models[-1] == FALLBACK_SENT


def test_neither_prompts_nor_keys_stand_in_the_log_of_the_proxy(world: World) -> None:
    key = key_of(GPT, user="secret-user-7")
    for fault in ("", "500", "cut"):
        if fault:
            world.upstream.fail(SENT[GPT], fault)
        world.sdks.call("chat", key=key, text="a very private prompt", stream=True)
    ours = [line for line in world.proxy.log.read_text().splitlines() if "router" in line]
    assert not [line for line in ours if "private prompt" in line or key in line]
