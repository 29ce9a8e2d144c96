"""Rows as LiteLLM, OpenTelemetry and Langfuse write them, made up for tests.

Names and nesting are those of the tools; texts, ids and figures are invented.
"""

import hashlib
from typing import Any

import msgspec

START_S = 1_795_168_800
MODEL = "claude-haiku-4-5"
Row = dict[str, Any]
BASH: Row = {
    "name": "bash",
    "description": "Run a command",
    "parameters": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}
CHAT_TOOL: Row = {"type": "function", "function": BASH}
TITLE = "Please write a 5-10 word title for the following conversation"


def said(text: str = "Fix the failing test in calc.py") -> list[Row]:
    """Messages of a chat."""
    return [{"role": "system", "content": "Be brief"}, {"role": "user", "content": text}]


def answered(arguments: str = '{"command": "ls"}', *, finish: str = "tool_calls") -> Row:
    """An OpenAI chat completion with one tool call."""
    call = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return {"id": "x", "object": "chat.completion", "model": MODEL, "choices": [choice]}


def counted(n_input: int = 1000, n_output: int = 20, *, cached: int = 900) -> Row:
    """LiteLLM's usage: cached tokens are part of the prompt's."""
    return {
        "prompt_tokens": n_input,
        "completion_tokens": n_output,
        "total_tokens": n_input + n_output,
        "completion_tokens_details": None,
        "prompt_tokens_details": {"audio_tokens": None, "cached_tokens": cached},
    }


def payload(n: int = 0, **changes: Any) -> Row:
    """LiteLLM's standard logging payload of one call."""
    at = START_S + 60.0 * n + 0.25
    return {
        "id": f"chatcmpl-{n}",
        "litellm_call_id": f"call-{n}",
        "trace_id": "5f9ac1a4-52fd-41b2-8ab2-bf62f7dbc6e1",
        "session_id": f"session-{n // 3}",
        "call_type": "acompletion",
        "cache_hit": None,
        "stream": None,
        "status": "success",
        "custom_llm_provider": "anthropic",
        "startTime": at,
        "endTime": at + 1.5,
        "completionStartTime": at + 1.5,
        "response_time": 1.5,
        "model": MODEL,
        "model_group": "auto",
        "metadata": {
            "user_api_key_hash": "ab" * 32,
            "user_api_key_team_id": "team-1",
            "user_api_key_user_id": "ann",
            "usage_object": counted(),
        },
        "model_map_information": {"model_map_key": MODEL, "model_map_value": {"key": MODEL}},
        "response_cost": 0.002,
        "total_tokens": 1020,
        "prompt_tokens": 1000,
        "completion_tokens": 20,
        "end_user": "",
        "messages": said(f"Fix failing test {n}"),
        "response": answered(),
        "model_parameters": {"temperature": 0.2, "tools": [CHAT_TOOL]},
        "error_str": None,
        "error_information": {"error_code": "", "error_class": "", "error_message": ""},
        "response_cost_failure_debug_info": None,
    } | changes


def spend(n: int = 0, **changes: Any) -> Row:
    """A row of LiteLLM's table SpendLogs, as a JSON export has it; without prompts."""
    metadata = {
        "user_api_key": "ab" * 32,
        "litellm_call_id": f"call-{n}",
        "usage_object": counted(),
        "error_information": None,
        "model_map_information": {"model_map_key": MODEL, "model_map_value": {"key": MODEL}},
    }
    return {
        "request_id": f"chatcmpl-{n}",
        "call_type": "acompletion",
        "api_key": "ab" * 32,
        "spend": 0.002,
        "total_tokens": 1020,
        "prompt_tokens": 1000,
        "completion_tokens": 20,
        "startTime": f"2026-11-20 10:{n % 60:02}:00.250000+00:00",
        "endTime": f"2026-11-20 10:{n % 60:02}:01.750000+00:00",
        "request_duration_ms": 1500,
        "model": MODEL,
        "model_group": "auto",
        "custom_llm_provider": "anthropic",
        "user": "ann",
        "metadata": msgspec.json.encode(metadata).decode(),
        "cache_hit": "None",
        "request_tags": "[]",
        "team_id": "team-1",
        "organization_id": None,
        "end_user": "",
        "messages": "{}",
        "response": "{}",
        "proxy_server_request": "{}",
        "session_id": f"session-{n // 3}",
        "status": "success",
    } | changes


def attribute(key: str, value: Any) -> Row:
    """An attribute as OTLP/JSON writes it."""
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    if isinstance(value, list):
        values = [{"stringValue": item} for item in value]
        return {"key": key, "value": {"arrayValue": {"values": values}}}
    shown = str(value) if type(value) is int else value
    return {"key": key, "value": {kinds[type(value)]: shown}}


def chat_attributes(n: int = 0, **changes: Any) -> Row:
    """Attributes of a span of a chat by the present conventions, content captured."""
    messages = [
        {"role": "user", "parts": [{"type": "text", "content": f"Fix failing test {n}"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "tool_call", "id": "c0", "name": "bash", "arguments": {"command": "ls"}}
            ],
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c0", "response": "calc.py"}],
        },
    ]
    answer = [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "I look."},
                {"type": "tool_call", "id": "c1", "name": "bash", "arguments": {"command": "cat"}},
            ],
            "finish_reason": "tool_call",
        }
    ]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-haiku-4-5",
        "gen_ai.response.model": "claude-haiku-4-5-20251001",
        "gen_ai.conversation.id": f"conversation-{n // 3}",
        "gen_ai.request.max_tokens": 4096,
        "gen_ai.response.finish_reasons": ["tool_call"],
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 900,
        "gen_ai.system_instructions": _text([{"type": "text", "content": "Be brief"}]),
        "gen_ai.input.messages": _text(messages),
        "gen_ai.output.messages": _text(answer),
        "gen_ai.tool.definitions": _text([{"type": "function", **BASH}]),
    } | changes


def span(n: int = 0, *, attributes: Row | None = None, **changes: Any) -> Row:
    """A span of OTLP/JSON."""
    told = chat_attributes(n) if attributes is None else attributes
    at = (START_S + 60 * n) * 10**9
    return {
        "traceId": hashlib.sha256(b"%d" % (n // 3)).hexdigest()[:32],
        "spanId": f"{n + 1:016x}",
        "name": "chat claude-haiku-4-5",
        "kind": 3,
        "startTimeUnixNano": str(at),
        "endTimeUnixNano": str(at + 1_500_000_000),
        "attributes": [attribute(key, value) for key, value in told.items()],
        "status": {},
    } | changes


def exported(*spans: Row, service: str = "agents") -> Row:
    """A line of the collector's file exporter."""
    resource = {"attributes": [attribute("service.name", service)]}
    scopes = [{"scope": {"name": "agents"}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}


def console_span(n: int = 0, **changes: Any) -> Row:
    """A span as the Python SDK's console exporter prints it."""
    minute = f"2026-11-20T10:{n % 60:02}"
    return {
        "name": "chat claude-haiku-4-5",
        "context": {"trace_id": f"0x{n // 3 + 1:032x}", "span_id": f"0x{n + 1:016x}"},
        "kind": "SpanKind.CLIENT",
        "parent_id": None,
        "start_time": f"{minute}:00.250000Z",
        "end_time": f"{minute}:01.750000Z",
        "status": {"status_code": "UNSET"},
        "attributes": chat_attributes(n),
        "events": [],
        "links": [],
        "resource": {"attributes": {"service.name": "agents"}, "schema_url": ""},
    } | changes


def observation(n: int = 0, **changes: Any) -> Row:
    """A generation of Langfuse's export to a bucket; its buckets exclude each other."""
    minute = f"2026-11-20 10:{n % 60:02}"
    call = answered()["choices"][0]["message"]["tool_calls"][0]
    return {
        "id": f"obs-{n}",
        "trace_id": f"trace-{n // 3}",
        "project_id": "project-1",
        "environment": "production",
        "type": "GENERATION",
        "name": "agent",
        "start_time": f"{minute}:00.250000",
        "end_time": f"{minute}:01.750000",
        "level": "DEFAULT",
        "status_message": "",
        "provided_model_name": MODEL,
        "model_parameters": '{"max_tokens": 4096}',
        "usage_details": {"input": 100, "input_cached_tokens": 900, "output": 20, "total": 1020},
        "cost_details": {"input": 0.001, "output": 0.001, "total": 0.002},
        "latency": 1.5,
        "input": {"messages": said(f"Fix failing test {n}"), "tools": [CHAT_TOOL]},
        "output": {"role": "assistant", "content": "", "tool_calls": [call]},
        "user_id": "ann",
        "session_id": f"session-{n // 3}",
    } | changes


def score(n: int = 0, **changes: Any) -> Row:
    """A numeric score of Langfuse on one observation."""
    return {
        "id": f"score-{n}",
        "timestamp": "2026-11-20 11:00:00.000000",
        "trace_id": f"trace-{n // 3}",
        "observation_id": f"obs-{n}",
        "name": "quality",
        "value": 0.9,
        "data_type": "NUMERIC",
        "source": "EVAL",
        "string_value": None,
    } | changes


def lines(*rows: Row) -> bytes:
    """Rows as JSON lines."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
