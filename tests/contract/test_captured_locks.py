"""Locks of real clients' bodies, as they came and with the signatures their providers would add.

The bodies were captured with a server that does not think, so that none holds a signature; the
tests put them where the clients send them back.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from paths import CAPTURED, REPO, requires_captured

from router_model import formats
from router_model.catalog import load_catalog
from router_model.locks import OWNER_UNKNOWN, SIGNED, TOOL_IDS, Lock, lock_of, locked_out
from router_model.outline import outline_of
from router_model.session_view import NO_SESSION, SessionView
from router_model.types import Request

pytestmark = requires_captured

CATALOG = load_catalog(REPO / "data" / "router_data" / "catalog.toml")
FILES = sorted(CAPTURED.glob("*.json")) if CAPTURED.is_dir() else []


def capture(path: Path) -> tuple[Any, str]:
    captured = json.loads(path.read_text())
    body = captured["body"]
    return (json.loads(body) if isinstance(body, str) else body), captured["path"]


def read(body: Any, path: str) -> Request:
    return formats.parse(json.dumps(body).encode(), path=path)


def thinking(name: str, *, last_only: bool = False) -> Request:
    """A Messages body with signed thinking before the tool calls of the assistant."""
    body, path = capture(CAPTURED / f"{name}.json")
    said = [message for message in body["messages"] if message["role"] == "assistant"]
    for message in said[-1:] if last_only else said:
        block = {"type": "thinking", "thinking": "", "signature": "c2ln"}
        message["content"] = [block, *message["content"]]
    return read(body, path)


def reasoning(name: str) -> Any:
    """A Responses body with encrypted reasoning before each call."""
    body, _ = capture(CAPTURED / f"{name}.json")
    items = []
    for item in body["input"]:
        if item.get("type") == "function_call":
            items.append({"type": "reasoning", "summary": [], "encrypted_content": "c2ln"})
        items.append(item)
    return {**body, "input": items}


def able(lock: Lock | None) -> set[str]:
    return {card.id for card in CATALOG.enabled if locked_out(card, lock) is None}


def providers(lock: Lock | None) -> set[str]:
    return {card.provider for card in CATALOG.enabled if card.id in able(lock)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_body_without_signatures_ties_no_call(path: Path) -> None:
    request = read(*capture(path))
    assert request.tied_to == ()
    for session in (NO_SESSION, SessionView(model="claude-opus-5-5")):
        lock = lock_of(outline_of(request), session, CATALOG)
        assert lock is None or lock.kind == TOOL_IDS


@pytest.mark.parametrize("name", ["claude-code-004", "claude-code-long-008"])
def test_claude_codes_thinking_ties_an_open_tool_loop_to_the_model_that_thought(name: str) -> None:
    for request in (thinking(name), thinking(name, last_only=True)):
        lock = lock_of(outline_of(request), SessionView(model="claude-opus-5-5"), CATALOG)
        assert lock is not None
        assert (lock.kind, lock.model, request.tied_to) == (
            SIGNED,
            "claude-opus-5-5",
            ("anthropic",),
        )
        assert "claude-opus-5-5" in able(lock)
        assert providers(lock) == {"anthropic"}
        lost = lock_of(outline_of(request), NO_SESSION, CATALOG)
        assert lost is not None
        assert providers(lost) == {"anthropic"}


def test_a_new_task_frees_claude_code_to_change_the_model_within_its_provider() -> None:
    body, path = capture(CAPTURED / "claude-code-004.json")
    body = copy.deepcopy(body)
    thought = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    body["messages"] += [
        {"role": "assistant", "content": [thought, {"type": "text", "text": "Done."}]},
        {"role": "user", "content": [{"type": "text", "text": "Now the other file."}]},
    ]
    lock = lock_of(outline_of(read(body, path)), SessionView(model="claude-sonnet-5-5"), CATALOG)
    assert lock is not None
    assert (lock.kind, lock.model) == (SIGNED, "")
    claude = {card.id for card in CATALOG.enabled if card.provider == "anthropic"}
    passing = {c.id for c in CATALOG.enabled if c.capabilities.ignores_foreign_thinking}
    assert able(lock) == claude | passing


def test_codex_reasoning_ties_an_open_tool_loop_to_the_model_that_reasoned() -> None:
    request = read(reasoning("codex-004"), "/v1/responses")
    lock = lock_of(outline_of(request), SessionView(model="gpt-6.1-sol"), CATALOG)
    assert lock is not None
    assert (lock.kind, lock.model, request.tied_to) == (SIGNED, "gpt-6.1-sol", ("openai",))
    assert providers(lock) == {"openai"}


def test_codex_reasoning_of_a_forgotten_session_stays_with_openai() -> None:
    """The model that it asks for is none of the catalog's."""
    request = read(reasoning("codex-004"), "/v1/responses")
    assert CATALOG.resolve(request.requested_model) is None
    lock = lock_of(outline_of(request), NO_SESSION, CATALOG)
    assert lock is not None
    assert lock.kind in (SIGNED, OWNER_UNKNOWN)
    assert providers(lock) == {"openai"}
