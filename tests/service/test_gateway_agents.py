"""Real coding agents do a task of several turns through LiteLLM's proxy and the router."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent_clients import CLIENTS, COMMANDS, run_agent
from gateway_processes import free_port
from litellm_proxy import (
    FALLBACK_SENT,
    Proxy,
    configuration,
    key_of,
    requires_litellm,
    serving_litellm,
)
from serving_process import Server, requires_starter, serving, wait_for
from upstream import Upstream, serving_upstream

pytestmark = [
    pytest.mark.service,
    pytest.mark.timeout(600),
    requires_litellm,
    requires_starter,
]


@dataclass(frozen=True)
class World:
    """A provider whose model works through a script, and a proxy; the router comes and goes."""

    upstream: Upstream
    proxy: Proxy
    port: int
    state: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("agents")
    with ExitStack() as stack:
        upstream = stack.enter_context(serving_upstream(COMMANDS))
        port = free_port()
        config = configuration(upstream.url)
        proxy = stack.enter_context(
            serving_litellm(folder / "proxy", config, router=f"http://127.0.0.1:{port}")
        )
        yield World(upstream, proxy, port, folder / "state")


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_an_agent_finishes_its_task_and_every_call_is_decided_and_reported(
    world: World, tmp_path: Path, name: str
) -> None:
    n_before = len(world.upstream.received)
    with serving(world.state, "--port", str(world.port)) as router:
        done = run_agent(name, tmp_path, url=world.proxy.url, key=key_of(user=name))
        assert done.is_fixed, done.output
        n_calls = len(world.upstream.received) - n_before
        assert n_calls >= len(COMMANDS)
        wait_for(lambda: len(_decisions(router, name)) == n_calls)
        wait_for(lambda: all(row["n_outcomes"] for row in _decisions(router, name)))
        decided = _decisions(router, name)
        main = [row for row in decided if row["step_type"] in ("main", "tool_result")]
        assert {row["format"] for row in decided} == {CLIENTS[name].wire_format}
        assert len({row["session"] for row in main}) == 1, "one task, one session"
        assert [row["tool_call_valid"] for row in main[: len(COMMANDS)]] == [True] * len(COMMANDS)
        assert FALLBACK_SENT not in world.upstream.models[n_before:]


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_an_agent_finishes_its_task_when_the_router_is_killed_meanwhile(
    world: World, tmp_path: Path, name: str
) -> None:
    n_before = len(world.upstream.received)
    with serving(world.state, "--port", str(world.port)) as router:

        def kill() -> None:
            wait_for(lambda: len(world.upstream.received) > n_before)
            os.kill(router.process.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        done = run_agent(name, tmp_path, url=world.proxy.url, key=key_of(user=name))
        killer.join()
        assert done.is_fixed, done.output
    models = world.upstream.models[n_before:]
    assert models[0] != FALLBACK_SENT
    assert models[-1] == FALLBACK_SENT


def _decisions(router: Server, user: str) -> list[dict[str, object]]:
    """A user's decisions in their order, with what was reported of each."""
    return router.rows(
        "select d.*, count(o.decision_id) as n_outcomes, "
        "bool_and(o.tool_call_valid) as tool_call_valid "
        "from decisions d left join outcomes o using (tenant, decision_id) "
        f"where d.user = '{user}' group by all order by d.ts_ms"
    )
