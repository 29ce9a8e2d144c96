"""Runs of the probe command against the test server, and what they leave behind."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_server import KEY, MODEL, WINDOW_TOKENS
from typer.testing import CliRunner

from router_data.cli import app

DIALECTS = ("openai", "anthropic")
NO_SEED = {"anthropic": {"seed"}}
OF_THE_DIALECT = {"streaming", "cache", "json", "parallel_tools", "tool_round_trip"}
NOT_IN_MESSAGES = {"seed_ignored", "invalid_json"}
PRICES = ("--price-input", "1", "--price-output", "5")
TIMEOUT_S = "5"


@dataclass(frozen=True)
class Probed:
    """What a run of the command left behind."""

    exit_code: int
    output: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        found = json.loads((self.folder / "out" / f"{MODEL}.json").read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    def results(self) -> dict[str, str]:
        return {check["check"]: check["result"] for check in self.report["checks"]}

    def evidence(self, name: str) -> str:
        (found,) = [c["evidence"] for c in self.report["checks"] if c["check"] == name]
        return "\n".join(found)

    @property
    def overlay(self) -> Path:
        return self.folder / "out" / "overlay.toml"

    @property
    def state(self) -> Path:
        return self.folder / "var"


def arguments(url: str, folder: Path, *more: object, dialect: str = "openai") -> list[str]:
    fixed = {
        "--base-url": f"{url}/v1",
        "--model": MODEL,
        "--format": dialect,
        "--api-key-env": "PROBE_KEY",
        "--out": folder / "out",
        "--state": folder / "var",
        "--context-tokens": 4000,
        "--context-window": WINDOW_TOKENS,
        "--sessions": 6,
        "--max-slowdown": 12,
        "--usage-url": f"{url}/spend",
        "--usage-field": "data.usage",
        "--usage-delay-s": 0.2,
        "--timeout-s": TIMEOUT_S,
        "--max-usd": 5,
    }
    flat = [str(word) for pair in fixed.items() for word in pair]
    return ["probe", *flat, "--no-progress", *map(str, more)]


def probe(
    url: str,
    folder: Path,
    *more: object,
    dialect: str = "openai",
    prices: Sequence[str] = PRICES,
) -> Probed:
    words = arguments(url, folder, *prices, *more, dialect=dialect)
    answer = CliRunner(env={"PROBE_KEY": KEY}).invoke(app, words)
    return Probed(answer.exit_code, answer.output, folder)
