"""A real LiteLLM proxy with the router's callback, in a process of its own."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from gateway_processes import GATEWAYS, free_port
from serving_process import wait_for

ENV = Path(os.environ.get("ROUTER_TEST_LITELLM", GATEWAYS / "litellm"))
PYTHON = ENV / "bin" / "python"
CALLBACK = "router_serving.gateways.litellm.handler"
START_S = 180.0

requires_litellm = pytest.mark.skipif(
    not PYTHON.exists(), reason=f"no LiteLLM in {ENV}: make gateways, or set ROUTER_TEST_LITELLM"
)

# The proxy's names of models, the catalog's too, and what the upstream is asked for.
GPT, CLAUDE, GEMINI = "gpt-5.4", "claude-haiku-4-5", "gemini-3.8-flash"
SENT = {GPT: "up-gpt", CLAUDE: "up-claude", GEMINI: "up-gemini"}
FALLBACK_SENT = "up-fallback"
USD_PER_TOKEN = 1e-6

# Keys say by themselves who calls: no database is needed. `sk-<team>.<alias>.<user>.<models>...`
_AUTH = '''"""Keys that say who calls."""

from litellm.proxy._types import UserAPIKeyAuth


async def auth(request, api_key):
    team, alias, user, *models = api_key.removeprefix("sk-").split("~")
    return UserAPIKeyAuth(
        api_key=api_key, key_alias=alias, team_id=team, user_id=user,
        models=["auto", *models] if models else [],
    )
'''


def key_of(*models: str, team: str = "acme", alias: str = "ci", user: str = "kim") -> str:
    """A key of the proxy, for which only these models are chosen; all without one."""
    return "sk-" + "~".join([team, alias, user, *models])


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]


def deployment(name: str, sent: str, upstream: str) -> dict[str, Any]:
    """A model of the proxy, at the upstream; who speaks what follows from its name."""
    provider = {CLAUDE: "anthropic", GEMINI: "gemini"}.get(name, "openai")
    base = upstream + ("/v1" if provider == "openai" else "")
    price = {"input_cost_per_token": USD_PER_TOKEN, "output_cost_per_token": USD_PER_TOKEN}
    parameters = {"model": f"{provider}/{sent}", "api_base": base, "api_key": "none", **price}
    return {"model_name": name, "litellm_params": parameters}


def configuration(upstream: str, *, with_router: bool = True, **more: Any) -> dict[str, Any]:
    """The proxy's configuration, with settings of its router in `more`."""
    models = [deployment(name, sent, upstream) for name, sent in SENT.items()]
    callbacks = [CALLBACK] if with_router else []
    return {
        "model_list": [deployment("auto", FALLBACK_SENT, upstream), *models],
        "litellm_settings": {"callbacks": callbacks, "drop_params": True},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, **more},
        "general_settings": {"custom_auth": "keys.auth"},
    }


@contextmanager
def serving_litellm(
    folder: Path, config: Mapping[str, Any], *, router: str, **settings: str
) -> Iterator[Proxy]:
    """A proxy that is ready; settings are ROUTER_... variables of the callback."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "keys.py").write_text(_AUTH)
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))  # which is YAML too
    port, log = free_port(), folder / "proxy.log"
    own = {name: value for name, value in os.environ.items() if not name.startswith("ROUTER_")}
    environment = {
        **own,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "ROUTER_URL": router,
        "ROUTER_TIMEOUT_MS": "5000",
        "ROUTER_PAUSE_S": "0",
        **settings,
    }
    command = [str(ENV / "bin" / "litellm"), "--config", str(path), "--host", "127.0.0.1"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        )
    proxy = Proxy(f"http://127.0.0.1:{port}", log, process)

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()[-3_000:]
        return httpx.get(proxy.url + "/health/liveliness", timeout=5).status_code == 200

    try:
        wait_for(is_ready, seconds=START_S)
        yield proxy
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@dataclass(frozen=True)
class Sdks:
    """The clients of OpenAI and Anthropic, in a process that has them."""

    process: subprocess.Popen[str]
    proxy: str

    def call(self, route: str, *, key: str, text: str = "Fix it", **more: Any) -> dict[str, Any]:
        """What an SDK makes of a call; `route` is chat, messages or responses."""
        asked = {"base": self.proxy, "route": route, "key": key, "text": text, **more}
        stdin, stdout = _pipes(self.process)
        stdin.write(json.dumps(asked) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, "the SDKs' process has ended"
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def running_sdks(proxy: str) -> Iterator[Sdks]:
    """The SDKs, for calls to a proxy."""
    driver = Path(__file__).parent / "sdk_driver.py"
    process = subprocess.Popen(
        [str(PYTHON), str(driver)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stdin, stdout = _pipes(process)
    try:
        yield Sdks(process, proxy)
    finally:
        stdin.close()
        process.wait(30)
        stdout.close()


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout
