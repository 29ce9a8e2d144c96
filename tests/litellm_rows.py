"""A program for LiteLLM's environment: calls an upstream on every route and writes LiteLLM's logs.

`python litellm_rows.py URL FOLDER` leaves payloads.jsonl, what callbacks get, and spend.jsonl,
the rows of its table SpendLogs with prompts, made by LiteLLM itself without a database.
"""

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

BASH = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
TOOL = {"type": "function", "function": {"name": "bash", "description": "Run", "parameters": BASH}}
ASKED = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "List the files"}]
WHO = {
    "user_api_key_hash": "ab" * 32,
    "user_api_key_team_id": "team-1",
    "user_api_key_user_id": "kim",
}
PRICE = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}


async def main(url: str, folder: Path) -> None:
    """Call chat (both providers), messages, responses and a model that fails."""
    os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "STORE_PROMPTS_IN_SPEND_LOGS": "true"}
    import litellm
    import openai as openai_sdk
    from litellm.integrations.custom_logger import CustomLogger
    from litellm.proxy.spend_tracking.spend_tracking_utils import get_logging_payload

    payloads, rows = (folder / "payloads.jsonl").open("w"), (folder / "spend.jsonl").open("w")

    class Writer(CustomLogger):  # type: ignore[misc] # LiteLLM is no part of the checked environment
        def log(self, kwargs: dict[str, Any], response: Any, start: Any, end: Any) -> None:
            print(json.dumps(kwargs["standard_logging_object"], default=str), file=payloads)
            if kwargs.get("completion_start_time") is not None:
                row = get_logging_payload(kwargs, response, start, end)
                print(json.dumps(row, default=str), file=rows)

        async def async_log_success_event(
            self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
        ) -> None:
            self.log(kwargs, response_obj, start_time, end_time)

        async def async_log_failure_event(
            self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
        ) -> None:
            self.log(kwargs, response_obj, start_time, end_time)

    litellm.callbacks = [Writer()]
    shared = {"api_key": "none", "max_retries": 0, **PRICE}
    chat = {"messages": ASKED, "tools": [TOOL]}
    openai, base = {"api_base": f"{url}/v1", **shared}, {"api_base": url, **shared}
    body = {"proxy_server_request": {"body": {"model": "auto", **chat}}, "metadata": dict(WHO)}
    await litellm.acompletion(model="openai/up-gpt", **chat, **openai, **body)
    await litellm.acompletion(model="anthropic/up-claude", **chat, **base, **body, max_tokens=99)
    await litellm.anthropic_messages(
        model="anthropic/up-claude", messages=ASKED[1:], system="Be brief", max_tokens=99,
        tools=[{"name": "bash", "description": "Run", "input_schema": BASH}], **base,
        litellm_metadata=dict(WHO),
    )  # fmt: skip
    await litellm.aresponses(
        model="openai/up-gpt", input="List the files", instructions="Be brief",
        tools=[{"type": "function", "name": "bash", "parameters": BASH}], **openai,
        litellm_metadata=dict(WHO),
    )  # fmt: skip
    with suppress(openai_sdk.APIError):
        await litellm.acompletion(model="openai/up-gpt-500", **chat, **openai, **body)
    await asyncio.sleep(2)
    payloads.close()
    rows.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
