"""Does a second turn read the prefix of the first from a cache, and from which length on?"""

import asyncio
from typing import Final

from router_data.probe.asks import Answer, Ask, Turn
from router_data.probe.client import Client
from router_data.probe.findings import Evidence, Plan
from router_data.probe.tasks import filler

DEFAULT_MIN_TOKENS: Final = 1_024
_FACTORS: Final = (0.5, 1.5)
_LARGEST: Final = 4.5
_N_TRIES: Final = 2
_PAUSE_S: Final = 1.0


async def check_cache(client: Client, plan: Plan, evidence: Evidence) -> None:
    """Second turns over one prefix, unmarked and then with a cache marker.

    Of a cache that is there, shorter prefixes tell from which length on it works. How long it
    lasts is not waited for.
    """
    declared = plan.min_cache_tokens or DEFAULT_MIN_TOKENS
    for is_marked in (False, True):
        second = await _second_turn(client, plan, int(_LARGEST * declared), is_marked=is_marked)
        kind = "marked" if is_marked else "unmarked"
        if second.cached_tokens:
            evidence.note(f"{kind} prefix: {_seen(second)}")
            evidence.facts["capabilities.caching"] = "marked" if is_marked else "automatic"
            await _check_lengths(client, plan, evidence, second, is_marked=is_marked)
            return
        _note_miss(evidence, second, f"{kind} prefix")
    if not any(result == "unknown" for result, _ in evidence.parts):
        evidence.facts["capabilities.caching"] = "none"
        evidence.failed(f"no second turn read from a cache, in {_N_TRIES} tries each")


def _note_miss(evidence: Evidence, second: Answer, what: str) -> None:
    """Nothing was read from a cache, or nothing is known of it."""
    if second.is_refused:
        evidence.note(f"{what}: refused with HTTP {second.status}: {second.error_text}")
    elif not second.is_ok:
        evidence.unknown(f"{what}: {second.problem} {second.error_text}".rstrip())
    elif not second.tells_cache:
        evidence.unknown(f"{what}: the reported usage does not tell of caches")
    else:
        evidence.note(f"{what}: {_seen(second)}")


def _seen(answer: Answer) -> str:
    return f"{answer.cached_tokens} of {answer.input_tokens} input tokens cached"


async def _check_lengths(
    client: Client, plan: Plan, evidence: Evidence, largest: Answer, *, is_marked: bool
) -> None:
    declared = plan.min_cache_tokens or DEFAULT_MIN_TOKENS
    smallest, missed = largest.cached_tokens, 0
    for factor in sorted(_FACTORS, reverse=True):
        second = await _second_turn(client, plan, int(factor * declared), is_marked=is_marked)
        if not second.is_ok:
            break
        if not second.cached_tokens:
            missed = second.input_tokens
            break
        smallest = second.cached_tokens
    evidence.measures |= {"smallest_cached_tokens": smallest, "longest_uncached_tokens": missed}
    evidence.note(f"the shortest cached prefix seen has {smallest} tokens, one of {missed} is not")
    evidence.judged(
        largest.cached_tokens >= declared,
        f"{largest.cached_tokens} cached tokens are at least the shortest prefix, {declared}",
        f"{largest.cached_tokens} cached tokens, expected at least {declared}",
    )
    _add_minimum(evidence, plan, smallest, missed)


def _add_minimum(evidence: Evidence, plan: Plan, smallest: int, missed: int) -> None:
    """The minimum as a fact where nothing is declared or what is declared can't be."""
    declared = plan.min_cache_tokens
    if declared is None or smallest < declared or missed > declared:
        evidence.facts["min_cache_tokens"] = smallest


async def _second_turn(client: Client, plan: Plan, n_tokens: int, *, is_marked: bool) -> Answer:
    """The answer to a second turn; asked once more where it read nothing from a cache."""
    nonce = f"{plan.nonce} cache {n_tokens} {is_marked}"
    system = filler(n_tokens, seed=plan.seed, nonce=nonce)
    first = Turn(role="user", text="Which step comes first? Answer in one word.")
    answer = await client.call(_ask(plan, system, (first,), is_marked=is_marked))
    if not answer.is_ok:
        return answer
    said = Turn(role="assistant", text=answer.text or "None.")
    for number, word in enumerate(("second", "third")[:_N_TRIES]):
        # A cache may need a moment until it can be read.
        await asyncio.sleep(number * _PAUSE_S)
        next_turn = Turn(role="user", text=f"Which step comes {word}? Answer in one word.")
        turns = (first, said, next_turn)
        answer = await client.call(_ask(plan, system, turns, is_marked=is_marked))
        if answer.cached_tokens or not answer.is_ok:
            break
    return answer


def _ask(plan: Plan, system: str, turns: tuple[Turn, ...], *, is_marked: bool) -> Ask:
    return Ask(
        system=system, turns=turns, is_marked=is_marked, session=f"{plan.nonce}-cache-{len(system)}"
    )
