"""What is known of the session that a call belongs to, when the call arrives."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field


class Prefix(Struct, frozen=True, kw_only=True, gc=False):
    """What one model last saw of a session's conversation.

    `tokens` are those of the whole call, `age_s` the seconds since, `ttl_s` the lifetime that was
    asked for. `n_hits` and `n_misses` count the calls whose bill showed, or did not show, the
    cache read that was expected. The last bill showed `read_tokens` as read from the cache and
    `billed_tokens` of input where `estimated_tokens` had been estimated, all 0 before any bill;
    `token_ratio` is billed over estimated ones.
    """

    tokens: int
    age_s: float
    ttl_s: int
    n_hits: int = 0
    n_misses: int = 0
    token_ratio: float = 1.0
    read_tokens: int = 0
    billed_tokens: int = 0
    estimated_tokens: int = 0


class SessionView(Struct, frozen=True, kw_only=True):
    """A session at the moment of a call.

    `model` answered the last call of the main conversation, `turn` counts those calls; `pin` is
    the model that the session asked to keep. `is_lost` says that the request shows a history
    which is not remembered: after a restart, an eviction, or with another worker.
    """

    model: str | None = None
    turn: int = 0
    prefixes: Mapping[str, Prefix] = field(default_factory=dict)
    pin: str | None = None
    is_lost: bool = False


NO_SESSION: Final = SessionView()
