"""Do streamed tool calls come through, and end cleanly?"""

from typing import Final

from router_data.probe.asks import Answer, Ask, Turn
from router_data.probe.client import Client
from router_data.probe.findings import READ_FILE, WRITE_FILE, Evidence, Plan

FINISH: Final = {"openai": "tool_calls", "anthropic": "tool_use"}
_TERMINATOR: Final = {"openai": "[DONE]", "anthropic": "message_stop"}
_TASK: Final = (
    "Call write_file for the path docs/notes.md with a text of about sixty words on what a parser "
    "does. Say nothing else."
)


async def check_streaming(client: Client, plan: Plan, evidence: Evidence) -> None:
    """One streamed tool call with a long argument: whole or in chunks, and its end."""
    turn = Turn(role="user", text=_TASK)
    ask = Ask(turns=(turn,), tools=(READ_FILE, WRITE_FILE), stream=True)
    answer = await client.call(ask)
    if not answer.calls and evidence.broken(answer, "streamed tool call"):
        return
    if evidence.short(answer, "streamed tool call"):
        return
    _check_call(evidence, answer)
    _check_end(evidence, answer, client)


def _check_call(evidence: Evidence, answer: Answer) -> None:
    if not answer.calls:
        evidence.failed(f"no tool call was streamed, but text: {answer.text[:80]!r}")
        return
    call = answer.calls[0]
    values = call.values
    answer.tool_call_valid = values is not None and {"path", "content"} <= values.keys()
    is_valid = evidence.judged(
        answer.tool_call_valid,
        f"the arguments of {call.name} are valid JSON of {len(call.arguments)} characters",
        f"the arguments of {call.name} are no valid JSON for its schema: {call.arguments[-60:]!r}",
    )
    per_call = answer.n_chunks / len(answer.calls)
    kind = "chunked" if per_call > 1 else "whole"
    evidence.note(f"arguments came {kind}: {answer.n_chunks} pieces, {len(answer.calls)} calls")
    evidence.measures["argument_pieces"] = answer.n_chunks
    if is_valid:
        evidence.facts["capabilities.tool_call_streaming"] = kind


def _check_end(evidence: Evidence, answer: Answer, client: Client) -> None:
    dialect = client.endpoint.dialect
    if answer.problem:
        evidence.failed(f"the stream broke: {answer.problem} {answer.error_text}".rstrip())
    evidence.judged(
        answer.finish == FINISH[dialect],
        f"finish reason {answer.finish!r}",
        f"finish reason {answer.finish!r}, expected {FINISH[dialect]!r}",
    )
    evidence.judged(
        answer.is_terminated,
        f"ended with {_TERMINATOR[dialect]}",
        f"ended without {_TERMINATOR[dialect]}",
    )
    evidence.judged(
        answer.usage is not None and answer.usage.output_tokens > 0,
        "usage is in the stream",
        "no usage in the stream: its calls can't be accounted for",
    )
