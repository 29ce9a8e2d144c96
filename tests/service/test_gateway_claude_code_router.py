"""claude-code-router with the shipped script between the real Claude Code and a provider."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from claude_code import requires_claude, run_claude
from gateway_processes import EXAMPLES, GATEWAYS, PATIENT_MS, Gateway, free_port, placed, running
from serving_process import ANTHROPIC, requires_starter, serving
from upstream import serving_upstream
from upstream_script import TEXT

MODULES = GATEWAYS / "claude-code-router" / "node_modules"
ROUTER = MODULES / "@musistudio" / "claude-code-router" / "dist" / "cli.js"
NODE = shutil.which("node") or "node"
EXAMPLE = json.loads((EXAMPLES / "claude-code-router" / "config.json").read_text())
MODELS = set(EXAMPLE["Providers"][0]["models"])
DEFAULT = EXAMPLE["Router"]["default"].partition(",")[2]

pytestmark = [
    pytest.mark.service,
    requires_starter,
    pytest.mark.skipif(
        not ROUTER.exists(), reason=f"no claude-code-router in {MODULES}: make gateways"
    ),
]


@contextmanager
def serving_router(folder: Path, *, router: str, upstream: str) -> Iterator[Gateway]:
    port = free_port()
    script = folder / "claude-code-router" / "router.js"
    replaced = {
        "http://127.0.0.1:4000": upstream,
        '"PORT": 3456': f'"PORT": {port}',
        "/path/to/router.js": str(script),
    }
    copy = placed(folder, "claude-code-router", replaced=replaced)
    home = folder / "home"
    shutil.copytree(copy, home / ".claude-code-router")
    with running(
        [NODE, str(ROUTER), "start"],
        port=port,
        log=folder / "ccr.log",
        cwd=folder,
        environment={
            "HOME": str(home),
            "ROUTER_URL": router.rstrip("/"),
            "ROUTER_TIMEOUT_MS": str(PATIENT_MS),
        },
    ) as gateway:
        yield gateway


@requires_claude
def test_claude_code_finishes_its_task_with_the_chosen_models(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as router, serving_upstream() as upstream:
        url = str(router.http.base_url)
        with serving_router(tmp_path / "gateway", router=url, upstream=upstream.url) as gateway:
            assert run_claude(tmp_path, url=str(gateway.http.base_url)) == TEXT
        router.http.get("/decisions/none")  # waits for the log
        rows = router.rows("select model, session, format from decisions order by ts_ms")
    assert [row["model"] for row in rows] == upstream.models
    assert len(rows) >= 2
    assert {row["model"] for row in rows} <= MODELS
    assert len({row["session"] for row in rows}) == 1
    assert not rows[0]["session"].startswith("fp:")
    assert {row["format"] for row in rows} == {"anthropic.messages"}


def test_without_a_router_the_default_model_answers(tmp_path: Path) -> None:
    with serving_upstream() as upstream:
        nobody = f"http://127.0.0.1:{free_port()}"
        with serving_router(tmp_path / "gateway", router=nobody, upstream=upstream.url) as gateway:
            response = gateway.http.post("/v1/messages", json=ANTHROPIC)
    assert (response.status_code, upstream.models) == (200, [DEFAULT])


def test_a_router_that_hangs_or_refuses_costs_no_call(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "tenants.toml").write_text("[default]\nrpm = 1\n")
    with serving(state) as router, serving_upstream() as upstream:
        url = str(router.http.base_url)
        with serving_router(tmp_path / "gateway", router=url, upstream=upstream.url) as gateway:
            answers = [gateway.http.post("/v1/messages", json=ANTHROPIC) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert upstream.models[0] in MODELS
    assert upstream.models[1] == DEFAULT
