"""OpenTelemetry spans of calls to models, as the GenAI conventions describe them, old and new.

A file may hold OTLP/JSON as the collector's file exporter and the SDKs' JSON exporters write it
(an object with `resourceSpans` a line), or one span a line as console exporters print it. The
content of a call, where it was captured, is in attributes (`gen_ai.input.messages`,
`gen_ai.prompt`, `gen_ai.prompt.0.content`) or in the span's events; logs are another signal and
not read. `gen_ai.usage.input_tokens` includes cached tokens by the conventions; instruments that
leave them out are noticed where a total or the sizes show it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from router_data.gateway_log import GatewayCall, Line, call_of, checked_line
from router_data.imports.counted import fields_of, usage_from
from router_data.imports.loose import amount, count, first, looked_up, mapping, name, number
from router_data.imports.otel_content import content_of
from router_data.imports.records import Record
from router_data.imports.scores import ScoreRule, judged_by
from router_model.errors import DatasetError

_ANSWERS: Final = frozenset({"chat", "text_completion", "completion", "generate_content"})
_EVALUATION: Final = "gen_ai.evaluation.result"
_SHORTEST_ID: Final = 16  # shorter ones, of servers that count, are not unique
_NAMED: Final = {"ts": "startTimeUnixNano", "model": "gen_ai.request.model"}
OTHER_SPAN: Final = "a span that is no call of a model"
_FAILED: Final = frozenset({"2", "ERROR", "STATUS_CODE_ERROR", "StatusCode.ERROR"})


def read_otel(
    record: Record, *, tenant_field: str | None = None, rule: ScoreRule | None = None
) -> Iterator[Line]:
    """The calls among the spans of one line; `tenant_field` names an attribute with the tenant.

    `rule` says which evaluation events judge a call.
    """
    try:
        document = msgspec.json.decode(record.text)
        spans = list(_spans(document))
    except (msgspec.DecodeError, UnicodeError):
        yield Line(record.number, record.text, None, "not valid JSON")
    except RecursionError:
        yield Line(record.number, record.text, None, "nested too deeply")
    except DatasetError as error:
        yield Line(record.number, record.text, None, str(error))
    else:
        for span in spans:
            yield _line(record, span, tenant_field, rule, is_alone=len(spans) == 1)


def _line(
    record: Record,
    span: dict[str, Any],
    tenant_field: str | None,
    rule: ScoreRule | None,
    *,
    is_alone: bool,
) -> Line:
    line = checked_line(record, lambda: _call(span, tenant_field, rule), _NAMED)
    if is_alone or not line.problem:
        return line
    # Of a line of many spans only the bad one is kept aside.
    return line._replace(text=msgspec.json.encode(span, enc_hook=str))


def _spans(document: Any) -> Iterator[dict[str, Any]]:
    """Spans with plain `attributes` and `resource` attributes, whatever layout they came in."""
    if not isinstance(document, dict):
        raise DatasetError("expected an object")
    batches = document.get("resourceSpans", document.get("resource_spans"))
    if batches is None:
        resource = mapping(document.get("resource"))
        yield document | {"resource": _attributes(resource.get("attributes") or resource)}
        return
    for batch in _objects(batches):
        resource = _attributes(mapping(batch.get("resource")).get("attributes"))
        named = first(batch, "scopeSpans", "instrumentationLibrarySpans", "scope_spans")
        for scope in _objects(named):
            for span in _objects(scope.get("spans")):
                yield span | {"resource": resource}


def _objects(values: Any) -> list[dict[str, Any]]:
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DatasetError("resourceSpans: expected lists of objects")
    return values


def _attributes(told: Any) -> dict[str, Any]:
    """Attributes as a plain mapping, from one or from OTLP's list of keys and typed values."""
    if isinstance(told, dict):
        return told
    pairs = told if isinstance(told, list) else []
    return {
        str(pair.get("key")): _value(pair.get("value")) for pair in pairs if isinstance(pair, dict)
    }


def _value(told: Any) -> Any:
    """The value in OTLP's {"stringValue": ...} and the like; 64-bit numbers come as text."""
    if not isinstance(told, dict) or len(told) != 1:
        return told
    ((kind, value),) = told.items()
    if kind == "arrayValue":
        return [_value(item) for item in mapping(value).get("values") or []]
    if kind == "kvlistValue":
        return _attributes(mapping(value).get("values"))
    return count(value) if kind == "intValue" and isinstance(value, str) else value


def _call(
    span: dict[str, Any], tenant_field: str | None, rule: ScoreRule | None
) -> GatewayCall | str:
    attributes = _attributes(span.get("attributes"))
    if not _is_model_call(attributes):
        return OTHER_SPAN
    events = [
        (str(event.get("name")), _attributes(event.get("attributes")))
        for event in span.get("events") or []
        if isinstance(event, dict)
    ]
    names = [name(attributes.get(f"gen_ai.{part}.model")) for part in ("response", "request")]
    models = [model for model in names if model is not None]
    every = {**span["resource"], **attributes}
    fields = {
        "id": _identity(span, attributes),
        "model": models[0] if models else "",
        "also_named": tuple(models[1:]),
        "requested_model": names[1],
        "tenant": name(looked_up(every, tenant_field)) if tenant_field else None,
        "user": name(first(every, "enduser.id", "user.id", "gen_ai.user.id")),
        "session": _session(span, every),
        "usage": _usage(attributes),
        "cost_usd": _cost(attributes),
        "error": _error(span, attributes),
        **_times(span),
        **_evaluated(events, rule),
    }
    return call_of(fields | content_of(attributes, events))


def _identity(span: Mapping[str, Any], attributes: Mapping[str, Any]) -> str | None:
    """The answer's id, which nested spans of one call share, else trace and span."""
    answer = name(attributes.get("gen_ai.response.id"))
    if answer is not None and len(answer) >= _SHORTEST_ID:
        return answer
    trace, own = _hex(span, "traceId", "trace_id"), _hex(span, "spanId", "span_id")
    return f"{trace}/{own}" if trace and own else None


def _session(span: Mapping[str, Any], every: Mapping[str, Any]) -> str | None:
    """The named one, else the trace, unless the call is all that there is of it."""
    named = name(first(every, "gen_ai.conversation.id", "session.id"))
    has_parent = first(span, "parentSpanId", "parent_span_id", "parent_id") is not None
    return named or (_hex(span, "traceId", "trace_id") if has_parent else None)


def _hex(span: Mapping[str, Any], *names: str) -> str | None:
    """An id as OTLP writes it; consoles put 0x before it."""
    found = name(_named(span, *names))
    return found and found.removeprefix("0x")


def _named(span: Mapping[str, Any], *names: str) -> Any:
    return first(span, *names) or first(mapping(span.get("context")), *names)


def _is_model_call(attributes: Mapping[str, Any]) -> bool:
    """True of calls that a model answered; agents' own spans repeat the tokens of their calls."""
    operation = attributes.get("gen_ai.operation.name", attributes.get("llm.request.type"))
    if operation is not None:
        return str(operation) in _ANSWERS
    return first(attributes, "gen_ai.request.model", "gen_ai.response.model") is not None


def _usage(attributes: Mapping[str, Any]) -> dict[str, int] | None:
    def told(*names: str) -> int | None:
        prefixes = ("gen_ai.usage.", "llm.usage.")
        return count(first(attributes, *(prefix + part for part in names for prefix in prefixes)))

    usage = usage_from(
        told("input_tokens", "prompt_tokens"),
        told("output_tokens", "completion_tokens"),
        cached=told("cache_read.input_tokens", "cache_read_input_tokens", "cached_tokens") or 0,
        written=told(
            "cache_creation.input_tokens", "cache_creation_input_tokens", "cache_write.input_tokens"
        )
        or 0,
        reasoning=told("reasoning.output_tokens", "reasoning_tokens") or 0,
        total=told("total_tokens"),
        is_inclusive=True,
    )
    return fields_of(usage)


def _cost(attributes: Mapping[str, Any]) -> float | None:
    """What the instrument wrote down; the conventions have no name for it."""
    names = ("gen_ai.usage.cost", "gen_ai.cost.total", "gen_ai.cost.total_cost")
    return amount(attributes, *names, "litellm.cost.total", "gen_ai.usage.total_cost")


def _error(span: Mapping[str, Any], attributes: Mapping[str, Any]) -> str | None:
    """The class of an error; never the status message, which may quote the prompt."""
    status = mapping(span.get("status"))
    told = name(attributes.get("error.type"))
    is_failed = str(first(status, "code", "status_code")) in _FAILED
    return told or ("error" if is_failed else None)


def _times(span: Mapping[str, Any]) -> dict[str, Any]:
    """Start, and how long it took."""
    started = _ms(
        first(span, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")
    )
    ended = _ms(first(span, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime"))
    if started is None:
        return {"ts": None}
    is_ordered = ended is not None and ended >= started
    took = round(ended - started, 1) if ended is not None and is_ordered else None
    return {"ts": round(started), "latency_ms": took}


def _ms(value: Any) -> float | None:
    """Milliseconds of nanoseconds since 1970, or of ISO 8601 text."""
    nanoseconds = number(value)
    if nanoseconds is not None:
        return nanoseconds / 1e6
    try:
        return datetime.fromisoformat(str(value)).timestamp() * 1000
    except (ValueError, OverflowError):
        return None


def _evaluated(events: list[tuple[str, dict[str, Any]]], rule: ScoreRule | None) -> dict[str, Any]:
    """What evaluation events of the wanted name say."""
    for kind, attributes in events:
        if kind == _EVALUATION and rule is not None:
            told = {
                "name": attributes.get("gen_ai.evaluation.name"),
                "value": attributes.get("gen_ai.evaluation.score.value"),
                "string_value": attributes.get("gen_ai.evaluation.score.label"),
            }
            found = judged_by(told, rule)
            if found is not None:
                return found
    return {}
