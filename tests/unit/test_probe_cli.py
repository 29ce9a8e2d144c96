from pathlib import Path

import pytest
from typer.testing import CliRunner

from router_data.cli import app

FIXED = ("probe", "--base-url", "http://127.0.0.1:1/v1", "--model", "nobody-1")
PRICES = ("--price-input", "1", "--price-output", "2")


def run(*arguments: str) -> tuple[int, str]:
    answer = CliRunner(env={"EMPTY_KEY": " "}).invoke(app, [*FIXED, *arguments])
    return answer.exit_code, " ".join(answer.output.replace("│", " ").split())


def test_the_help_has_an_example() -> None:
    code, text = run("--help")
    assert code == 0
    assert "Example: router-data probe --base-url" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --price-input and --price-output"),
        (("--price-input", "1"), "expected both or none"),
        ((*PRICES, "--only", "weather"), "got 'weather', expected tool_round_trip"),
        ((*PRICES, "--format", "gemini"), "got 'gemini', expected openai or anthropic"),
        ((*PRICES, "--api-key-env", "EMPTY_KEY"), "the variable EMPTY_KEY is not set"),
        ((*PRICES, "--max-usd", "nan"), "'--max-usd'"),
        ((*PRICES, "--max-usd", "inf"), "got inf"),
        ((*PRICES, "--max-usd", "-1"), "'--max-usd'"),
        (("--price-input", "nan", "--price-output", "1"), "'--price-input'"),
        ((*PRICES, "--out", __file__ + "/deep"), "no folder that can be written to"),
        ((*PRICES, "--sessions", "0"), "'--sessions'"),
    ],
)
def test_wrong_usage_is_named(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run(*arguments)
    assert code == 2
    assert message in text
    assert list(tmp_path.iterdir()) == []
