"""Are tools called in parallel, when demanded, and through a whole round trip?"""

from typing import Final

from router_data.probe.asks import Answer, Ask, Call, Turn
from router_data.probe.checks_stream import FINISH
from router_data.probe.client import Client
from router_data.probe.findings import READ_FILE, WRITE_FILE, Evidence, Plan

_N_TRIES: Final = 2
_TWO: Final = (
    "Read the files src/parser.py and docs/notes.md: call read_file for both at once, in the same "
    "answer. Say nothing else."
)
_SECRET: Final = "quartz-58213"


async def check_parallel_tools(client: Client, plan: Plan, evidence: Evidence) -> None:
    """Two independent calls in one answer; and a tool that is demanded where none is needed."""
    await _check_two(client, evidence)
    await _check_forced(client, evidence)


async def _check_two(client: Client, evidence: Evidence) -> None:
    most = 0
    for _ in range(_N_TRIES):
        turns = (Turn(role="user", text=_TWO),)
        answer = await client.call(Ask(turns=turns, tools=(READ_FILE, WRITE_FILE)))
        what = "two independent calls"
        if evidence.broken(answer, what) or evidence.short(answer, what):
            return
        paths = {str(_path(call)) for call in answer.calls if _path(call)}
        answer.tool_call_valid = bool(answer.calls) and len(paths) == len(answer.calls)
        most = max(most, len(paths))
        if most >= 2:
            break
    evidence.facts["capabilities.parallel_tools"] = evidence.judged(
        most >= 2,
        f"{most} calls in one answer",
        f"at most {most} calls in one answer, in {_N_TRIES} tries",
    )


async def _check_forced(client: Client, evidence: Evidence) -> None:
    good = []
    for choice in ("required", READ_FILE.name):
        ask = Ask(
            turns=(Turn(role="user", text="Say hello."),),
            tools=(READ_FILE, WRITE_FILE) if choice != "required" else (READ_FILE,),
            tool_choice=choice,
        )
        answer = await client.call(ask)
        if evidence.broken(answer, f"tool choice {choice!r}"):
            if answer.is_refused:
                evidence.facts["capabilities.forced_tool_choice"] = False
            return
        if evidence.short(answer, f"tool choice {choice!r}"):
            return
        called = [call.name for call in answer.calls]
        is_called = bool(called) and set(called) == {READ_FILE.name}
        what = f"tool choice {choice!r}: called {called or 'nothing'}"
        good.append(evidence.judged(is_called, what, what))
    evidence.facts["capabilities.forced_tool_choice"] = all(good)


async def check_tool_round_trip(client: Client, plan: Plan, evidence: Evidence) -> None:
    """A tool call in the form of the dialect, its result sent back, and an answer that uses it."""
    asked = Turn(role="user", text="Which word stands in src/secret.txt? Read it with read_file.")
    answer = await client.call(Ask(turns=(asked,), tools=(READ_FILE,)))
    if evidence.broken(answer, "a call with a tool"):
        if answer.is_refused:
            evidence.facts["capabilities.tools"] = False
        return
    if evidence.short(answer, "a call with a tool"):
        return
    is_formed = _check_form(evidence, answer, FINISH[client.endpoint.dialect])
    if not answer.calls or not all(call.id for call in answer.calls):
        return
    called = Turn(role="assistant", text=answer.text, calls=answer.calls, message=answer.message)
    results = [Turn(role="tool", text=_SECRET, result_of=call.id) for call in answer.calls]
    final = await client.call(Ask(turns=(asked, called, *results), tools=(READ_FILE,)))
    what = "the result of a tool"
    if evidence.broken(final, what) or evidence.short(final, what):
        return
    is_used = evidence.judged(
        _SECRET in final.text,
        "the answer uses the result",
        f"the answer does not use the result: {final.text[:80]!r}",
    )
    if is_formed and is_used:
        evidence.facts["capabilities.tools"] = True


def _check_form(evidence: Evidence, answer: Answer, finish: str) -> bool:
    ids = [call.id for call in answer.calls]
    answer.tool_call_valid = bool(answer.calls) and all(map(_path, answer.calls))
    parts = [
        evidence.judged(
            bool(answer.calls),
            f"{len(answer.calls)} tool call",
            f"no tool call, but text: {answer.text[:80]!r}",
        )
    ]
    if answer.calls:
        parts += [
            evidence.judged(
                all(ids) and len(ids) == len(set(ids)),
                "each call has an id",
                f"calls without an id of their own: {ids}",
            ),
            evidence.judged(
                answer.tool_call_valid,
                "the arguments fit the schema",
                f"the arguments do not fit the schema: {answer.calls[0].arguments[:80]!r}",
            ),
            evidence.judged(
                answer.finish == finish,
                f"finish reason {finish!r}",
                f"finish reason {answer.finish!r}, expected {finish!r}",
            ),
        ]
    return all(parts)


def _path(call: Call) -> str | None:
    path = (call.values or {}).get("path")
    return path if isinstance(path, str) and path else None
