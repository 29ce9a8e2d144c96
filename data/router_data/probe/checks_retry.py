"""Is a call billed twice when the client is cut off and asks again?"""

import asyncio
from itertools import pairwise
from typing import Final

from router_data.probe.asks import Answer, Ask, Turn
from router_data.probe.client import Client
from router_data.probe.findings import Evidence, Plan
from router_data.probe.tasks import filler

_CUT_AFTER: Final = 6
_PREFIX_TOKENS: Final = 2_500
# Of what the whole call costs; less is rounding of the endpoint's figures.
_NOTHING: Final = 0.02
_TASK: Final = "Write the numbers from 1 to 200 in words, one a line."


async def check_retry(client: Client, plan: Plan, evidence: Evidence) -> None:
    """A streamed call cut by the client and then repeated, beside one that was left in peace.

    Only an endpoint that reports its spending shows whether the cut call was billed. Where it
    does not, the result is unknown, with what was seen of caches.
    """
    start = await client.spending()
    whole = await client.call(_ask(plan, "whole"))
    after_whole = await _settled(client, plan)
    cut = await client.call(_ask(plan, "again", cut_after=_CUT_AFTER))
    after_cut = await _settled(client, plan)
    repeated = await client.call(_ask(plan, "again"))
    after_repeat = await _settled(client, plan)
    for answer, what in ((whole, "whole call"), (repeated, "repeated call")):
        if evidence.broken(answer, what):
            return
    if not cut.is_cut:
        evidence.unknown(f"the stream was over after {cut.n_events} events, before it was cut")
        return
    _note_cache(evidence, repeated)
    figures = (start, after_whole, after_cut, after_repeat)
    _judge(evidence, figures, has_url=client.endpoint.usage_url is not None)


def _ask(plan: Plan, name: str, *, cut_after: int | None = None) -> Ask:
    nonce = f"{plan.nonce} retry {name}"
    return Ask(
        system=filler(_PREFIX_TOKENS, seed=plan.seed, nonce=nonce),
        turns=(Turn(role="user", text=_TASK),),
        stream=True,
        # What a client's library sends with a call and its repetition.
        idempotency_key=nonce.replace(" ", "-"),
        cut_after_events=cut_after,
    )


async def _settled(client: Client, plan: Plan) -> float | None:
    """The spending that is reported once the endpoint had time to account for the last call."""
    if client.endpoint.usage_url is None:
        return None
    await asyncio.sleep(plan.usage_delay_s)
    return await client.spending()


def _note_cache(evidence: Evidence, repeated: Answer) -> None:
    if repeated.usage is None:
        evidence.note("the repeated call reports no usage")
        return
    evidence.note(
        f"the repeated call reports {repeated.usage.cached_tokens} cached of "
        f"{repeated.usage.input_tokens} input tokens"
    )
    evidence.measures["repeat_cached_tokens"] = repeated.usage.cached_tokens


def _judge(evidence: Evidence, figures: tuple[float | None, ...], *, has_url: bool) -> None:
    if not has_url:
        evidence.unknown("the endpoint's spending is not readable; --usage-url says where it is")
        return
    known = [figure for figure in figures if figure is not None]
    if len(known) < len(figures):
        evidence.unknown("no number at --usage-url under --usage-field")
        return
    whole, cut, repeated = (after - before for before, after in pairwise(known))
    evidence.measures |= {"billed_whole": whole, "billed_cut": cut, "billed_repeat": repeated}
    seen = f"whole call {whole:g}, cut call {cut:g}, its repetition {repeated:g}"
    if whole <= 0.0:
        evidence.unknown(f"the reported spending did not move with a whole call: {seen}")
        return
    is_twice = cut > _NOTHING * whole and repeated > _NOTHING * whole
    evidence.judged(not is_twice, f"billed once: {seen}", f"billed twice: {seen}")
