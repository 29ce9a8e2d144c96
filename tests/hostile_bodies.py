"""Real-shaped bodies with one thing or another wrong, and what must hold whatever is wrong."""

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import numpy as np
from dialects import RENDERERS, Call, Talk, Turn
from served_engine import Served

from router_data.rows import outcome_row
from router_model import formats
from router_model.errors import RouterError
from router_model.features import extract
from router_model.types import WireFormat
from router_serving.routes import outcomes_in

Tree = Any
MARK = "@hostile@"

TALK = Talk(
    turns=(
        Turn("Fix the failing test in calc.py", ()),
        Turn(
            "Now the others",
            (
                ("I look.", (Call("c1", "read_file", {"path": "calc.py"}, "1 def add(a, b):"),)),
                ("Done.", ()),
            ),
        ),
    ),
    system="You are a coding agent.",
    tools={"read_file": {"type": "object", "properties": {"path": {"type": "string"}}}},
    tool_choice="required",
    schema={"type": "object"},
    temperature=0.5,
    max_tokens=1_000,
)
# Fields that no dialect needs, but which are read where they are there.
MORE: dict[WireFormat, dict[str, Tree]] = {
    WireFormat.OPENAI_CHAT: {
        "seed": 7,
        "stream": True,
        "n": 1,
        "service_tier": "auto",
        "reasoning_effort": "high",
        "parallel_tool_calls": True,
        "prompt_cache_key": "k",
        "user": "u",
        "metadata": {"a": "b"},
        "stop": ["x"],
    },
    WireFormat.OPENAI_RESPONSES: {
        "previous_response_id": "r",
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low"},
        "truncation": "auto",
        "store": True,
        "service_tier": "flex",
    },
    WireFormat.ANTHROPIC_MESSAGES: {
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "metadata": {"user_id": "u"},
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
        "context_management": {"edits": []},
        "output_config": {"effort": "low"},
        "stop_sequences": ["x"],
    },
    WireFormat.GEMINI: {
        "safetySettings": [{"category": "c", "threshold": "t"}],
        "cachedContent": "cachedContents/1",
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    },
}
OUTCOME: dict[str, Tree] = {
    "decision_id": "d1",
    "model": "m",
    "attempt": 0,
    "adequate": True,
    "reward": 0.5,
    "signals": {"test_passed": True, "retried": 0, "note": "x"},
    "usage": {"input_tokens": 10, "cached_tokens": 2, "output_tokens": 3},
    "cost_usd": 0.1,
    "latency_ms": 5.0,
    "error": "timeout",
    "n_tool_calls": 1,
}

# JSON as it stands in a body; what no encoder would write among it.
TOKENS: tuple[bytes, ...] = (
    *(b"null", b"true", b"false", b"0", b"-1", b"1", b"1.5", b"-0.0", b'""', b"[]", b"{}"),
    *(b"1e999", b"-1e999", b"NaN", b"Infinity", b"-Infinity", b"1e308", b"5e-324", b"1e400"),
    *(b"9223372036854775808", b"18446744073709551616", b"-9223372036854775809"),
    *(b"9" * 400, b"9" * 5_000, b"0." + b"3" * 5_000, b"01", b"+1", b"0x10", b"1_000"),
    *(rb'"\ud83d"', rb'"\ude00"', rb'"\ud83d\ud83d\ude00"', rb'"\u0000"', rb'"\uffff"', rb'"\x"'),
    *(b'"\xff\xfe"', b'"\xed\xa0\xbd"', b'"\xc0\x80"', b'"\x00"', b'"\xef\xbb\xbf"', b'"\n"'),
    *(b'"' + b"a" * 20_000 + b'"', b'"' + rb"\u0041" * 2_000 + b'"',),
    *(b'"data:image/png;base64,AAAA"', b"[" * 990 + b"]" * 990, b"[" * 100_000),
    *(b"[" * 150 + b"]" * 150, b"[" * 2_000 + b"]" * 2_000),
    *(b'{"a":' * 900 + b"1" + b"}" * 900, b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    *(b"[" + b"1," * 5_000 + b"1]", b"[" + b"{}," * 2_000 + b"{}]", b'{"a":1,"a":2,"a":[]}'),
    b"{" + b",".join(b'"k%d":1' % n for n in range(5_000)) + b"}",
)  # fmt: skip


def real(wire_format: WireFormat) -> Tree:
    """A whole body of a dialect, with about every field that is read."""
    return {**RENDERERS[wire_format](TALK), **MORE[wire_format]}


def enveloped(wire_format: WireFormat) -> Tree:
    """The same in an envelope with every member."""
    return {
        "request": real(wire_format),
        "format": str(wire_format),
        "caller": {"tenant": "acme", "user": "kim", "session": "s", "client": "c"},
        "policy": {"min_adequacy": 0.5, "max_cost_usd": 1.0, "models": ["large"]},
    }


def spoilt(tree: Tree, rng: random.Random, *, n: int = 2) -> bytes:
    """The tree as JSON, with up to `n` things wrong in it and sometimes in its bytes."""
    tree = json.loads(json.dumps(tree))
    tokens: list[bytes] = []
    for _ in range(rng.randint(1, n)):
        _spoil(tree, rng, tokens)
    body = json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")
    for index, token in enumerate(tokens):
        body = body.replace(f'"{MARK}{index}"'.encode(), token)
    return _damaged(body, rng) if rng.random() < 0.2 else body


def checked_route(served: Served, body: bytes) -> None:
    """Ask for a decision; anything but a RouterError comes out, as does a row that is no JSON."""
    try:
        answered = served.sent(body)
    except RouterError as error:
        _check_told(error)
        return
    msgspec.json.encode(answered.answer)
    if answered.decided is not None:
        assert np.isfinite(answered.decided.asked.digest.values).all()


def checked_parse(body: bytes, *, wire_format: WireFormat | None = None) -> None:
    """Parse in a given dialect; anything but a RouterError comes out."""
    try:
        request = formats.parse(body, wire_format=wire_format)
    except RouterError as error:
        _check_told(error)
        return
    assert np.isfinite(extract(request).values).all()
    msgspec.json.encode(request)


def checked_outcomes(body: bytes) -> None:
    """Read outcomes; anything but a RouterError comes out, as does a row that is no JSON."""
    try:
        outcomes = outcomes_in(body, max_outcomes=100)
    except RouterError as error:
        _check_told(error)
        return
    for outcome in outcomes:
        json.loads(msgspec.json.encode(outcome_row(outcome, tenant="t", now_ms=0)))


def _check_told(error: RouterError) -> None:
    """An error names what is wrong; it does not send the whole body back."""
    assert 0 < len(str(error)) < 20_000


def _places(tree: Tree) -> Iterator[tuple[Tree, Any]]:
    """Every container with each key or index in it."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def _spoil(tree: Tree, rng: random.Random, tokens: list[bytes]) -> None:
    places = list(_places(tree))
    if not places:
        return
    container, key = rng.choice(places)
    other, other_key = rng.choice(places)

    def mark() -> str:
        tokens.append(rng.choice(TOKENS))
        return f"{MARK}{len(tokens) - 1}"

    def remove() -> None:
        del container[key]

    def add() -> None:
        if isinstance(container, dict):
            container[rng.choice(["type", "text", "content", "", "\u0000", "name"])] = mark()
        else:
            container.insert(key, mark())

    def repeat() -> None:
        if isinstance(container, list):
            container[key:key] = [container[key]] * rng.choice([1, 50])

    moves: list[Callable[[], None]] = [remove, add, repeat]
    moves.append(partial(_put, container, key, json.loads(json.dumps(other[other_key]))))
    moves += [lambda: _put(container, key, mark())] * 4
    rng.choice(moves)()


def _put(container: Tree, key: Any, value: Tree) -> None:
    container[key] = value


def _damaged(body: bytes, rng: random.Random) -> bytes:
    """The body with some of its bytes lost, changed, repeated, or with something around it."""
    start = rng.randrange(len(body))
    end = min(len(body), start + rng.randint(1, 40))
    return rng.choice(
        [
            body[:start],
            body[:start] + body[end:],
            body[:start] + rng.randbytes(end - start) + body[end:],
            body[:end] + body[start:],
            b"\xef\xbb\xbf" + body,
            body + body,
            body + b"\x00",
            body.decode(errors="replace").encode("utf-16"),
            b" \n\t" * 100 + body,
        ]
    )
