"""Does a second turn read the prefix of the first from a cache, and from which length on?"""

from typing import Final

from router_data.probe.asks import Answer, Ask, Turn
from router_data.probe.client import Client
from router_data.probe.findings import Evidence, Finding, Plan
from router_data.probe.tasks import filler

DEFAULT_MIN_TOKENS: Final = 1_024
_FACTORS: Final = (0.5, 1.5)
_LARGEST: Final = 4.0
_N_TRIES: Final = 2


async def check_cache(client: Client, plan: Plan) -> Finding:
    """Second turns over one prefix, unmarked and then with a cache marker.

    Of a cache that is there, shorter prefixes tell from which length on it works. How long it
    lasts is not waited for.
    """
    evidence = Evidence()
    declared = plan.min_cache_tokens or DEFAULT_MIN_TOKENS
    for is_marked in (False, True):
        second = await _second_turn(client, plan, int(_LARGEST * declared), is_marked=is_marked)
        kind = "marked" if is_marked else "unmarked"
        if second.usage is None:
            evidence.unknown(f"{kind}: {second.problem or 'no usage reported'}")
            if not is_marked:
                continue
            return evidence.finding()
        evidence.note(
            f"{kind} prefix: {second.cached_tokens} of {second.input_tokens} input tokens cached"
        )
        if second.cached_tokens:
            evidence.facts["capabilities.caching"] = "marked" if is_marked else "automatic"
            await _check_lengths(client, plan, evidence, second, is_marked=is_marked)
            return evidence.finding()
    evidence.failed(f"no second turn read from a cache, in {_N_TRIES} tries each")
    if evidence.finding().result == "fail" and not _has_unknown(evidence):
        evidence.facts["capabilities.caching"] = "none"
    return evidence.finding()


def _has_unknown(evidence: Evidence) -> bool:
    return any(result == "unknown" for result, _ in evidence.parts)


async def _check_lengths(
    client: Client, plan: Plan, evidence: Evidence, largest: Answer, *, is_marked: bool
) -> None:
    declared = plan.min_cache_tokens or DEFAULT_MIN_TOKENS
    smallest, missed = largest.cached_tokens, 0
    for factor in sorted(_FACTORS, reverse=True):
        second = await _second_turn(client, plan, int(factor * declared), is_marked=is_marked)
        if second.usage is None:
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
    for word in ("second", "third")[:_N_TRIES]:
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
