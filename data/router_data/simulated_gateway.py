"""Writes a simulated gateway's log: JSON lines of calls by a fixed rule, without propensities."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from router_data.playthrough import Playthrough, Report
from router_data.simulator import World
from router_model.errors import DatasetError

SIDE_TASK = "side"


def write_gateway_log(
    world: World,
    path: Path,
    *,
    model: str | None = None,
    side_model: str | None = None,
    billed: float | None = None,
) -> int:
    """Write one line per call, as a gateway without a router would have; how many were written.

    `model` (the dearest when not given) answers every call but titles, summaries and the like,
    which go to `side_model` (the same model when not given). `billed` is the share of calls with a
    bill (see `Playthrough`). A line holds "ts" (ISO 8601, UTC),
    "tenant", "key", "session", "request" (the client's body), "model", "usage", "cost_usd",
    "latency_ms" and, where they came back, "adequate", "signals" and "tool_call_valid". Nothing
    says how likely another model was: such a log can train, but not evaluate other policies.
    """
    fixed = model or world.models[-1]
    side = side_model or fixed
    for name in (fixed, side):
        if name not in world.models:
            raise DatasetError(f"model: got {name!r}, expected {', '.join(world.models)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for line in _lines(world, fixed=fixed, side=side, billed=billed):
            file.write(msgspec.json.encode(line) + b"\n")
    return world.n_requests


def _lines(
    world: World, *, fixed: str, side: str, billed: float | None
) -> Iterator[Mapping[str, Any]]:
    play = Playthrough(world, billed=billed)
    for index in range(world.n_requests):
        model = side if world.task[index] == SIDE_TASK else fixed
        report = play.take(index, model, decision_id=str(index))
        yield _line(world, index, model) | _observed(report)


def _line(world: World, index: int, model: str) -> dict[str, Any]:
    """What a gateway knows of a call whatever becomes of it."""
    at = datetime.fromtimestamp(int(world.ts_ms[index]) / 1_000, tz=UTC)
    return {
        "ts": at.isoformat(timespec="milliseconds"),
        "tenant": world.tenant[index],
        "key": world.key[index] or None,
        "session": world.session[index],
        "request": msgspec.Raw(world.chat_body(index)),
        "model": model,
    }


def _observed(report: Report | None) -> dict[str, Any]:
    """What came back; nothing of an outcome that was lost."""
    if report is None:
        return {}
    outcome = report.outcome
    observed = {
        "usage": None if outcome.usage is None else msgspec.to_builtins(outcome.usage),
        "cost_usd": outcome.cost_usd,
        "latency_ms": outcome.latency_ms,
        "adequate": outcome.adequate,
        "signals": dict(outcome.signals) or None,
        "tool_call_valid": outcome.tool_call_valid,
    }
    return {name: value for name, value in observed.items() if value is not None}
