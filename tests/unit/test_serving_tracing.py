import asyncio
from typing import Any

import pytest
from otlp_receiver import receiving

from router_serving.asgi import Message
from router_serving.tracing import ENDPOINTS, Tracing, add_trace_id, started_tracing, trace_of

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


def scope_of(*headers: tuple[bytes, bytes], path: str = "/route") -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": path, "headers": list(headers)}


def answered(tracing: Tracing, scope: dict[str, Any], *, status: int = 200) -> dict[bytes, bytes]:
    """The headers of an answer on its way through tracing, and what a log line would hold."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def call() -> dict[bytes, bytes]:
        answer = tracing.begin(scope, send)
        await answer({"type": "http.response.start", "status": status, "headers": []})
        tracing.end(scope)
        line = add_trace_id(None, "", {"event": "x"})
        return {**dict(sent[0]["headers"]), b"logged": str(line.get("trace_id")).encode()}

    return asyncio.run(call())


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENDPOINTS, "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)


def test_the_trace_of_a_caller_is_answered_and_logged() -> None:
    found = answered(Tracing(), scope_of((b"traceparent", PARENT.encode())))
    assert found == {b"traceparent": PARENT.encode(), b"logged": TRACE_ID.encode()}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xfe",
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
        b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        b"00-xyz-b7ad6b7169203331-01",
        b"0" * 5000,
    ],
)
def test_an_invalid_trace_is_ignored(value: bytes) -> None:
    scope = scope_of((b"traceparent", value))
    assert trace_of(scope) is None
    assert answered(Tracing(), scope) == {b"logged": b"None"}


def test_without_a_trace_nothing_is_added() -> None:
    assert answered(Tracing(), scope_of((b"host", b"x"))) == {b"logged": b"None"}


def test_the_state_of_a_trace_is_carried_along() -> None:
    scope = scope_of((b"traceparent", PARENT.encode()), (b"tracestate", b"vendor=1"))
    trace = trace_of(scope)
    assert trace is not None
    assert "vendor" in str(trace.context)


def test_without_a_collector_no_spans_are_made() -> None:
    assert not started_tracing().exporting


def test_a_span_goes_to_the_collector_under_the_trace_of_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        tracing = started_tracing()
        found = answered(tracing, scope_of((b"traceparent", PARENT.encode())), status=503)
        answered(tracing, scope_of(path="/healthz"))
        tracing.close()
    (span,) = receiver.spans
    assert (span.name, span.trace_id.hex()) == ("POST /route", TRACE_ID)
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert found[b"traceparent"].decode() == f"00-{TRACE_ID}-{span.span_id.hex()}-01"
    assert receiver.attributes()["http.response.status_code"] == 503
    assert span.status.code == 2


def test_a_caller_without_a_trace_begins_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        tracing = started_tracing()
        found = answered(tracing, scope_of(path="/outcomes"))
        tracing.close()
    assert receiver.spans[0].trace_id.hex().encode() == found[b"logged"]


def test_a_trace_that_is_not_sampled_is_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        tracing = started_tracing()
        answered(tracing, scope_of((b"traceparent", PARENT[:-2].encode() + b"00")))
        tracing.close()
    assert receiver.spans == []
