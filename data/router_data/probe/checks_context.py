"""Does the model still find what stands in a long prompt?"""

from collections.abc import Callable
from typing import Final

from router_data.probe.asks import Answer, Ask, Turn
from router_data.probe.client import Client
from router_data.probe.findings import Evidence, Plan
from router_data.probe.tasks import Task, code_task, needle_task

SHARES: Final = (0.25, 0.5, 1.0)
MIN_FOUND: Final = 0.8
_TASKS: Final[dict[str, Callable[..., Task]]] = {"needles": needle_task, "code look-up": code_task}


async def check_context(client: Client, plan: Plan, evidence: Evidence) -> None:
    """Needles at several depths and look-ups in code, at a quarter, a half and all of the size.

    A task is adequate where at least `MIN_FOUND` of its answers were found. The effective window
    is the reported input of the largest size up to which every task was adequate.
    """
    effective = 0
    is_unbroken = True
    for share in SHARES:
        n_tokens = int(share * plan.context_tokens)
        answers = []
        for seed in range(plan.seed, plan.seed + plan.repeats):
            for what, make in _TASKS.items():
                task = make(n_tokens, seed=seed, nonce=plan.nonce)
                answers.append(await _asked(client, evidence, task, what, n_tokens))
        is_unbroken = is_unbroken and all(answer.adequate for answer in answers)
        if is_unbroken:
            effective = min(answer.input_tokens for answer in answers)
    evidence.measures["effective_window"] = effective
    evidence.measures["largest_input_tokens"] = max(
        (r.answer.input_tokens for r in client.records if r.check == client.check), default=0
    )
    if is_unbroken:
        evidence.note(f"the effective window is at least {effective} tokens, the largest tried")
    else:
        evidence.note(f"the effective window is {effective} tokens, as far as was tried")


async def _asked(
    client: Client, evidence: Evidence, task: Task, what: str, n_tokens: int
) -> Answer:
    answer = await client.call(Ask(turns=(Turn(role="user", text=task.prompt),)))
    n_input = answer.input_tokens
    answer.signals = {"probe": "context", "prefix_tokens": n_input}
    if evidence.broken(answer, f"{what} at {n_tokens} tokens"):
        # A refusal says something of the window; a failure on the way says nothing.
        answer.adequate = False if answer.is_refused else None
        return answer
    found = task.found(answer.text)
    is_found = sum(found) >= MIN_FOUND * len(found)
    if not is_found and evidence.short(answer, f"{what} at {n_input} tokens"):
        return answer
    answer.adequate = is_found
    text = f"{what} at {n_input} tokens: {sum(found)} of {len(found)} found{_missing(task, found)}"
    evidence.judged(is_found, text, text)
    return answer


def _missing(task: Task, found: tuple[bool, ...]) -> str:
    pairs = zip(task.depths, found, strict=True)
    depths = [f"{depth:.0%}" for depth, is_found in pairs if not is_found]
    return f" (missed at depth {', '.join(depths)})" if depths else ""
