"""Reads what recorded calls were billed: tables `steps*.parquet` beside `requests.parquet`.

Calls are put into groups of one convention. Providers count cached tokens within the input or
beside it; a group whose calls mostly report more cached than input tokens counts them beside.
Calls with and without a cost are apart, because a system that calls two providers has both.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from router_data import store
from router_data.cells import as_number, as_text, cell, existing
from router_data.store import Columns
from router_model.errors import DatasetError
from router_model.types import PriceCard, Usage
from router_training.intervals import Floats

CHARS_PER_TOKEN: Final = 4.0
"""The usual rule; what a model bills beyond it is learned as its token ratio."""

# Bills that follow from tokens at fixed rates do so to the last digit that is recorded.
_LARGEST_RESIDUAL: Final = 0.005
_READ_SHARE: Final = 0.1  # a cache read's part of the input price, with most providers

_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "session_id": ("session_id", "session"),
    "request_id": ("request_id",),
    "model": ("model",),
    "upstream": ("upstream",),
}
_NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "step": ("step", "turn", "created_unix"),
    "chars": ("prefix_chars",),
    "input": ("input_tokens", "prompt_tokens"),
    "cached": ("cached_input_tokens", "cached_tokens"),
    "output": ("output_tokens", "completion_tokens"),
    "cost": ("cost_usd",),
    "gap": ("gap_since_prev_call_s", "gap_since_prev_message_s", "gap_s"),
}


class BilledCall(Struct, frozen=True, kw_only=True):
    """One call: what was known before it, and the usage that its bill showed.

    `estimated_tokens` come from characters alone; `time_s` runs from the session's first call.
    `endpoint` is the provider's machine that answered, "" where it is not recorded.
    """

    estimated_tokens: float
    time_s: float
    endpoint: str
    usage: Usage


class BilledGroup(Struct, frozen=True, kw_only=True):
    """The calls of one model by session, in order, and the prices that they were billed at.

    `unit` is "USD", or "input price" (of a million tokens) where the bills don't follow from the
    tokens; a cache read then counts a tenth. `reports_cache`: some call reported a cached token.
    """

    model: str
    sessions: Mapping[str, tuple[BilledCall, ...]]
    price: PriceCard
    unit: str
    reports_cache: bool

    @property
    def n_calls(self) -> int:
        """Calls of all sessions."""
        return sum(map(len, self.sessions.values()))


def read_bills(folder: Path) -> list[BilledGroup]:
    """The groups of a folder in the order of their names; DatasetError without any usable call."""
    frames = _frame_chars(existing(folder, "requests.parquet"))
    groups: list[BilledGroup] = []
    for path in sorted(folder.glob("steps*.parquet")):
        groups += _groups_of(_read(path), frames)
    if not groups:
        raise DatasetError(f"{folder}: no call with input tokens in steps*.parquet")
    return groups


def _read(path: Path) -> Columns:
    types = store.parquet_types(path)
    for name in ("model", "prefix_chars"):
        if name not in types:
            raise DatasetError(f"{path}: no column {name} among {', '.join(types)}")
    texts = {
        key: next((as_text(n, types[n]) for n in names if n in types), "null::varchar")
        for key, names in _TEXTS.items()
    }
    numbers = {
        key: f"coalesce({', '.join(as_number(n, types[n]) for n in names if n in types)}, null)"
        if any(n in types for n in names)
        else "null::double"
        for key, names in _NUMBERS.items()
    }
    table = store.read_parquet(path, texts | numbers)
    keys = zip(*(table[name] for name in ("session_id", "request_id", "model")), strict=True)
    # Without the name of a session, a model's calls of one task are one.
    names = [cell(name) or f"{cell(task)}:{cell(model)}" for name, task, model in keys]
    return table | {"session_id": np.array(names, dtype=np.object_)}


def _frame_chars(path: Path) -> dict[str, tuple[float, float]]:
    """Characters of (system text, tools) of each request, which the prefix may leave out."""
    types = store.parquet_types(path)
    names = ("request_id", "messages", "tools")
    table = store.read_parquet(
        path, {n: as_text(n, types[n]) if n in types else "null::varchar" for n in names}
    )
    frames = {}
    for request, messages, tools in zip(*(table[name] for name in names), strict=True):
        said = _messages(cell(messages) or "[]")
        system = sum(
            len(str(one.get("content") or "")) for one in said if one.get("role") == "system"
        )
        frames[str(request)] = (float(system), float(len(cell(tools) or "")))
    return frames


def _messages(text: str) -> list[dict[str, Any]]:
    """Those of a request; none where the text is no list of messages."""
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        return []


def _groups_of(table: Columns, frames: Mapping[str, tuple[float, float]]) -> list[BilledGroup]:
    usable = np.isfinite(table["input"]) & (table["input"] > 0)
    table = {key: values[usable] for key, values in table.items()}
    models = np.array([str(model or "?") for model in table["model"]])
    has_cost = np.isfinite(table["cost"])
    is_beside = np.zeros(len(models), dtype=np.bool_)
    for model in set(models.tolist()):
        for cost in (True, False):
            rows = (models == model) & (has_cost == cost)
            is_beside[rows] = _counts_beside(table["input"][rows], table["cached"][rows])
    found = []
    for model in sorted(set(models.tolist())):
        for beside in sorted(set(is_beside[models == model].tolist())):
            rows = np.flatnonzero((models == model) & (is_beside == beside))
            name = f"{model} (cached tokens beside)" if beside else model
            part = {key: values[rows] for key, values in table.items()}
            found.append(_group(name, part, frames, is_beside=beside))
    return found


def _counts_beside(tokens: Floats, cached: Floats) -> bool:
    reported = np.nan_to_num(cached) > 0
    return bool(reported.any()) and float(np.mean((cached > tokens)[reported])) > 0.5


def _group(
    name: str,
    table: Columns,
    frames: Mapping[str, tuple[float, float]],
    *,
    is_beside: bool,
) -> BilledGroup:
    cached = np.nan_to_num(table["cached"])
    total = table["input"] + cached if is_beside else table["input"]
    cached = np.minimum(cached, total)
    price, unit = _price(total, cached, np.nan_to_num(table["output"]), table["cost"])
    tokens = {"total": total, "read": cached, "wrote": np.nan_to_num(table["output"])}
    order = np.lexsort((table["step"], table["session_id"].astype(str)))
    rows_of: dict[str, list[int]] = {}
    for row in order.tolist():
        rows_of.setdefault(str(table["session_id"][row]), []).append(row)
    return BilledGroup(
        model=name,
        sessions={
            session: tuple(_calls(rows, table | tokens, frames))
            for session, rows in rows_of.items()
        },
        price=price,
        unit=unit,
        reports_cache=bool((cached > 0).any()),
    )


def _calls(
    rows: Sequence[int], table: Columns, frames: Mapping[str, tuple[float, float]]
) -> Iterator[BilledCall]:
    first = rows[0]
    system, tools = frames.get(str(table["request_id"][first]), (0.0, 0.0))
    frame = tools + (system if table["chars"][first] < system else 0.0)
    time_s = 0.0
    for row in rows:
        gap = float(table["gap"][row])
        time_s += gap if row != first and isfinite(gap) else 0.0
        yield BilledCall(
            estimated_tokens=(float(table["chars"][row]) + frame) / CHARS_PER_TOKEN,
            time_s=time_s,
            # One provider's name is spelled in several ways.
            endpoint=str(table["upstream"][row] or "").strip().lower(),
            usage=Usage(
                input_tokens=int(table["total"][row]),
                cached_tokens=int(table["read"][row]),
                output_tokens=int(table["wrote"][row]),
            ),
        )


def _price(total: Floats, cached: Floats, output: Floats, cost: Floats) -> tuple[PriceCard, str]:
    """Rates by least squares of the bills on their tokens, where that explains them."""
    known = np.isfinite(cost) & (cost > 0)
    amounts = np.stack([total - cached, cached, output], axis=1)[known]
    if known.sum() > amounts.shape[1]:
        used = [column for column in range(3) if amounts[:, column].any()]
        rates = np.zeros(3)
        rates[used] = np.linalg.lstsq(amounts[:, used], 1e6 * cost[known], rcond=None)[0]
        residual = np.median(np.abs(amounts @ rates / (1e6 * cost[known]) - 1.0))
        if residual < _LARGEST_RESIDUAL and rates[0] > 0 and (rates >= 0).all():
            read = float(rates[1]) if 1 in used else _READ_SHARE * float(rates[0])
            return PriceCard(input=float(rates[0]), output=float(rates[2]), cache_read=read), "USD"
    return PriceCard(input=1.0, output=0.0, cache_read=_READ_SHARE), "input price"
