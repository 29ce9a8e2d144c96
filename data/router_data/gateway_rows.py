"""Makes rows of our log from calls that another gateway made."""

import hashlib
import heapq
from collections.abc import Mapping
from typing import Any

import msgspec

from router_data.contexts import TextEncoder, context_of
from router_data.gateway_log import GatewayCall
from router_data.imports.loose import key_name
from router_data.rows import ROW_SCHEMA, encode_embedding, encode_features, request_hash
from router_model import features, formats
from router_model.answers import Answer, Steps, read_answer, tool_calls_valid, wire_signals
from router_model.errors import InvalidRequestError
from router_model.outline import outline_of
from router_model.session import session_id
from router_model.types import Caller, Request, WireFormat

# Names the rows as an import: they are nobody's spending here and may be imported again.
DATASET = "gateway"
DEFAULT_TENANT = "default"
POLICY = "import:gateway"

Row = dict[str, Any]
_ANSWERS: Mapping[str, WireFormat] = {
    "choices": WireFormat.OPENAI_CHAT,
    "output": WireFormat.OPENAI_RESPONSES,
    "candidates": WireFormat.GEMINI,
    "content": WireFormat.ANTHROPIC_MESSAGES,
}


class GatewayRowMaker:
    """Makes the log rows of one call after the other.

    With `finds_retries` a call that asks an earlier one's step again gives that one the signal
    `retried`; calls must then come about in the order of time. With `with_text` the bounded text
    of a request is logged too.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        tenant: str = DEFAULT_TENANT,
        finds_retries: bool = False,
        with_text: bool = False,
    ) -> None:
        self.encoder = encoder
        self.tenant = tenant
        self.with_text = with_text
        self._repeats = _Repeats() if finds_retries else None

    def rows(self, call: GatewayCall) -> list[Row]:
        """The outcome row and, last, the decision row. Raises InvalidRequestError.

        The decision comes last, so that where an import was interrupted a decision in the log
        has its outcome. A signal for an earlier call comes first.
        """
        caller = Caller(
            tenant=call.tenant or self.tenant,
            key=key_name(call.key),
            user=call.user,
            session=call.session,
        )
        request = _parsed(call) if call.has_request else None
        decision = self._decision(call, caller) | self._of_request(call, request, caller)
        key = (call.id,) if call.id else _identity(decision, call)
        digest = hashlib.sha256(msgspec.json.encode([decision["tenant"], *key])).hexdigest()
        decision["decision_id"] = f"gateway-{digest[:32]}"
        answer = _answer(call, decision["format"]) if call.has_response else None
        outcome = _outcome(call, decision) | _observed(call, request, answer)
        content = hashlib.sha256(msgspec.json.encode([decision, outcome])).hexdigest()[:16]
        decision["versions"] = {"artifact": f"import:{content}", "catalog": "", "policy": ""}
        if self._repeats is None or request is None:
            return [outcome, decision]
        return [*self._repeats.rows(request, decision, outcome), outcome, decision]

    def _decision(self, call: GatewayCall, caller: Caller) -> Row:
        """What is known whether or not the request is there."""
        distribution = call.distribution if call.is_drawn else None
        return {
            "schema": ROW_SCHEMA,
            "kind": "decision",
            "ts_ms": call.ts_ms,
            "tenant": caller.tenant,
            "key": caller.key,
            "user": caller.user,
            "model": call.model,
            "propensity": call.propensity,
            "policy": POLICY,
            "reason": "imported",
            "feedback": "observational" if distribution is None else "bandit",
            "fallbacks": [],
            "excluded": {},
            "candidates": [
                {"model": model, "probability": p} for model, p in (distribution or {}).items()
            ],
            "dataset": DATASET,
        }

    def _of_request(self, call: GatewayCall, request: Request | None, caller: Caller) -> Row:
        """What the request says; without one only what the call says of it."""
        if request is None:
            # Such a row tells of spending; without features nothing is learned from it.
            usage = call.usage
            return {
                "session": caller.session,
                "client": call.client,
                "format": call.format,
                "requested_model": call.requested_model or "",
                "step_type": None,
                "features": None,
                "embedding": None,
                "input_tokens": None if usage is None else usage.input_tokens,
            }
        context = context_of(request, self.encoder)
        row = {
            "session": session_id(outline_of(request), {}, caller),
            "client": call.client or context.client or None,
            "format": str(_wire_format(call, _body(call))),
            "requested_model": call.requested_model or request.requested_model,
            "request_hash": request_hash(request),
            "step_type": context.step_type,
            "features": encode_features(context.features),
            "feature_schema": features.SCHEMA.hash,
            "embedding": encode_embedding(context.embedding),
            "encoder": self.encoder.hash,
            "input_tokens": context.input_tokens,
            "max_output_tokens": request.max_output_tokens,
        }
        return row | {"text": context.text} if self.with_text else row


class _Repeats:
    """Notices steps that are asked again, from calls that come about in the order of time."""

    def __init__(self) -> None:
        self._steps = Steps()
        self._running: list[tuple[float, str]] = []

    def rows(self, request: Request, decision: Row, outcome: Row) -> list[Row]:
        """The signal for the earlier call whose step this one asks again, if there is one."""
        started, name = decision["ts_ms"] / 1000, decision["decision_id"]
        while self._running and self._running[0][0] <= started:
            self._steps.ended(heapq.heappop(self._running)[1])
        session = f"{decision['tenant']}\0{decision['session']}"
        earlier = self._steps.asked(request, session=session, decision_id=name, now=started)
        if outcome["latency_ms"] is not None:  # else nobody knows whether it was still running
            ended = started + outcome["latency_ms"] / 1000
            heapq.heappush(self._running, (ended, name))
        if earlier is None:
            return []
        head = {key: outcome[key] for key in ("schema", "kind", "ts_ms", "tenant")}
        return [head | {"decision_id": earlier, "attempt": 0, "signals": {"retried": True}}]


def _identity(decision: Row, call: GatewayCall) -> tuple[Any, ...]:
    names = ("ts_ms", "key", "user", "session", "model")
    found = tuple(decision[name] for name in names)
    if "request_hash" in decision:
        return (*found, decision["request_hash"])
    return (*found, msgspec.to_builtins(call.usage), call.cost_usd)


def _parsed(call: GatewayCall) -> Request:
    body = _body(call)
    return formats.parse(body, wire_format=_wire_format(call, body), path=call.path)


def _body(call: GatewayCall) -> bytes:
    """The client's body, which may also have been logged as text."""
    return _unquoted(bytes(call.request))


def _unquoted(body: bytes) -> bytes:
    return msgspec.json.decode(body, type=str).encode() if body.startswith(b'"') else body


def _wire_format(call: GatewayCall, body: bytes) -> WireFormat:
    """The dialect as named, else as the path says, else as the body looks."""
    if call.format is None:
        named = formats.format_of_path(call.path) if call.path else None
        return named or formats.detect(body)
    try:
        return WireFormat(call.format)
    except ValueError:
        allowed = f"one of {', '.join(WireFormat)}"
        raise InvalidRequestError("format", call.format, allowed) from None


def _answer(call: GatewayCall, wire_format: str | None) -> Answer:
    """The answer, in the dialect that it shows: gateways log some in another than the request's."""
    body = _unquoted(bytes(call.response))
    fallback = WireFormat(wire_format) if wire_format in tuple(WireFormat) else None
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        document = None
    shown = (f for name, f in _ANSWERS.items() if isinstance(document, dict) and name in document)
    return read_answer(body, wire_format=next(shown, fallback) or WireFormat.OPENAI_CHAT)


def _outcome(call: GatewayCall, decision: Row) -> Row:
    return {
        "schema": ROW_SCHEMA,
        "kind": "outcome",
        "ts_ms": decision["ts_ms"],
        "decision_id": decision["decision_id"],
        "attempt": 0,
        "tenant": decision["tenant"],
        "model": call.model,
        "adequate": call.adequate,
        "reward": call.reward,
        "signals": call.signals,
        "usage": msgspec.to_builtins(call.usage),
        "cost_usd": call.cost_usd,
        "latency_ms": call.latency_ms,
        "tool_call_latency_ms": call.tool_call_latency_ms,
        "tool_call_valid": call.tool_call_valid,
        "error": call.error or None,
    }


def _observed(call: GatewayCall, request: Request | None, answer: Answer | None) -> Row:
    """What the answer shows beside what the gateway logged, which is not changed by it."""
    if answer is None or call.error:
        return {}
    if answer.error is not None and not answer.is_complete:
        # It may be in a form that is not read: that is no failure of the model.
        return {}
    row: Row = {"n_tool_calls": len(answer.calls)}
    if call.usage is None and answer.usage is not None:
        row["usage"] = msgspec.to_builtins(answer.usage)
    if request is None:
        return row
    row["signals"] = {**wire_signals(request, answer), **call.signals}
    if call.tool_call_valid is None:
        row["tool_call_valid"] = tool_calls_valid(request, answer)
    is_streamed = request.stream if call.is_streamed is None else call.is_streamed
    if answer.calls and not is_streamed and call.tool_call_latency_ms is None:
        # Not streamed, the calls are there when the answer is.
        row["tool_call_latency_ms"] = call.latency_ms
    return row
