"""The real Claude Code, pointed at a gateway, in a home of its own."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from gateway_processes import GATEWAYS

CLAUDE = GATEWAYS / "claude-code-router" / "node_modules" / ".bin" / "claude"

requires_claude = pytest.mark.skipif(
    not CLAUDE.exists(), reason=f"no Claude Code at {CLAUDE}: make gateways"
)


def run_claude(folder: Path, *, url: str, environment: Mapping[str, str] | None = None) -> str:
    """What it says at the end of a task with one command; fails where it did not finish."""
    home, work = folder / "claude-home", folder / "work"
    home.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    done = subprocess.run(
        [str(CLAUDE), "-p", "Run the command echo hello", "--dangerously-skip-permissions"],
        cwd=work,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "dummy",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "IS_SANDBOX": "1",  # it would refuse to run commands unasked as root
            **(environment or {}),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
