"""Answers as they go over the wire, and reports of them to a running service."""

import json
from typing import Any

import httpx
from serving_process import (
    CHAT,
    Server,
)

ANSWER = {
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "read_file", "arguments": '{"path": "calc.py"}'},
                    }
                ],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 120,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 100},
    },
}
SSE = (
    'event: message_start\ndata: {"type":"message_start","message":{"role":"assistant",'
    '"model":"m","content":[],"usage":{"input_tokens":5,"cache_read_input_tokens":20}}}\n\n'
    'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    '"content_block":{"type":"text","text":""}}\n\n'
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    '"delta":{"type":"text_delta","text":"Hel"}}\n\n'
    'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"max_tokens"},'
    '"usage":{"output_tokens":3}}\n\n'
    'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


def decision(server: Server, body: Any = CHAT, **caller: str) -> str:
    answer = server.http.post("/route", json={"request": body, "caller": caller})
    return str(answer.json()["decision_id"])


def reported(server: Server, **report: Any) -> dict[str, Any]:
    response = server.http.post("/outcomes/wire", json=report)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def logged(server: Server, decision_id: str) -> dict[str, Any]:
    (row,) = server.rows(f"select * from outcomes where decision_id = '{decision_id}'")
    return row | {"signals": json.loads(row["signals"])}


def problem_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    content: dict[str, Any] = response.json()
    return content
