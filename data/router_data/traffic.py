"""Simulated traffic through a real router: the log that a service would have left."""

from pathlib import Path
from typing import Any

from router_data.log import SEGMENTS, SegmentWriter
from router_data.rows import decision_row, outcome_row
from router_data.simulator import World
from router_model import formats
from router_model.errors import NoAdmissibleModelError
from router_model.router import Router
from router_model.types import Caller, Outcome, PolicyOverrides, Usage, WireFormat

NO_OVERRIDES = PolicyOverrides()
Row = dict[str, Any]


def log_traffic(
    world: World,
    state: Path,
    *,
    router: Router,
    caller: Caller,
    overrides: PolicyOverrides = NO_OVERRIDES,
) -> int:
    """How many of the world's requests the router decided; each is logged with its outcome.

    Requests without an admissible model are left out. The outcome is known where the chosen
    model is one of the world's, so give these names of the router's catalog and allow only them
    in `overrides`. The rows count as the tenant's own, in its spending too: keep them out of a
    real state folder.
    """
    rows: list[Row] = []
    n_decisions = 0
    for index in range(world.n_requests):
        try:
            row = _decided(world, index, router=router, caller=caller, overrides=overrides)
        except NoAdmissibleModelError:
            continue
        n_decisions += 1
        rows += [row, *_observed(world, index, row)]
    with SegmentWriter(state / "log" / SEGMENTS, "simulated") as writer:
        writer.append(rows)
    return n_decisions


def _decided(
    world: World, index: int, *, router: Router, caller: Caller, overrides: PolicyOverrides
) -> Row:
    """The log row of the router's decision on one request."""
    request = formats.parse(world.chat_body(index), wire_format=WireFormat.OPENAI_CHAT)
    context = router.context(request)
    embedding = router.embed(context)
    decision = router.decide(
        request,
        caller=caller,
        overrides=overrides,
        decision_id=f"simulated-{world.seed}-{index}",
        context=context,
        embedding=embedding,
    )
    return decision_row(
        decision,
        caller=caller,
        request=request,
        context=context,
        embedding=embedding,
        encoder=router.encoder.hash,
        session=str(world.session[index]),
        wire_format=WireFormat.OPENAI_CHAT,
        now_ms=int(world.ts_ms[index]),
    )


def _observed(world: World, index: int, decision: Row) -> list[Row]:
    """The outcome row of the chosen model, none where the world does not know it."""
    if decision["model"] not in world.models:
        return []
    model = world.models.index(decision["model"])
    latency_ms = float(world.latency_ms[index, model])
    outcome = Outcome(
        decision_id=decision["decision_id"],
        model=decision["model"],
        adequate=bool(world.adequate[index, model]),
        usage=Usage(
            input_tokens=int(world.input_tokens[index]),
            output_tokens=int(world.output_tokens[index, model]),
        ),
        cost_usd=float(world.cost_usd[index, model]),
        latency_ms=latency_ms,
        tool_call_latency_ms=latency_ms,
    )
    now_ms = int(decision["ts_ms"] + latency_ms)
    return [outcome_row(outcome, tenant=decision["tenant"], now_ms=now_ms)]
