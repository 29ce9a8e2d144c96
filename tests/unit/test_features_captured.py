"""Features of bodies that real clients sent (skipped where these are not at hand)."""

import json
from functools import lru_cache

import numpy as np
import pytest
from paths import CAPTURED, requires_captured

from router_model import formats
from router_model.features import SCHEMA, Context, extract
from router_model.features.harness import last_user_text
from router_model.tokens import estimate_request_tokens
from router_model.types import Request

pytestmark = requires_captured

FILES = sorted(path.stem for path in CAPTURED.glob("*.json"))
SIDE_CALLS = {
    "aider-007": "commit_message",
    "opencode-001": "title",
    "opencode-anthropic-001": "title",
}
CODING_AGENTS = ("claude-code", "codex", "opencode", "aider", "mini-swe-agent", "qwen", "gemini")


@lru_cache(maxsize=128)
def read(name: str) -> tuple[Request, Context]:
    captured = json.loads((CAPTURED / f"{name}.json").read_text())
    request = formats.parse(json.dumps(captured["body"]).encode(), path=captured["path"])
    return request, extract(request)


@pytest.mark.parametrize("name", FILES)
def test_the_step_type_follows_from_how_the_conversation_ends(name: str) -> None:
    request, context = read(name)
    ends_with_result = request.messages[-1].role == "tool"
    expected = SIDE_CALLS.get(name, "tool_result" if ends_with_result else "main")
    assert context.step_type == expected


@pytest.mark.parametrize("name", FILES)
def test_the_user_text_is_the_task_without_the_clients_additions(name: str) -> None:
    text = read(name)[1].text
    for sign in ("<system-reminder", "<environment_context", "added these files", "Workflow"):
        assert sign not in text
    if name.startswith(CODING_AGENTS) and name not in SIDE_CALLS:
        assert text.startswith("Fix the bug in calc.py")
        assert len(text) < 200


@pytest.mark.parametrize("name", FILES)
def test_values_are_sane(name: str) -> None:
    request, context = read(name)
    row = dict(zip(SCHEMA.names, context.values.tolist(), strict=True))
    assert np.isfinite(context.values).all()
    assert row["n_tools"] == len(request.tools)
    assert row["n_tool_calls"] == sum(
        p.kind == "tool_call" for m in request.messages for p in m.parts
    )
    assert row["n_tool_errors"] == 0
    assert row["tool_tokens"] + row["system_tokens"] <= row["total_tokens"]
    assert context.input_tokens == pytest.approx(estimate_request_tokens(request), rel=0.02, abs=8)


@pytest.mark.parametrize("name", FILES)
def test_the_client_of_an_agent_is_recognised(name: str) -> None:
    family = read(name)[1].family
    client = name.rstrip("0123456789-").removesuffix("-long").removesuffix("-anthropic")
    if client in CODING_AGENTS and name not in SIDE_CALLS:
        assert family == client


def test_both_dialects_of_one_client_give_the_same_text_and_step() -> None:
    for number in ("003", "004", "005"):
        chat, anthropic = read(f"opencode-{number}"), read(f"opencode-anthropic-{number}")
        assert chat[1].text == anthropic[1].text
        assert chat[1].step_type == anthropic[1].step_type
        assert last_user_text(chat[0].messages).text == last_user_text(anthropic[0].messages).text
