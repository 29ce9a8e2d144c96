"""Every turn that a real client sent belongs to one session, with its headers and without."""

import json
from functools import cache
from typing import Any

import pytest
from paths import CAPTURED, requires_captured

from router_model import formats
from router_model.outline import outline_of
from router_model.session import fingerprint, session_id
from router_model.types import Caller, Request

pytestmark = requires_captured

# SDK calls and those of aider are single calls, not the turns of a conversation.
SINGLE = ("openai-sdk", "anthropic-sdk", "aider")
CONVERSATIONS = sorted(
    {path.stem.rpartition("-")[0] for path in CAPTURED.glob("*-*.json")} - set(SINGLE)
)


@cache
def captures(conversation: str) -> tuple[dict[str, Any], ...]:
    paths = sorted(CAPTURED.glob(f"{conversation}-[0-9]*.json"))
    return tuple(json.loads(path.read_text(encoding="utf-8")) for path in paths)


def parsed(capture: dict[str, Any]) -> Request:
    return formats.parse(json.dumps(capture["body"]).encode(), path=capture["path"])


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_the_calls_of_a_conversation_have_one_id_with_their_headers(conversation: str) -> None:
    ids = {
        session_id(outline_of(parsed(capture)), capture["headers"], Caller())
        for capture in captures(conversation)
        if capture["body"].get("tools") or "x-session-id" in capture["headers"]
    }
    assert len(ids) == 1


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_the_turns_of_a_conversation_have_one_fingerprint(conversation: str) -> None:
    turns = [capture for capture in captures(conversation) if capture["body"].get("tools")]
    assert len(turns) > 1
    assert len({fingerprint(outline_of(parsed(capture)), Caller()) for capture in turns}) == 1


def test_the_conversations_of_different_clients_are_different_sessions() -> None:
    # One SDK said the same words with the same tools in three dialects: nothing tells these apart.
    names = [name for name in CONVERSATIONS if name not in ("aisdk-compat", "aisdk-openai")]
    last = [captures(name)[-1] for name in names]
    ids = {
        session_id(outline_of(parsed(capture)), capture["headers"], Caller()) for capture in last
    }
    assert len(ids) == len(names) > 1
