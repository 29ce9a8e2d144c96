"""Bills the calls of a session as providers with a cache do, from what each model saw before.

The accounting is deterministic. A model that answered an earlier call of the session finds the
prompt of that call in its cache unless it is older than the cache lives; it finds whole blocks
only, and nothing shorter than the provider keeps. What a call adds to the prefix is written to
the cache, at the price of a write where the card has one; marked caches count as marked. Every
use renews the prefix. Side calls (titles, summaries) are conversations of their own: they neither
find nor leave anything.
"""

from collections import Counter

from router_model import warmth
from router_model.errors import DatasetError
from router_model.pricing import call_cost_microusd
from router_model.session_view import Prefix
from router_model.types import ModelCard, Usage
from router_training.recorded_sessions import RecordedCall


class Ledger:
    """What every model has in its cache in one session, and the clock that lets it expire."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._last: dict[str, tuple[int, float, int]] = {}
        self._n_hits: Counter[str] = Counter()

    def arrive(self, call: RecordedCall) -> None:
        """Let the time before a call pass; a rewritten history fits no cached prefix."""
        self._now_s += call.gap_s
        if call.is_rewritten:
            self._last.clear()

    def prefixes(self) -> dict[str, Prefix]:
        """What each model saw last, expired or not, and how often its bills showed a hit."""
        return {
            model: Prefix(
                tokens=tokens,
                age_s=self._now_s - then_s,
                ttl_s=ttl_s,
                n_hits=self._n_hits[model],
            )
            for model, (tokens, then_s, ttl_s) in self._last.items()
        }

    def usage(self, card: ModelCard, call: RecordedCall) -> Usage:
        """What the call would be billed for if this model answered it now."""
        n = call.input_tokens
        keeps = card.capabilities.caching != "none" and not call.step_type.is_side_call
        kept = _whole_blocks(card, n) if keeps else 0
        cached = min(kept, self._warm_tokens(card)) if kept else 0
        is_long = lifetime_s(card, call) >= warmth.HOUR_S
        return Usage(
            input_tokens=n,
            cached_tokens=cached,
            cache_write_tokens=kept - cached,
            cache_write_1h_tokens=kept - cached if is_long else 0,
            output_tokens=call.output_tokens,
        )

    def take(self, card: ModelCard, call: RecordedCall) -> Usage:
        """Bill the call to this model, whose prefix is warm from now on."""
        usage = self.usage(card, call)
        if not call.step_type.is_side_call:
            self._n_hits[card.id] += usage.cached_tokens > 0
            self._last[card.id] = (call.input_tokens, self._now_s, lifetime_s(card, call))
        return usage

    def _warm_tokens(self, card: ModelCard) -> int:
        last = self._last.get(card.id)
        if last is None or self._now_s - last[1] > last[2]:
            return 0
        return _whole_blocks(card, last[0])


def _whole_blocks(card: ModelCard, tokens: int) -> int:
    """The part of a prefix that the provider keeps: whole blocks, nothing below the least."""
    if tokens < card.min_cache_tokens:
        return 0
    return warmth.kept_tokens(tokens, 0, block=card.cache_block_tokens)


def lifetime_s(card: ModelCard, call: RecordedCall) -> int:
    """How long the model keeps the prefix of a call: longer where that is asked for and sold."""
    return warmth.lifetime_s(card, call.request.cache_ttl_s)


def bill_microusd(card: ModelCard, usage: Usage, *, service_tier: str | None) -> int:
    """Whole millionths of a dollar for one call; raises DatasetError where there is no price."""
    if card.price is None:
        raise DatasetError(f"model {card.id!r}: the catalog has no price, so it can't be replayed")
    return call_cost_microusd(card.price, usage, service_tier=service_tier)
