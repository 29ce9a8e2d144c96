"""Langfuse: exported observations, and scores in the same file or in another one.

Names may be those of the API (`traceId`) or of the export to a bucket (`trace_id`). Usage buckets
exclude each other, so that input is without cached tokens; where a total says that an integration
sent it otherwise, the total is believed. The cost is what Langfuse booked: what the integration
reported, else its own list price.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from router_data.gateway_log import GatewayCall, Line, call_of, checked_line
from router_data.imports.counted import fields_of, usage_from
from router_data.imports.loose import amount, count, first, looked_up, mapping, name, number, parsed
from router_data.imports.otel_content import chat_messages
from router_data.imports.records import Record, read_records
from router_data.imports.scores import Scores
from router_model.errors import DatasetError

_BODIES: Final = ("messages", "contents", "prompt", "input")
_CACHED: Final = (
    "input_cached_tokens",
    "cache_read_input_tokens",
    "input_cache_read",
    "input_cached",
    "cached_tokens",
)
_WRITTEN: Final = (
    "cache_creation_input_tokens",
    "input_cache_creation",
    "input_cache_write",
    "cache_write_tokens",
)
_REASONING: Final = ("output_reasoning_tokens", "output_reasoning", "reasoning_tokens")
_REDACTED: Final = "redacted-by-litellm"
_NAMED: Final = {"ts": "startTime", "model": "providedModelName", "latency_ms": "latency"}
SCORE: Final = "a score"


def read_langfuse(
    record: Record, *, scores: Scores, tenant_field: str | None = None
) -> Iterator[Line]:
    """The calls in one observation, or in one page of them; `scores` judges them."""
    try:
        rows = _rows(record.text)
    except (msgspec.DecodeError, UnicodeError):
        yield Line(record.number, record.text, None, "not valid JSON")
    except RecursionError:
        yield Line(record.number, record.text, None, "nested too deeply")
    else:
        for row in rows:
            line = checked_line(record, lambda row=row: _call(row, scores, tenant_field), _NAMED)  # type: ignore[misc] # mypy infers no type for a lambda's default
            yield line if len(rows) == 1 else line._replace(text=msgspec.json.encode(row))


def read_scores(path: Path, scores: Scores, *, progress: bool = False) -> Iterator[Line]:
    """Take all scores of a file; what is none of them is given back with what is wrong."""
    for record in read_records(path, progress=progress):
        problem, rows = record.problem, []
        try:
            rows = [] if problem else _rows(record.text)
        except (msgspec.DecodeError, UnicodeError):
            problem = "not valid JSON"
        except RecursionError:
            problem = "nested too deeply"
        if problem:
            yield Line(record.number, record.text, None, problem)
        for row in rows:
            if isinstance(row, dict) and _is_score(row):
                scores.add(row)
            else:
                text = record.text if len(rows) == 1 else msgspec.json.encode(row)
                yield Line(record.number, text, None, "no score: expected name and value")


def _rows(text: bytes) -> list[Any]:
    """The rows of a record: itself, or those of a page that the API answered."""
    document = msgspec.json.decode(text)
    page = document.get("data") if isinstance(document, dict) else None
    return page if isinstance(page, list) else [document]


def _is_score(row: Mapping[str, Any]) -> bool:
    is_typed = first(row, "data_type", "dataType") is not None
    return "value" in row and "type" not in row and (is_typed or "name" in row)


def _call(row: Any, scores: Scores, tenant_field: str | None) -> GatewayCall | str:
    if not isinstance(row, dict):
        raise DatasetError("expected an object")
    if _is_score(row):
        return SCORE
    kind = str(row.get("type") or "GENERATION").upper()
    if kind != "GENERATION":
        return f"an observation of type {kind[:40]}: no call of a model"
    own, trace = name(row.get("id")), name(first(row, "trace_id", "traceId"))
    session = name(first(row, "session_id", "sessionId"))
    models = [name(row.get(key)) for key in ("provided_model_name", "providedModelName", "model")]
    named = [model for model in models if model is not None]
    fields = {
        "id": own,
        "model": named[0] if named else "",
        "also_named": tuple(named[1:]),
        "tenant": name(looked_up(row, tenant_field)) if tenant_field else None,
        "user": name(first(row, "user_id", "userId")),
        "session": session or trace,
        "usage": _usage(row),
        "cost_usd": _cost(row),
        "error": "error" if str(row.get("level")).upper() == "ERROR" else None,
        **_times(row),
        **scores.of(call=own, trace=trace, session=session),
    }
    return call_of(fields | _content(row))


def _usage(row: Mapping[str, Any]) -> dict[str, int] | None:
    told = mapping(first(row, "usage_details", "usageDetails", "usage"))

    def buckets(*names: str) -> int | None:
        return count(first(told, *names))

    usage = usage_from(
        buckets("input", "input_tokens", "prompt_tokens", "promptTokens"),
        buckets("output", "output_tokens", "completion_tokens", "completionTokens"),
        cached=buckets(*_CACHED) or 0,
        written=buckets(*_WRITTEN) or 0,
        reasoning=buckets(*_REASONING) or 0,
        total=buckets("total", "total_tokens", "totalTokens"),
        is_inclusive=False,
    )
    return fields_of(usage)


def _cost(row: Mapping[str, Any]) -> float | None:
    details = mapping(first(row, "cost_details", "costDetails"))
    names = ("total_cost", "totalCost", "calculatedTotalCost", "totalPrice")
    told = {**row, "costDetails.total": details.get("total")}
    return amount(told, "costDetails.total", *names)


def _times(row: Mapping[str, Any]) -> dict[str, Any]:
    started = first(row, "start_time", "startTime")
    took = number(row.get("latency"))
    if took is not None and took >= 0:
        return {"ts": started, "latency_ms": 1000 * took}
    try:
        ended = datetime.fromisoformat(str(first(row, "end_time", "endTime")))
        between = (ended - datetime.fromisoformat(str(started))).total_seconds()
    except (ValueError, TypeError):
        return {"ts": started}
    return {"ts": started, "latency_ms": 1000 * between if between >= 0 else None}


def _content(row: Mapping[str, Any]) -> dict[str, Any]:
    """Request and answer: a whole body, its messages, or plain text."""
    told = parsed(row.get("input"))
    parameters = mapping(first(row, "model_parameters", "modelParameters"))
    if not told or told == _REDACTED:
        return {"without_content": "the observation has no input"}
    if isinstance(told, dict) and any(key in told for key in _BODIES):
        body = {**parameters, **told}
    else:
        messages = told if isinstance(told, list) else [{"role": "user", "content": row["input"]}]
        body = {**parameters, "messages": messages}
    return {"request": body, "response": _answer(parsed(row.get("output")))}


def _answer(told: Any) -> dict[str, Any] | None:
    """The answer's body; a bare message becomes a chat completion."""
    if told is None or told == _REDACTED:
        return None
    if isinstance(told, dict) and any(key in told for key in ("choices", "output", "candidates")):
        return told
    if isinstance(told, dict) and told.get("type") == "message":
        return told
    message = told[0] if isinstance(told, list) and told else told
    said = chat_messages(message if isinstance(message, dict) else {"content": message})
    if not said:
        return None
    finish = told.get("finish_reason") if isinstance(told, dict) else None
    choice = {"index": 0, "message": said[0] | {"role": "assistant"}, "finish_reason": finish}
    return {"choices": [choice]}
