"""Which prefixes of a session a provider probably still has in its cache.

A thin memory: it knows only the decisions of this process, takes each of them as carried out, and
takes a prefix as warm until the model's cache lifetime has passed and as cold afterwards. A
gateway that overrode the choice, a provider that evicted early or a second worker are not seen.
"""

from collections import OrderedDict
from collections.abc import Mapping

from msgspec import Struct

from router_model.types import Decision, ModelCard, Request

_NOTHING: Mapping[str, int] = {}


class WarmPrefix(Struct, frozen=True, gc=False):
    """The prefix that one model saw last in a session; `used_s` is on the caller's clock."""

    tokens: int
    used_s: float
    ttl_s: int


class SessionMemory:
    """The warm prefixes of the sessions used last, at most `max_entries` of them."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._sessions: OrderedDict[tuple[str, str], dict[str, WarmPrefix]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def cached_tokens(
        self, tenant: str, session: str, *, input_tokens: int, now_s: float
    ) -> Mapping[str, int]:
        """Tokens of the next call that each model probably reads from its cache.

        Never more than `input_tokens`, the size of the call: after a compaction the conversation
        is shorter than the prefix that is warm.
        """
        prefixes = self._sessions.get((tenant, session))
        if prefixes is None:
            return _NOTHING
        return {
            model: min(prefix.tokens, input_tokens)
            for model, prefix in prefixes.items()
            if now_s - prefix.used_s < prefix.ttl_s
        }

    def remember(
        self,
        decision: Decision,
        request: Request,
        card: ModelCard,
        *,
        tenant: str,
        session: str,
        now_s: float,
    ) -> None:
        """Take note that the call went to `card`, where it leaves a prefix worth remembering.

        A side call has a prefix of its own, which the next turn does not share. Providers ignore
        prefixes below their minimum, and some cache only what the client marked.
        """
        tokens = decision.expected.input_tokens
        caching = card.capabilities.caching
        if (
            decision.step_type.is_side_call
            or caching == "none"
            or (caching == "marked" and request.n_cache_markers == 0)
            or tokens < card.min_cache_tokens
            or self._max_entries == 0
        ):
            return
        key = (tenant, session)
        prefixes = self._sessions.setdefault(key, {})
        prefixes[card.id] = WarmPrefix(tokens, now_s, card.cache_ttl_s)
        self._sessions.move_to_end(key)
        if len(self._sessions) > self._max_entries:
            self._sessions.popitem(last=False)
