"""Walks recorded sessions as the service's session memory does, and learns how caches behave."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from router_model.economics import PRIOR, CacheFacts
from router_model.session_view import Prefix
from router_model.warmth import input_tokens_of, kept_tokens
from router_training.intervals import Floats
from router_training.recorded_bills import BilledCall

TTL_S: Final = 300
_BLOCKS: Final = (1, *range(16, 4097, 16))
# A prefix that was partly lost says nothing of blocks, so no error counts for more.
_LARGEST_LOSS: Final = 256.0


class Learned(Struct, frozen=True, kw_only=True):
    """What some sessions say of a model.

    `token_ratio` is billed over estimated tokens of a first call, `growth_ratio` of what is added
    to it later; `frame_tokens` are what a first call finds cached, left by other sessions.
    """

    facts: CacheFacts
    block_tokens: int
    token_ratio: float
    growth_ratio: float
    frame_tokens: int


class Walked(Struct, frozen=True):
    """A call with what its session knew: `prefix` of this endpoint, `before` of any; None: nothing.

    `before` is the session's last call, whose bill is known.
    """

    call: BilledCall
    prefix: Prefix | None
    before: BilledCall | None


class _Held(Struct):
    """What an endpoint saw last; the service's memory keeps the same of a model."""

    tokens: int
    time_s: float
    read_tokens: int
    n_hits: int = 0
    n_misses: int = 0
    keeps_answers: bool = False


def walk(calls: Sequence[BilledCall], *, knows_endpoint: bool, block: int = 1) -> list[Walked]:
    """What a session knew before each of its calls; nothing of a call is seen before it is made.

    `block` decides which reads were to be expected, and so what counts as a hit or a miss.
    """
    held: dict[str, _Held] = {}
    previous: BilledCall | None = None
    walked = []
    for call in calls:
        endpoint = call.endpoint if knows_endpoint else ""
        before = held.get(endpoint)
        walked.append(Walked(call, _prefix(before, call), previous))
        held[endpoint] = _observed(before, call, block)
        previous = call
    return walked


def learn(sessions: Sequence[Sequence[Walked]]) -> Learned:
    """Hit rate, blocks, token ratio and frame of these sessions.

    The hit rate is the share of the tokens that should have been read and were, so that the
    expected cost is unbiased although large prefixes miss more, or less, often than small ones.
    """
    first = [walked[0].call for walked in sessions]
    ratio = float(np.median([call.usage.input_tokens / call.estimated_tokens for call in first]))
    grown = [(w.call, w.before) for walked in sessions for w in walked if w.before is not None]
    grew = sum(call.usage.input_tokens - before.usage.input_tokens for call, before in grown)
    said = sum(call.estimated_tokens - before.estimated_tokens for call, before in grown)
    frame = int(np.median([call.usage.cached_tokens for call in first]))
    prefixes = [walked.prefix or _frame_prefix(frame) for calls in sessions for walked in calls]
    usages = [walked.call.usage for calls in sessions for walked in calls]
    read = np.array([usage.cached_tokens for usage in usages])
    size = np.array([usage.input_tokens for usage in usages])
    seen = np.array([prefix.tokens for prefix in prefixes])
    start = np.minimum([prefix.read_tokens for prefix in prefixes], seen)

    def warm(block: int) -> Floats:
        tokens = np.minimum(start + (seen - start) // block * block, size)
        return np.asarray(tokens, dtype=np.float64)

    hits = read > 0
    losses = [
        np.minimum(np.abs(read - warm(block))[hits], _LARGEST_LOSS).sum() for block in _BLOCKS
    ]
    block = _BLOCKS[int(np.argmin(losses))]
    expected = warm(block)
    facts = PRIOR.any_cache
    if expected.any():
        rate = float(read[expected > 0].sum() / expected.sum())
        facts = CacheFacts(p_hit=min(1.0, rate), n=int((expected > 0).sum()))
    return Learned(
        facts=facts,
        block_tokens=block,
        token_ratio=ratio,
        growth_ratio=grew / said if said > 0 else 1.0,
        frame_tokens=frame,
    )


def prefix_of(walked: Walked, learned: Learned) -> Prefix:
    """The session's own prefix, else what other sessions left."""
    return walked.prefix or _frame_prefix(learned.frame_tokens)


def _frame_prefix(tokens: int) -> Prefix:
    return Prefix(tokens=tokens, age_s=0.0, ttl_s=TTL_S, read_tokens=tokens)


def _prefix(held: _Held | None, call: BilledCall) -> Prefix | None:
    if held is None:
        return None
    return Prefix(
        tokens=held.tokens,
        age_s=call.time_s - held.time_s,
        ttl_s=TTL_S,
        n_hits=held.n_hits,
        n_misses=held.n_misses,
        read_tokens=held.read_tokens,
    )


def _observed(before: _Held | None, call: BilledCall, block: int) -> _Held:
    usage = call.usage
    after = _Held(usage.input_tokens, call.time_s, usage.cached_tokens)
    if before is not None:
        kept = kept_tokens(before.tokens, before.read_tokens, block=block)
        is_warm = kept > 0 and call.time_s - before.time_s < TTL_S
        is_hit = 2 * usage.cached_tokens >= min(kept, usage.input_tokens)
        after.n_hits = before.n_hits + (is_warm and is_hit)
        after.n_misses = before.n_misses + (is_warm and not is_hit)
        is_less = is_hit and usage.cached_tokens < kept
        after.keeps_answers = usage.cached_tokens > before.tokens or (
            before.keeps_answers and not is_less
        )
        after.tokens += usage.output_tokens if after.keeps_answers else 0
    return after


def forecast_tokens(walked: Walked, learned: Learned) -> int:
    """Input tokens of the call: those of the session's last bill, and what was said since."""
    call, before = walked.call, walked.before
    if before is None:
        return input_tokens_of(None, call.estimated_tokens, token_ratio=learned.token_ratio)
    billed = Prefix(
        tokens=before.usage.input_tokens,
        age_s=call.time_s - before.time_s,
        ttl_s=TTL_S,
        billed_tokens=before.usage.input_tokens,
        estimated_tokens=round(before.estimated_tokens),
    )
    return input_tokens_of(billed, call.estimated_tokens, token_ratio=learned.growth_ratio)
