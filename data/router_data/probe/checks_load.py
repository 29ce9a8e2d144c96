"""How long is the wait for the first complete tool call, alone and beside other sessions?"""

import asyncio
from typing import Final

import numpy as np

from router_data.probe.asks import Answer, Ask, Turn
from router_data.probe.client import Client
from router_data.probe.findings import READ_FILE, WRITE_FILE, Evidence, Plan
from router_data.probe.tasks import filler

N_ALONE: Final = 3
_PROMPT_TOKENS: Final = 1_000


async def check_load(client: Client, plan: Plan, evidence: Evidence) -> None:
    """Time to the first complete tool call of streamed calls, one at a time and all at once.

    Fails where a call under load brings no tool call, or the median wait grows by more than
    `plan.max_slowdown`. The waits include opening connections, of which a crowd needs more.
    """
    alone = []
    for index in range(N_ALONE):
        alone.append(_noted(await client.call(_ask(plan, f"alone-{index}")), 1))
    # Made before the first is sent, or making them would count as waiting.
    asks = [_ask(plan, f"parallel-{index}") for index in range(plan.sessions)]
    crowd = await _together(client, asks)
    before = _quantiles(evidence, alone, f"{N_ALONE} calls one at a time", "alone")
    under = _quantiles(evidence, crowd, f"{plan.sessions} sessions at once", "parallel")
    if before is not None and under is not None:
        text = f"the median under load is {under / before:.1f} times that of a single session"
        evidence.judged(
            under <= plan.max_slowdown * before, text, f"{text}, more than {plan.max_slowdown:g}"
        )


async def _together(client: Client, asks: list[Ask]) -> list[Answer]:
    """The answers; where the budget is too small for all, those that were sent are waited for."""
    results = await asyncio.gather(*(client.call(ask) for ask in asks), return_exceptions=True)
    answers = [_noted(item, len(asks)) for item in results if isinstance(item, Answer)]
    for item in results:
        if isinstance(item, BaseException):
            raise item
    return answers


def _ask(plan: Plan, name: str) -> Ask:
    return Ask(
        system=filler(_PROMPT_TOKENS, seed=plan.seed, nonce=f"{plan.nonce} {name}"),
        turns=(Turn(role="user", text="Call read_file for src/parser.py. Say nothing else."),),
        tools=(READ_FILE, WRITE_FILE),
        stream=True,
        session=f"{plan.nonce}-{name}",
    )


def _noted(answer: Answer, n_sessions: int) -> Answer:
    """The answer with its verdict; a call is complete at the latest when the answer is."""
    if answer.calls and answer.tool_call_ms is None and answer.finish:
        answer.tool_call_ms = answer.latency_ms
    answer.tool_call_valid = _is_valid(answer) if answer.calls else None
    answer.signals = {"probe": "latency", "sessions": n_sessions}
    return answer


def _is_valid(answer: Answer) -> bool:
    values = answer.calls[0].values
    return values is not None and isinstance(values.get("path"), str)


def _quantiles(evidence: Evidence, answers: list[Answer], what: str, name: str) -> float | None:
    """The median in milliseconds; None where nothing was measured."""
    times = [answer.tool_call_ms for answer in answers if answer.tool_call_ms is not None]
    lost = [answer for answer in answers if answer.tool_call_ms is None]
    for reason in sorted({answer.problem or "no tool call" for answer in lost}):
        n = sum((answer.problem or "no tool call") == reason for answer in lost)
        evidence.failed(f"{what}: {n} of {len(answers)} without a complete tool call: {reason}")
    if not times:
        return None
    p50, p95 = (float(value) for value in np.quantile(times, [0.5, 0.95]))
    evidence.measures[f"tool_call_p50_ms_{name}"] = round(p50, 1)
    evidence.measures[f"tool_call_p95_ms_{name}"] = round(p95, 1)
    evidence.passed(f"{what}: first complete tool call p50 {p50:.0f} ms, p95 {p95:.0f} ms")
    return p50
