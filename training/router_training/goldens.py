"""Made-up requests whose predictions every artifact carries (`router_model.golden`)."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from router_data.prices import shipped_catalog
from router_model import features, formats
from router_model.features import Context
from router_model.types import ModelCard

N_MODELS: Final = 6
_READ: Final = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Reads a file of the project.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": ["path"],
        },
    },
}
_CALL: Final = {
    "id": "call-1",
    "type": "function",
    "function": {"name": "read_file", "arguments": '{"path": "billing/totals.py"}'},
}
_AGENT: Final = {"role": "system", "content": "You are a coding agent. Work in small steps."}
_TASK: Final = {
    "role": "user",
    "content": "The monthly totals are off by a cent. Find out why and add a test that shows it.",
}
_BODIES: Final[tuple[Mapping[str, Any], ...]] = (
    {"messages": [{"role": "user", "content": "Which port does Postgres use by default?"}]},
    {"messages": [_AGENT, _TASK], "tools": [_READ]},
    {
        "messages": [
            _AGENT,
            _TASK,
            {"role": "assistant", "tool_calls": [_CALL]},
            {
                "role": "tool",
                "tool_call_id": "call-1",
                "content": "def total(items):\n    return round(sum(i.price for i in items), 2)\n",
            },
        ],
        "tools": [_READ],
    },
    {
        "messages": [
            {"role": "user", "content": "Lies die Liste und gib sie als JSON zurück: a, b, c"}
        ],
        "response_format": {"type": "json_object"},
        "max_tokens": 200,
    },
)


def golden_contexts() -> tuple[Context, ...]:
    """The contexts of the made-up requests, as the service would see them."""
    return tuple(
        features.extract(formats.parse(msgspec.json.encode({"model": "auto", **body})))
        for body in _BODIES
    )


def golden_cards(seen: Iterable[str]) -> tuple[ModelCard, ...]:
    """Some models of the shipped catalog: up to half of them `seen` in training."""
    names, cards = set(seen), shipped_catalog().models
    known = [card for name, card in sorted(cards.items()) if name in names][: N_MODELS // 2]
    others = [card for name, card in sorted(cards.items()) if name not in names]
    return (*known, *others[: N_MODELS - len(known)])
