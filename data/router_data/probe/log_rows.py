"""Calls of a probe as rows of the log, for what learns from observed behaviour."""

import msgspec
from ulid import ULID

from router_data.contexts import TextEncoder
from router_data.gateway_log import GatewayCall, GatewayUsage
from router_data.gateway_rows import GatewayRowMaker, Row
from router_data.probe.asks import Answer
from router_data.probe.client import Record
from router_data.probe.dialects import WIRE_FORMATS, Dialect
from router_data.rows import PROBE_DATASET

TENANT = "probe"
# Their failures are wanted, or say nothing of the model.
_LEFT_OUT = frozenset({"greeting", "errors"})


def rows_of(record: Record, *, model: str, dialect: Dialect, encoder: TextEncoder) -> list[Row]:
    """The outcome row and, last, the decision row of a call; none of calls made to be refused.

    A decision of a probe is observational: nobody drew the model. Raises InvalidRequestError.
    """
    answer = record.answer
    if record.check in _LEFT_OUT or answer.is_cut:
        return []
    decision_id = f"probe-{ULID()}"
    call = GatewayCall(
        id=decision_id,
        ts=record.ts_ms,
        request=msgspec.Raw(record.body),
        model=model,
        tenant=TENANT,
        session=record.session or decision_id,
        format=WIRE_FORMATS[dialect],
        usage=_usage(answer),
        cost_usd=answer.cost_usd if answer.usage is not None else None,
        latency_ms=answer.latency_ms,
        tool_call_latency_ms=answer.tool_call_ms,
        tool_call_valid=answer.tool_call_valid,
        adequate=answer.adequate,
        signals={"probe": record.check, **answer.signals},
        error=_error(answer),
    )
    outcome, decision = GatewayRowMaker(encoder, tenant=TENANT).rows(call)
    names = {"decision_id": decision_id}
    decision |= names | {"dataset": PROBE_DATASET, "policy": "probe", "reason": "probed"}
    decision["versions"] = {"artifact": "probe", "catalog": "", "policy": ""}
    outcome |= names
    if answer.is_ok:
        outcome["n_tool_calls"] = len(answer.calls)
        outcome["n_tool_call_chunks"] = answer.n_chunks if answer.n_events else None
    return [outcome, decision]


def _usage(answer: Answer) -> GatewayUsage | None:
    if answer.usage is None:
        return None
    return GatewayUsage(
        input_tokens=answer.usage.input_tokens,
        cached_tokens=answer.usage.cached_tokens,
        cache_write_tokens=answer.usage.cache_write_tokens,
        output_tokens=answer.usage.output_tokens,
    )


def _error(answer: Answer) -> str | None:
    """A short name of what went wrong, never what the endpoint wrote."""
    if answer.is_ok:
        return None
    if answer.status >= 400:
        return f"http_{answer.status}"
    return "timeout" if answer.problem.startswith("no end") else "connection"
