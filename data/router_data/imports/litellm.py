"""LiteLLM: rows of its table SpendLogs, and the standard logging payload of its callbacks.

Both count cached and written tokens as part of `prompt_tokens`, and both say what was really
paid. A payload holds the messages in the dialect of its route and the answer in OpenAI's. A row
of SpendLogs holds the client's body only where the proxy stores prompts; where it stores them cut
to a length, or blacked out, lengths and texts would be wrong, so that only the spending is read.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from router_data.gateway_log import GatewayCall, Line, call_of, checked_line, time_ms
from router_data.imports.counted import fields_of
from router_data.imports.loose import amount, count, first, looked_up, mapping, name, number, parsed
from router_data.imports.records import Record
from router_model.errors import DatasetError
from router_model.types import WireFormat
from router_model.usage import usage_of

_ROUTES: Final[Mapping[str, WireFormat]] = {
    "completion": WireFormat.OPENAI_CHAT,
    "text_completion": WireFormat.OPENAI_CHAT,
    "anthropic_messages": WireFormat.ANTHROPIC_MESSAGES,
    "responses": WireFormat.OPENAI_RESPONSES,
    "generate_content": WireFormat.GEMINI,
    "generate_content_stream": WireFormat.GEMINI,
}
_PASSED_ON: Final = frozenset({"", "pass_through_endpoint", "allm_passthrough_route"})
_CUT: Final = b"litellm_truncated"
_REDACTED: Final = b"redacted-by-litellm"
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_NO_KEY_OWNER: Final = "default_user_id"
_NAMED: Final = {"ts": "startTime", "usage": "usage_object"}
CACHED = "answered from LiteLLM's own cache: no model was called"
REFUSED = "refused before a model was chosen"


def read_litellm(record: Record, *, tenant_field: str | None = None) -> Iterator[Line]:
    """The call in one payload or row of SpendLogs; `tenant_field` says where its tenant is."""
    yield checked_line(record, lambda: _call(record.text, tenant_field), _NAMED)


def _call(text: bytes, tenant_field: str | None) -> GatewayCall | str:
    row = msgspec.json.decode(text)
    if not isinstance(row, dict):
        raise DatasetError("expected an object")
    route = str(row.get("call_type") or "")
    plain = route if route in _ROUTES else route.removeprefix("a")
    if plain not in _ROUTES and route not in _PASSED_ON:
        return f"call type {route[:60]}: no answer of a language model"
    if str(row.get("cache_hit")).lower() == "true":
        return CACHED
    is_failed = str(row.get("status") or mapping(row.get("metadata")).get("status")) == "failure"
    if not first(row, "model", "model_group") and is_failed:
        return REFUSED
    fields = _shared(row, is_failed=is_failed)
    if tenant_field:
        fields["tenant"] = name(looked_up(row, tenant_field))
    is_spend_row = "request_id" in row and "response_cost" not in row
    content = _row_content(row) if is_spend_row else _payload_content(row, _ROUTES.get(plain))
    return call_of(fields | content)


def _shared(row: dict[str, Any], *, is_failed: bool) -> dict[str, Any]:
    """What rows and payloads say alike."""
    metadata = mapping(row.get("metadata"))
    started, ended = row.get("startTime"), row.get("endTime")
    owner = first(metadata, "user_api_key_user_id") or row.get("user")
    key = first(metadata, "user_api_key_hash", "user_api_key") or row.get("api_key")
    return {
        "ts": started,
        "id": _identity(row, metadata, is_failed=is_failed),
        "model": str(first(row, "model", "model_group") or ""),
        "also_named": _other_names(row),
        "requested_model": name(row.get("model_group")),
        "key": None if key is None else str(key),
        "user": name(
            owner if owner and owner != _NO_KEY_OWNER else first(row, "end_user") or owner
        ),
        "session": _session(row),
        "client": None,
        "usage": _usage(row, metadata),
        "cost_usd": _paid(row, metadata, is_failed=is_failed),
        "latency_ms": _between_ms(started, ended),
        "is_streamed": _is_streamed(row),
        "error": _error(row, metadata) if is_failed else None,
    }


def _identity(
    row: Mapping[str, Any], metadata: Mapping[str, Any], *, is_failed: bool
) -> str | None:
    """The same for a payload and its row of SpendLogs, another one for each attempt of a call.

    LiteLLM's id of a call is that of all its attempts, and the provider's of the answer is not
    unique where a server only counts; failures have none and are told apart by their time.
    """
    of_call = first(row, "litellm_call_id") or metadata.get("litellm_call_id")
    answer = first(row, "id", "request_id")
    parts = [of_call, None if answer == of_call else answer, row.get("startTime")]
    try:
        parts[2] = time_ms(parts[2]) if is_failed else None
    except DatasetError:
        return None
    return name("/".join(str(part) for part in parts if part is not None))


def _other_names(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Other names of the model that answered, the most telling first."""
    known = mapping(row.get("model_map_information")) or mapping(
        mapping(row.get("metadata")).get("model_map_information")
    )
    names = (
        known.get("model_map_key"),
        mapping(row.get("hidden_params")).get("litellm_model_name"),
    )
    return tuple(
        text for value in (*names, row.get("model_group")) if (text := name(value)) is not None
    )


def _session(row: Mapping[str, Any]) -> str | None:
    """The client's session, where it is none that LiteLLM made up for a single call.

    A row of SpendLogs without one gets a new UUID. With the body there, the session is then found
    in it; a row without content keeps what it has.
    """
    named = name(row.get("session_id"))
    if "request_id" not in row:
        traced = name(row.get("trace_id"))
        return named or (traced if traced and not _UUID.fullmatch(traced) else None)
    is_made_up = named is not None and _UUID.fullmatch(named) is not None
    return None if is_made_up and mapping(row.get("proxy_server_request")) else named


def _usage(row: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, int] | None:
    told = {key: value for key, value in mapping(metadata.get("usage_object")).items() if value}
    if "prompt_tokens" not in told:
        values = {key: count(row.get(key)) for key in ("prompt_tokens", "completion_tokens")}
        if not any(values.values()):
            return None
        told = {**mapping(metadata.get("additional_usage_values")), **values}
    return fields_of(usage_of(told))


def _paid(row: Mapping[str, Any], metadata: Mapping[str, Any], *, is_failed: bool) -> float | None:
    """What LiteLLM booked; None where it has no price for the model and so booked nothing."""
    paid = amount(row, "response_cost", "spend")
    if paid is None or paid > 0 or is_failed or not count(row.get("total_tokens")):
        return paid
    known = mapping(row.get("model_map_information")) or mapping(
        metadata.get("model_map_information")
    )
    is_priced = bool(known.get("model_map_value"))
    return paid if is_priced and not row.get("response_cost_failure_debug_info") else None


def _error(row: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Class and code of an error; never its message, which may quote the prompt."""
    told = mapping(row.get("error_information")) or mapping(metadata.get("error_information"))
    parts = (name(told.get("error_class")), name(told.get("error_code")))
    return " ".join(part for part in parts if part) or "failure"


def _is_streamed(row: Mapping[str, Any]) -> bool | None:
    told = row.get("stream")
    if told is None:
        told = mapping(row.get("proxy_server_request")).get("stream")
    return told if isinstance(told, bool) else None


def _between_ms(started: Any, ended: Any) -> float | None:
    """Milliseconds between two times; None where one can't be read or they are reversed."""
    try:
        took = _exact_ms(ended) - _exact_ms(started)
    except (DatasetError, ValueError):
        return None
    return round(took, 1) if took >= 0 else None


def _exact_ms(value: Any) -> float:
    seconds = number(value)
    if seconds is not None and seconds < 1e11:
        return seconds * 1000
    if isinstance(value, str) and seconds is None:
        return datetime.fromisoformat(value).timestamp() * 1000
    return float(time_ms(value))


def _row_content(row: Mapping[str, Any]) -> dict[str, Any]:
    """The client's body and the answer of a row, where the proxy stores them."""
    body = mapping(row.get("proxy_server_request"))
    if not first(body, "messages", "input", "contents", "prompt"):
        return {"without_content": "SpendLogs without prompts (store_prompts_in_spend_logs)"}
    return _kept(body, row)


def _payload_content(row: Mapping[str, Any], wire_format: WireFormat | None) -> dict[str, Any]:
    """The client's body, put together again, and the answer of a payload."""
    messages = parsed(row.get("messages"))
    if not messages:
        return {"without_content": "no messages in the payload"}
    body = {**mapping(row.get("model_parameters")), "model": first(row, "model_group", "model")}
    if wire_format is WireFormat.OPENAI_RESPONSES:
        return _kept({**body, "input": messages}, row) | {"format": str(wire_format)}
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if any(isinstance(message, dict) and "parts" in message for message in messages):
        return _kept({**body, "contents": messages}, row) | {"format": str(WireFormat.GEMINI)}
    named = WireFormat.OPENAI_CHAT if wire_format is WireFormat.GEMINI else wire_format
    return _kept({**body, "messages": messages}, row) | {"format": named and str(named)}


def _kept(body: dict[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Body and answer; only the reason where the body is not what the client sent."""
    text = msgspec.json.encode(body)
    if _REDACTED in text:
        return {"without_content": "messages blacked out by LiteLLM (turn_off_message_logging)"}
    if _CUT in text:
        return {"without_content": "messages cut by LiteLLM (MAX_STRING_LENGTH_PROMPT_IN_DB)"}
    answer = parsed(row.get("response"))
    is_whole = isinstance(answer, dict) and answer and not _is_altered(answer)
    return {"request": body, "response": answer if is_whole else None}


def _is_altered(answer: dict[str, Any]) -> bool:
    text = msgspec.json.encode(answer)
    return _CUT in text or _REDACTED in text
