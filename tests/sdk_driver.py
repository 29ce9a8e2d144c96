"""Calls gateways with the SDKs of OpenAI and Anthropic, as told on stdin, line by line.

It runs in an environment that has them, which the tests' own need not.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

PARAMETERS = {
    "type": "object",
    "properties": {"command": {"type": "string"}},
    "required": ["command"],
    "additionalProperties": False,
}
TIMEOUT_S = 60.0
Found = dict[str, Any]


def chat(asked: Mapping[str, Any]) -> Found:
    """A call of Chat Completions."""
    import openai

    client = openai.OpenAI(
        base_url=asked["base"] + "/v1", api_key=asked["key"], max_retries=0, timeout=TIMEOUT_S
    )
    function = {"name": "bash", "description": "Run", "parameters": PARAMETERS}
    raw: Any = client.chat.completions.with_raw_response.create(
        model=asked.get("model", "auto"),
        messages=[{"role": "user", "content": asked["text"]}],
        tools=[{"type": "function", "function": function}],
        stream=asked.get("stream", False),
        extra_headers=asked.get("headers"),
    )
    answer = raw.parse()
    if asked.get("stream"):
        parts = [part.choices[0].delta for part in answer if part.choices]
        calls = [call.function for part in parts for call in part.tool_calls or ()]
        arguments = "".join(call.arguments or "" for call in calls)
        text = "".join(part.content or "" for part in parts)
        return _found(raw, text, [arguments] if calls else [])
    message = answer.choices[0].message
    calls = [call.function.arguments for call in message.tool_calls or ()]
    return _found(raw, message.content or "", calls)


def responses(asked: Mapping[str, Any]) -> Found:
    """A call of Responses."""
    import openai

    client = openai.OpenAI(
        base_url=asked["base"] + "/v1", api_key=asked["key"], max_retries=0, timeout=TIMEOUT_S
    )
    tool = {"type": "function", "name": "bash", "parameters": PARAMETERS, "strict": False}
    raw: Any = client.responses.with_raw_response.create(
        model=asked.get("model", "auto"),
        input=asked["text"],
        tools=[tool],
        stream=asked.get("stream", False),
        extra_headers=asked.get("headers"),
    )
    answer = raw.parse()
    if asked.get("stream"):
        ends = ("response.completed", "response.incomplete")
        answer = next(event.response for event in answer if event.type in ends)
    calls = [item.arguments for item in answer.output if item.type == "function_call"]
    return _found(raw, answer.output_text, calls)


def messages(asked: Mapping[str, Any]) -> Found:
    """A call of Messages."""
    import anthropic

    client = anthropic.Anthropic(
        base_url=asked["base"], api_key=asked["key"], max_retries=0, timeout=TIMEOUT_S
    )
    given: Any = {
        "model": asked.get("model", "auto"),
        "max_tokens": 500,
        "messages": [{"role": "user", "content": asked["text"]}],
        "tools": [{"name": "bash", "description": "Run", "input_schema": PARAMETERS}],
        "metadata": {"user_id": "the-client-s-own"},
        "extra_headers": asked.get("headers"),
    }
    if asked.get("stream"):
        with client.messages.stream(**given) as stream:
            answer: Any = stream.get_final_message()
            raw: Any = stream.response
    else:
        raw = client.messages.with_raw_response.create(**given)
        answer = raw.parse()
    text = "".join(block.text for block in answer.content if block.type == "text")
    calls = [json.dumps(block.input) for block in answer.content if block.type == "tool_use"]
    return _found(raw, text, calls)


def _found(raw: Any, text: str, calls: list[str]) -> Found:
    return {"status": 200, "text": text, "calls": calls, "headers": dict(raw.headers)}


ROUTES: dict[str, Callable[[Mapping[str, Any]], Found]] = {
    "chat": chat,
    "messages": messages,
    "responses": responses,
}


def answered(asked: Mapping[str, Any]) -> Found:
    """What came of a call; an error of the SDK with its status."""
    try:
        return ROUTES[asked["route"]](asked)
    except Exception as error:  # noqa: BLE001  # whatever an SDK raises is what is asked for
        response = getattr(error, "response", None)
        headers = {} if response is None else dict(response.headers)
        status = getattr(error, "status_code", None)
        kind = type(error).__name__
        return {"status": status, "error": kind, "text": str(error), "headers": headers}


def main() -> None:
    """Answer line by line until stdin ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answered(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
