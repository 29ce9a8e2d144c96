"""What the settings of LiteLLM's callback change, against a router that asks for keys."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from litellm_proxy import (
    CLAUDE,
    FALLBACK_SENT,
    GPT,
    SENT,
    Sdks,
    configuration,
    deployment,
    key_of,
    requires_litellm,
    running_sdks,
    serving_litellm,
)
from serving_process import Server, requires_starter, serving, wait_for
from upstream import Upstream, serving_upstream

from router_serving import keys_file

pytestmark = [pytest.mark.service, requires_litellm, requires_starter]
ROUTES = ("chat", "messages", "responses")
FAST, STRONG, SPARE = "fast", "strong", "spare"
SENT_FAST, SENT_STRONG = "up-fast", "up-strong"
TENANTS = """
[tenants.poor]
rpm = 1
[tenants.watching]
adoption = "observe"
incumbent = "grok-4.3"
"""


@dataclass(frozen=True)
class World:
    """A proxy that calls the router's models by names of its own, and asks for every call."""

    router: Server
    upstream: Upstream
    sdks: Sdks

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query, once there are some."""
        wait_for(lambda: bool(self.router.rows(sql)))
        return self.router.rows(sql)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("settings")
    state = folder / "state"
    state.mkdir()
    (state / "tenants.toml").write_text(TENANTS)
    key = keys_file.create(
        state / "keys.json", tenant="*", scopes=("route", "outcomes"), now=datetime.now(UTC)
    )
    with ExitStack() as stack:
        upstream = stack.enter_context(serving_upstream())
        router = stack.enter_context(serving(state))
        config = configuration(upstream.url)
        config["model_list"] = [
            deployment(name, sent, upstream.url)
            for name, sent in (
                ("auto", FALLBACK_SENT),
                *((FAST, SENT_FAST), (STRONG, SENT_STRONG), (SPARE, SENT[GPT])),
            )
        ]
        proxy = stack.enter_context(
            serving_litellm(
                folder / "proxy",
                config,
                router=str(router.http.base_url),
                ROUTER_API_KEY=key.text,
                ROUTER_AUTO_MODELS="*",
                ROUTER_GROUPS=f"{FAST}={GPT},{STRONG}={CLAUDE},gone=grok-4.3",
                ROUTER_FALLBACK=SPARE,
                ROUTER_PASS_REFUSALS="false",
                ROUTER_NEXT_MODELS="1",
            )
        )
        sdks = stack.enter_context(running_sdks(proxy.url))
        yield World(router, upstream, sdks)


@pytest.mark.parametrize("route", ROUTES)
def test_names_of_the_proxy_stand_for_models_of_the_catalog(world: World, route: str) -> None:
    found = world.sdks.call(route, key=key_of(FAST))
    assert found["headers"]["x-routed-model"] == FAST
    assert world.upstream.models[-1] == SENT_FAST
    decision_id = found["headers"]["x-router-decision-id"]
    (outcome,) = world.rows(f"select * from outcomes where decision_id = '{decision_id}'")
    assert outcome["model"] == GPT
    (decision,) = world.rows(f"select * from decisions where decision_id = '{decision_id}'")
    assert decision["overrides"]["models"] == [GPT]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_the_router_s_next_model_answers_where_its_choice_fails(
    world: World, route: str, stream: bool
) -> None:
    found = world.sdks.call(route, key=key_of(FAST, STRONG), stream=stream)
    chosen = found["headers"]["x-routed-model"]
    other, sent = {FAST: (CLAUDE, SENT_FAST), STRONG: (GPT, SENT_STRONG)}[chosen]
    world.upstream.fail(sent, "500")
    found = world.sdks.call(route, key=key_of(FAST, STRONG), stream=stream)
    assert found["status"] == 200, found
    decision_id = found["headers"]["x-router-decision-id"]
    sql = f"select * from outcomes where decision_id = '{decision_id}' order by attempt"
    wait_for(lambda: len(world.router.rows(sql)) == 2)
    first, second = world.router.rows(sql)
    assert first["error"]
    assert (second["model"], second["error"]) == (other, None)


@pytest.mark.parametrize("name", [FAST, STRONG])
def test_who_only_watches_keeps_the_model_that_the_client_names(world: World, name: str) -> None:
    found = world.sdks.call("chat", key=key_of(team="watching"), model=name)
    assert found["headers"]["x-routed-model"] == name
    assert world.upstream.models[-1] == {FAST: SENT_FAST, STRONG: SENT_STRONG}[name]
    decision_id = found["headers"]["x-router-decision-id"]
    (decision,) = world.rows(f"select * from decisions where decision_id = '{decision_id}'")
    assert decision["policy"] == "incumbent"
    assert decision["shadow"], "what would have been decided"


def test_who_only_watches_keeps_a_model_that_the_router_does_not_know(world: World) -> None:
    found = world.sdks.call("chat", key=key_of(team="watching"), model=SPARE)
    assert found["headers"]["x-routed-model"] == SPARE
    assert "x-router-fallback" not in found["headers"]
    assert world.upstream.models[-1] == SENT[GPT]
    decision_id = found["headers"]["x-router-decision-id"]
    (decision,) = world.rows(f"select * from decisions where decision_id = '{decision_id}'")
    assert decision["reason"].startswith("incumbent_unknown")


def test_a_model_that_the_proxy_lacks_is_never_asked_for(world: World) -> None:
    found = world.sdks.call("chat", key=key_of(team="watching"), model="auto")
    assert found["status"] == 200, found
    assert found["headers"]["x-router-fallback"] == "foreign_model"
    assert world.upstream.models[-1] == SENT[GPT]
    decision_id = found["headers"]["x-router-decision-id"]
    (decision,) = world.rows(f"select * from decisions where decision_id = '{decision_id}'")
    assert decision["model"] == "grok-4.3"


def test_limits_that_are_not_passed_on_let_the_fallback_answer(world: World) -> None:
    for _ in range(2):
        found = world.sdks.call("chat", key=key_of(team="poor"))
    assert found["status"] == 200, found
    assert found["headers"]["x-router-fallback"] == "status_429"
    assert world.upstream.models[-1] == SENT[GPT]
