"""What the four shapes of the local upstream have in common."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from upstream_script import Asked, Said, Tool

CREATED = 1_700_000_000
Body = dict[str, Any]


@dataclass(frozen=True)
class Used:
    """Tokens of one call; `n_input` includes cached and written ones."""

    n_input: int
    n_cached: int
    n_written: int
    n_output: int


@dataclass(frozen=True)
class Dialect:
    """How one provider reads and writes."""

    read: Callable[[Body, str], Asked]
    whole: Callable[[str, Said, Used], Body]
    events: Callable[[str, Said, Used], Iterator[bytes]]
    error: Callable[[int, str], Body]


def pieces(text: str, size: int = 12) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def sse(document: Mapping[str, Any], *, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(document)}\n\n".encode()


def asked_of(model: str, body: Body, start: Any, tools: list[Tool], n_results: int) -> Asked:
    stream = bool(body.get("stream"))
    return Asked(model, stream, json.dumps(start)[:2_000], tuple(tools), n_results)
