"""What one model's provider saw last of a session, and what its bills said of it."""

from typing import Final

from msgspec import Struct

from router_model.session_view import Prefix
from router_model.types import ModelCard, Usage
from router_model.warmth import is_cached, kept_tokens, lifetime_s

# A usage that says less or more than this of the estimate is a mistake, or of another convention.
_LEAST_RATIO: Final = 0.2
_LARGEST_RATIO: Final = 5.0


class HeldPrefix(Struct, kw_only=True, gc=False):
    """`session_view.Prefix` with the time of its use; 0 `tokens` if nothing was left in a cache.

    `expected_tokens` are those that the call should have read, by what was held before it.
    `is_billed`: the tokens are those of a bill, not estimated. `keeps_answers`: a bill showed more
    read than was sent before, so the model's own answer is in its cache too, until one shows less.
    """

    tokens: int
    used_s: float
    ttl_s: int
    expected_tokens: int = 0
    read_tokens: int = 0
    n_hits: int = 0
    n_misses: int = 0
    token_ratio: float = 1.0
    billed_tokens: int = 0
    estimated_tokens: int = 0
    is_billed: bool = False
    keeps_answers: bool = False

    def is_warm(self, now_s: float) -> bool:
        """Whether something was left whose lifetime has not passed."""
        return self.tokens > 0 and now_s - self.used_s < self.ttl_s

    def seen(self, now_s: float, *, is_shared: bool) -> Prefix:
        """The prefix as a decision sees it; without tokens where the call does not share it."""
        return Prefix(
            tokens=self.tokens if is_shared else 0,
            age_s=now_s - self.used_s,
            ttl_s=self.ttl_s,
            n_hits=self.n_hits,
            n_misses=self.n_misses,
            token_ratio=self.token_ratio,
            read_tokens=self.read_tokens if is_shared else 0,
            billed_tokens=self.billed_tokens if is_shared else 0,
            estimated_tokens=self.estimated_tokens if is_shared else 0,
        )

    def learn(self, usage: Usage, *, estimated_tokens: int, expected_tokens: int) -> None:
        """Learn from a bill: what was read, and how many tokens were billed for those estimated.

        A hit is a bill that shows at least half of what should have been read. A gateway that
        never reports cached tokens so teaches that this session's caches are cold, which is what
        its costs will look like.
        """
        self.read_tokens = usage.cached_tokens
        if expected_tokens > 0:
            is_hit = 2 * usage.cached_tokens >= min(expected_tokens, usage.input_tokens)
            self.n_hits += is_hit
            self.n_misses += not is_hit
            if is_hit and usage.cached_tokens < expected_tokens:
                self.keeps_answers = False
        self.token_ratio = usage.input_tokens / max(1, estimated_tokens)
        self.billed_tokens, self.estimated_tokens = usage.input_tokens, estimated_tokens


def is_plausible(usage: Usage, *, estimated_tokens: int) -> bool:
    """Whether a bill can be that of a call of about so many tokens; one that can't teaches nothing.

    >>> [is_plausible(Usage(input_tokens=n), estimated_tokens=1_000) for n in (1_200, 10**9, 3)]
    [True, False, False]
    """
    ratio = usage.input_tokens / max(1, estimated_tokens)
    return _LEAST_RATIO <= ratio <= _LARGEST_RATIO


def left_by(
    card: ModelCard,
    before: HeldPrefix | None,
    *,
    tokens: int,
    is_marked: bool,
    asked_ttl_s: int | None,
    now_s: float,
) -> HeldPrefix:
    """What a call of `tokens` leaves with a model that held `before`."""
    left = HeldPrefix(
        tokens=left_tokens(card, tokens, is_marked=is_marked),
        used_s=now_s,
        ttl_s=lifetime_s(card, asked_ttl_s),
    )
    if before is not None:
        is_warm = left.tokens > 0 and before.is_warm(now_s)
        block = card.cache_block_tokens
        kept = kept_tokens(before.tokens, before.read_tokens, block=block) if is_warm else 0
        left.expected_tokens = kept if kept >= card.min_cache_tokens else 0
        left.read_tokens = before.read_tokens if is_warm else 0
        left.n_hits, left.n_misses = before.n_hits, before.n_misses
        left.keeps_answers = before.keeps_answers
        left.billed_tokens = before.billed_tokens
        left.estimated_tokens = before.estimated_tokens
        left.token_ratio = before.token_ratio
    return left


def left_tokens(card: ModelCard, tokens: int, *, is_marked: bool) -> int:
    """What a call of `tokens` leaves in the model's cache: all of it, or nothing."""
    is_kept = is_cached(card, is_marked=is_marked)
    return tokens if is_kept and tokens >= card.min_cache_tokens else 0
