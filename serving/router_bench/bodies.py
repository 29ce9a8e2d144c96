"""Conversations like those of coding agents, of a given size."""

import json
import random
from typing import Any

VERBS = ["read", "write", "search", "list", "edit", "run", "fetch", "apply"]
NOUNS = ["file", "folder", "test", "patch", "symbol", "commit", "page", "process"]
WORDS = ["the", "parser", "of", "this", "module", "drops", "an", "empty", "line", "when", "full"]
# Replaced in each call, so that every call is the start of another conversation.
MARK = b"call-00000000"
CODE = [
    "def {a}_{b}(self, {b}: dict[str, int], *, limit: int = {n}) -> list[str]:",
    '    """The {b}s to {a}, newest first."""',
    "    found = [{b} for {b} in self._{b}s if {b}.size > {n}]",
    "    if not found:",
    '        raise ValueError(f"nothing to {a}: {{limit!r}} of {n}\\t\\"{b}\\"")',
    "    return sorted(found, key=lambda {b}: {b}.changed)[:limit]",
    "",
]


def conversation(size: int, *, seed: int) -> bytes:
    """The JSON body of an OpenAI chat request of about `size` bytes: tools, then turns.

    >>> 36_000 < len(conversation(40_000, seed=1)) < 44_000
    True
    """
    rng = random.Random(seed)
    tools = [_tool(rng, index) for index in range(min(60, 2 + size // 4_000))]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are a coding agent. " + _prose(rng, 120)},
        {"role": "user", "content": f"Fix this for {MARK.decode()}: {_prose(rng, 60)}"},
    ]
    body: dict[str, Any] = {"model": "auto", "messages": messages, "tools": tools, "stream": True}
    left = size - len(json.dumps(body))
    while left > 0:
        turn = _turn(rng, len(messages), size=min(left, rng.randrange(800, 12_000)))
        left -= len(json.dumps(turn))
        messages += turn
    return json.dumps(body).encode()


def _tool(rng: random.Random, index: int) -> dict[str, Any]:
    properties = {
        f"{rng.choice(NOUNS)}_{n}": {"type": "string", "description": _prose(rng, 12)}
        for n in range(3)
    }
    return {
        "type": "function",
        "function": {
            "name": f"{rng.choice(VERBS)}_{rng.choice(NOUNS)}_{index}",
            "description": _prose(rng, 30),
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(properties)[:1],
            },
        },
    }


def _turn(rng: random.Random, index: int, *, size: int) -> list[dict[str, Any]]:
    function = {"name": "read_file_0", "arguments": json.dumps({"path": f"src/{index}.py"})}
    call = {"id": f"call_{index}", "type": "function", "function": function}
    return [
        {"role": "assistant", "content": _prose(rng, 20), "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": _code(rng, size - 400)},
    ]


def _prose(rng: random.Random, n_words: int) -> str:
    return " ".join(rng.choices(WORDS, k=n_words)) + "."


def _code(rng: random.Random, size: int) -> str:
    lines: list[str] = []
    while size > 0:
        text = rng.choice(CODE).format(a=rng.choice(VERBS), b=rng.choice(NOUNS), n=rng.random())
        lines.append(f"{len(lines) + 1:6}\t{text}")
        size -= len(lines[-1]) + 2
    return "\n".join(lines)
