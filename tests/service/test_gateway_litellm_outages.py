"""The router is away, hangs or comes back: the proxy's clients go on, and no outcome is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_processes import free_port
from litellm_proxy import (
    FALLBACK_SENT,
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
TIMEOUT_MS = "1000"


@dataclass(frozen=True)
class World:
    """A provider and a proxy that stay; the router comes and goes."""

    upstream: Upstream
    proxy: Proxy
    sdks: Sdks
    port: int
    folder: Path

    @contextmanager
    def router(self, name: str) -> Iterator[Server]:
        """The router where the proxy looks for it, with a state of this name."""
        with serving(self.folder / name, "--port", str(self.port)) as router:
            yield router


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("outages")
    with ExitStack() as stack:
        upstream = stack.enter_context(serving_upstream())
        port = free_port()
        router = f"http://127.0.0.1:{port}"
        proxy = stack.enter_context(
            serving_litellm(
                folder / "proxy",
                configuration(upstream.url),
                router=router,
                ROUTER_TIMEOUT_MS=TIMEOUT_MS,
            )
        )
        sdks = stack.enter_context(running_sdks(proxy.url))
        yield World(upstream, proxy, sdks, port, folder)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_without_a_router_the_fallback_answers(world: World, route: str, stream: bool) -> None:
    found = world.sdks.call(route, key=key_of(), stream=stream)
    assert found["status"] == 200, found
    assert found["calls"] == ['{"command": "echo hello"}']
    assert world.upstream.models[-1] == FALLBACK_SENT
    assert found["headers"]["x-router-fallback"] == "connect"
    assert "x-router-decision-id" not in found["headers"]


def test_a_router_that_hangs_costs_a_call_its_time_and_nothing_else(world: World) -> None:
    with world.router("hangs") as router:
        assert _routed(world) is not None
        router.process.send_signal(signal.SIGSTOP)
        try:
            found = world.sdks.call("chat", key=key_of())
        finally:
            router.process.send_signal(signal.SIGCONT)
        assert found["status"] == 200, found
        assert found["headers"]["x-router-fallback"] == "timeout"
        assert world.upstream.models[-1] == FALLBACK_SENT
        wait_for(lambda: _routed(world) is not None)


def test_what_a_late_router_decided_is_settled_by_what_answered(world: World) -> None:
    with world.router("late") as router:
        wait_for(lambda: _routed(world) is not None)
        router.process.send_signal(signal.SIGSTOP)
        try:
            found = world.sdks.call("chat", key=key_of(GPT, user="late"))
        finally:
            router.process.send_signal(signal.SIGCONT)
        decision_id = found["headers"]["x-router-decision-id"]
        wait_for(lambda: bool(_outcomes(router, decision_id)))
        assert _outcomes(router, decision_id)[0]["model"] == "auto"


def test_outcomes_wait_until_the_router_is_back(world: World) -> None:
    with world.router("back") as router:
        wait_for(lambda: _routed(world) is not None)
        world.upstream.fail(SENT[GPT], "slow")
        results: list[dict[str, Any]] = []
        client = threading.Thread(
            target=lambda: results.append(world.sdks.call("chat", key=key_of(GPT)))
        )
        n_before = len(world.upstream.received)
        client.start()
        wait_for(lambda: len(world.upstream.received) > n_before)
        router.stop()
        client.join()
    (found,) = results
    assert found["status"] == 200, found
    decision_id = found["headers"]["x-router-decision-id"]
    with world.router("back") as router:
        wait_for(lambda: bool(_outcomes(router, decision_id)))
        (outcome,) = _outcomes(router, decision_id)
        assert (outcome["model"], outcome["error"]) == (GPT, None)


def test_a_kind_of_call_that_the_router_does_not_know_goes_to_the_fallback(world: World) -> None:
    with world.router("unknown"):
        found = httpx.post(
            f"{world.proxy.url}/v1/embeddings",
            json={"model": "auto", "input": "text"},
            headers={"authorization": f"Bearer {key_of()}"},
            timeout=60,
        )
    assert "x-router-decision-id" not in found.headers
    assert "auto" in found.text or found.status_code == 404


def test_a_proxy_that_stops_reports_what_waits(world: World, tmp_path: Path) -> None:
    config = configuration(world.upstream.url)
    url = f"http://127.0.0.1:{world.port}"
    with world.router("flush") as router, serving_litellm(tmp_path, config, router=url) as proxy:
        with running_sdks(proxy.url) as sdks:
            world.upstream.fail(SENT[GPT], "slow")
            stopper = threading.Thread(target=_stop_during_a_call, args=(world, router))
            stopper.start()
            found = sdks.call("chat", key=key_of(GPT))
            stopper.join()
        assert found["status"] == 200, found
        proxy.process.terminate()
        router.process.send_signal(signal.SIGCONT)
        assert proxy.process.wait(30) is not None
        decision_id = found["headers"]["x-router-decision-id"]
        (outcome,) = _outcomes(router, decision_id)
        assert outcome["model"] == GPT


def _stop_during_a_call(world: World, router: Server) -> None:
    n_before = len(world.upstream.received)
    wait_for(lambda: len(world.upstream.received) > n_before)
    router.process.send_signal(signal.SIGSTOP)


def _routed(world: World) -> str | None:
    """The id of a decision for one more call, None where the fallback answered."""
    found = world.sdks.call("chat", key=key_of())
    assert found["status"] == 200, found
    if "x-router-fallback" in found["headers"]:
        return None
    decision_id: str = found["headers"]["x-router-decision-id"]
    return decision_id


def _outcomes(router: Server, decision_id: str) -> list[dict[str, Any]]:
    return router.rows(f"select * from outcomes where decision_id = '{decision_id}'")
