"""Traces across services: the caller's W3C trace context, and spans for a collector.

The trace's id goes into every log line of the call, and `traceparent` into the answer. Spans are
made only where the extra `tracing` is installed and OTEL_EXPORTER_OTLP_ENDPOINT is set; they leave
in the background, and what a collector does not take is dropped. They hold the model, the reason,
the tenant and the microseconds of the stages, never what was asked.
"""

import os
from collections.abc import Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from msgspec import Struct
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from router_model.extras import missing_packages
from router_serving.asgi import Message, Scope, Send
from router_serving.redaction import as_name

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVICE_NAME: Final = "router-model"
SPAN_KEY: Final = "router_serving.span"
TRACEPARENT: Final = b"traceparent"
_TRACED: Final = frozenset(("/route", "/outcomes"))
_SERVER_ERROR: Final = 500
_trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)
_log = structlog.get_logger(__name__)


class Reported(Protocol):
    """What a span says of an answer."""

    @property
    def stages(self) -> Mapping[str, int]:
        """Nanoseconds by stage."""

    @property
    def answer(self) -> Any:
        """The answer: its model, reason, decision_id."""


class Trace(Struct, frozen=True):
    """The caller's trace: its context, the header as it came, and its id in hexadecimal."""

    context: "Context"
    header: bytes
    trace_id: str


class _Pairs(Getter[Iterable[tuple[bytes, bytes]]]):
    """Reads ASGI's headers."""

    def get(self, carrier: Iterable[tuple[bytes, bytes]], key: str) -> list[str] | None:
        wanted = key.encode()
        found = [value.decode("latin-1") for name, value in carrier if name == wanted]
        return found or None

    def keys(self, carrier: Iterable[tuple[bytes, bytes]]) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


_propagator: Final = TraceContextTextMapPropagator()
_pairs: Final = _Pairs()


def trace_of(scope: Scope) -> Trace | None:
    """The trace that a call belongs to; None where it names none, or none that is valid."""
    header = next((value for name, value in scope["headers"] if name == TRACEPARENT), None)
    if header is None:  # nearly always, where nobody traces
        return None
    context = _propagator.extract(scope["headers"], getter=_pairs)
    found = get_current_span(context).get_span_context()
    return Trace(context, header, f"{found.trace_id:032x}") if found.is_valid else None


def add_trace_id(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A step of logging: name the trace in whose course a line is written."""
    if (trace_id := _trace_id.get()) is not None:
        event.setdefault("trace_id", trace_id)
    return event


class Tracing:
    """Follows calls; `exporting` says whether spans are made."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self._tracer = None if provider is None else provider.get_tracer("router_serving")

    @property
    def exporting(self) -> bool:
        """True when spans leave for a collector."""
        return self._tracer is not None

    def begin(self, scope: Scope, send: Send) -> Send:
        """Note the call's trace, begin its span, and return what answers it."""
        trace = trace_of(scope)
        span = self._span(scope, trace)
        if trace is None and span is None:
            return send
        header = trace.header if trace is not None else b""
        trace_id = trace.trace_id if trace is not None else ""
        if span is not None:
            own = span.get_span_context()
            trace_id = f"{own.trace_id:032x}"
            header = f"00-{trace_id}-{own.span_id:016x}-{own.trace_flags:02x}".encode()
        _trace_id.set(trace_id)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (TRACEPARENT, header)]
                if span is not None:
                    _answered(span, message["status"])
            await send(message)

        return answer

    def end(self, scope: Scope) -> None:
        """End the call's span."""
        span = scope.get(SPAN_KEY)
        if span is not None:
            span.end()

    def close(self) -> None:
        """Send what waits and stop."""
        if self._provider is not None:
            self._provider.shutdown()

    def _span(self, scope: Scope, trace: Trace | None) -> Span | None:
        if self._tracer is None or scope["path"] not in _TRACED:
            return None
        span = self._tracer.start_span(
            f"{scope['method']} {scope['path']}",
            context=None if trace is None else trace.context,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "url.path": scope["path"]},
        )
        scope[SPAN_KEY] = span
        return span


def describe(scope: Scope, answered: Reported, *, tenant: str) -> None:
    """Say of a decision in its span, if it has one, what was chosen and how long it took."""
    span = scope.get(SPAN_KEY)
    if span is None or not span.is_recording():
        return
    answer = answered.answer
    span.set_attributes(
        {
            "router.decision_id": answer.decision_id,
            "router.model": as_name(answer.model),
            "router.reason": answer.reason.partition(":")[0],
            "router.tenant": tenant,
            **{f"router.{name}_us": ns // 1000 for name, ns in answered.stages.items()},
        }
    )


def _answered(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= _SERVER_ERROR:
        span.set_status(Status(StatusCode.ERROR))


def started_tracing() -> Tracing:
    """Tracing as the environment asks for; spans only where a collector is named."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return Tracing()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME as NAME
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        needs = missing_packages("tracing", extra="tracing", names=[str(error.name)])
        _log.warning("tracing.missing", module=error.name, needs=needs)
        return Tracing()
    named = os.environ.get("OTEL_SERVICE_NAME", SERVICE_NAME)
    provider = TracerProvider(resource=Resource.create({NAME: named}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _log.info("tracing.started", service=named)
    return Tracing(provider)
