"""Portkey's gateway with the shipped configuration between clients and a provider."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from claude_code import requires_claude, run_claude
from gateway_processes import EXAMPLES, GATEWAYS, PATIENT_MS, Gateway, free_port, running
from serving_process import (
    ANTHROPIC,
    CHAT,
    RESPONSES,
    Server,
    requires_starter,
    serving,
    wait_for,
)
from upstream import Upstream, serving_upstream
from upstream_script import TEXT

from router_serving import keys_file
from router_serving.keys import Scope

MODULES = GATEWAYS / "portkey" / "node_modules"
START = MODULES / "@portkey-ai" / "gateway" / "build" / "start-server.js"
CONFIG = (EXAMPLES / "portkey" / "config.json").read_text()

pytestmark = [
    pytest.mark.service,
    requires_starter,
    pytest.mark.skipif(
        not START.exists(), reason=f"no Portkey gateway in {MODULES}: make gateways"
    ),
]


@dataclass(frozen=True)
class Way:
    """From client to provider, past the router."""

    gateway: Gateway
    router: Server
    upstream: Upstream
    config: str

    def post(self, path: str, body: Any, *, provider: str = "openai") -> httpx.Response:
        config = json.dumps({**json.loads(self.config), "provider": provider})
        headers = {
            "x-portkey-config": config,
            "x-portkey-metadata": '{"_user": "kim", "tenant": "other"}',
            "authorization": "Bearer dummy",
        }
        return self.gateway.http.post(path, json=body, headers=headers)


def configured(*, router: str, upstream: str, key: str) -> str:
    """The shipped configuration with these addresses, on one line as a header has it."""
    text = CONFIG
    for old, new in (
        ("http://127.0.0.1:8080", router.rstrip("/")),
        ("http://127.0.0.1:4000", upstream),
        ("ROUTER_API_KEY", key),
        ('"timeout": 500', f'"timeout": {PATIENT_MS}'),
        ('"timeout": 2000', f'"timeout": {PATIENT_MS}'),
    ):
        assert old in text
        text = text.replace(old, new)
    return json.dumps(json.loads(text))


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("portkey")
    port, state = free_port(), folder / "state"
    state.mkdir()
    scopes: tuple[Scope, ...] = ("route", "outcomes", "read")
    now = datetime.now(UTC)
    key = keys_file.create(state / "keys.json", tenant="acme", scopes=scopes, now=now).text
    with (
        serving(state) as router,
        serving_upstream() as upstream,
        running(
            [shutil.which("node") or "node", str(START), f"--port={port}", "--headless"],
            port=port,
            log=folder / "portkey.log",
            cwd=folder,
            environment={"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        ) as gateway,
    ):
        router.http.headers["x-router-api-key"] = key
        config = configured(router=str(router.http.base_url), upstream=upstream.url, key=key)
        yield Way(gateway, router, upstream, config)


def ids_of(way: Way) -> set[str]:
    """The decisions that have an outcome."""
    return {row["decision_id"] for row in way.router.rows("select decision_id from outcomes")}


def outcomes(way: Way, before: set[str], *, n_new: int = 1) -> list[dict[str, Any]]:
    """The outcomes of so many other decisions, once they are there."""
    wait_for(lambda: len(ids_of(way) - before) >= n_new)
    rows = way.router.rows("select * from outcomes")
    return [row for row in rows if row["decision_id"] not in before]


@pytest.mark.parametrize(
    ("path", "provider", "body"),
    [("/v1/chat/completions", "openai", CHAT), ("/v1/messages", "anthropic", ANTHROPIC)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_provider_gets_the_chosen_model_and_the_router_the_answer(
    way: Way, path: str, provider: str, body: Any, stream: bool
) -> None:
    before = ids_of(way)
    response = way.post(path, {**body, "stream": stream}, provider=provider)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream") == stream
    (outcome,) = outcomes(way, before)
    assert way.upstream.models[-1] == outcome["model"] != "auto"
    assert (outcome["error"], outcome["tenant"]) == (None, "acme")
    assert outcome["latency_ms"] > 0
    # Of a stream Portkey shows its hooks the status alone.
    assert (outcome["usage"] is None) == stream
    decision_id = outcome["decision_id"]
    way.router.http.get(f"/decisions/{decision_id}")
    (row,) = way.router.rows(f"select * from decisions where decision_id = '{decision_id}'")
    assert (row["model"], row["tenant"], row["user"]) == (outcome["model"], "acme", "kim")


def test_other_kinds_of_calls_pass_with_the_model_of_the_client(way: Way) -> None:
    assert way.post("/v1/responses", RESPONSES).status_code == 200
    assert way.upstream.models[-1] == "auto"


@requires_claude
def test_claude_code_finishes_its_task_with_the_chosen_models(way: Way, tmp_path: Path) -> None:
    before, n_calls = ids_of(way), len(way.upstream.models)
    config = json.dumps({**json.loads(way.config), "provider": "anthropic"})
    said = run_claude(
        tmp_path,
        url=str(way.gateway.http.base_url),
        environment={"ANTHROPIC_CUSTOM_HEADERS": f"x-portkey-config: {config}"},
    )
    assert said == TEXT
    models = way.upstream.models[n_calls:]
    assert len(models) >= 2
    told = outcomes(way, before, n_new=len(models))
    assert sorted(one["model"] for one in told) == sorted(models)


def test_without_a_router_the_client_s_own_model_answers(way: Way) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    config = configured(router=nobody, upstream=way.upstream.url, key="")
    down = Way(way.gateway, way.router, way.upstream, config)
    for stream in (False, True):
        body = {**CHAT, "model": "gpt-5.4", "stream": stream}
        assert down.post("/v1/chat/completions", body).status_code == 200
        assert way.upstream.models[-1] == "gpt-5.4"
