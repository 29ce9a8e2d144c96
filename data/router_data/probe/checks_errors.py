"""Are mistakes answered with errors that say what is wrong?"""

from typing import Final

from router_data.probe.asks import Answer, Ask, Turn
from router_data.probe.budget import BudgetExhaustedError
from router_data.probe.client import Client
from router_data.probe.findings import Evidence, Plan
from router_data.probe.tasks import filler

_BEYOND: Final = 1.25
# A reported input below this share of the expected one means that some of it was dropped.
_WHOLE: Final = 0.9
_HELLO: Final = (Turn(role="user", text="Say hello."),)


async def check_errors(client: Client, plan: Plan, evidence: Evidence) -> None:
    """A model that does not exist, a key that is none, and a prompt beyond the declared window."""
    unknown = f"{client.endpoint.model}-unknown-{plan.nonce}"
    answer = await client.call(Ask(turns=_HELLO, model=unknown))
    _judge_refusal(evidence, answer, "unknown model", (400, 404, 422))
    if client.endpoint.key is None:
        evidence.note("wrong key: not tried, the endpoint is called without one")
    else:
        answer = await client.call(Ask(turns=_HELLO, key="not-a-key"))
        _judge_refusal(evidence, answer, "wrong key", (401, 403))
    await _check_length(client, plan, evidence)


def _judge_refusal(
    evidence: Evidence, answer: Answer, what: str, statuses: tuple[int, ...]
) -> None:
    seen = f"HTTP {answer.status}" if answer.status else answer.problem
    text = f"{what}: {seen}: {answer.error_text}" if answer.error_text else f"{what}: {seen}"
    expected = " or ".join(map(str, statuses))
    is_clear = answer.status in statuses and bool(answer.error_text)
    evidence.judged(is_clear, text, f"{text}, expected {expected} and a message")


async def _check_length(client: Client, plan: Plan, evidence: Evidence) -> None:
    window = plan.context_window
    if window is None:
        evidence.unknown("too long a prompt: the window is not declared, give --context-window")
        return
    n_tokens = int(window * _BEYOND / min(1.0, client.token_ratio))
    system = filler(n_tokens, seed=plan.seed, nonce=f"{plan.nonce} long")
    try:
        answer = await client.call(Ask(system=system, turns=_HELLO))
    except BudgetExhaustedError as error:
        evidence.unknown(f"too long a prompt: not sent, {error}")
        return
    _judge_length(evidence, answer, expected=answer.estimated_tokens * client.token_ratio)


def _judge_length(evidence: Evidence, answer: Answer, *, expected: float) -> None:
    what = f"too long a prompt (about {expected:.0f} tokens)"
    if answer.is_refused:
        evidence.passed(f"{what}: refused with HTTP {answer.status}: {answer.error_text}")
    elif not answer.is_ok:
        evidence.failed(f"{what}: {answer.problem}, expected a refusal {answer.error_text}".strip())
    elif answer.usage is None:
        evidence.unknown(f"{what}: answered, and without usage it can't be told of how much")
    elif answer.usage.input_tokens < _WHOLE * expected:
        evidence.failed(f"{what}: silently cut to {answer.usage.input_tokens} tokens")
    else:
        evidence.unknown(
            f"{what}: answered, {answer.usage.input_tokens} input tokens reported: the window is "
            "larger than declared"
        )
