"""Remembers which decision a request got, for gateways that report without naming it."""

import hashlib
from collections import OrderedDict, deque
from typing import Final

from msgspec import Struct

MAX_PENDING: Final = 10_000
"""Requests that are remembered at a time: about 300 bytes each."""


class Pending(Struct, frozen=True, gc=False):
    """A decision whose answer was not reported yet, and when it was asked for, by any clock."""

    decision_id: str
    asked_s: float


class PendingDecisions:
    """The decisions by tenant and content, of the last `max_entries` contents.

    Of requests with the same content the latest decision is reported first: an earlier one may
    never be, where its client hung up. They are known to the process that made them.

    >>> pending = PendingDecisions()
    >>> pending.add("acme", b"{}", Pending("d-1", asked_s=5.0))
    >>> pending.take("acme", b"{}"), pending.take("acme", b"{}"), pending.take("other", b"{}")
    (Pending(decision_id='d-1', asked_s=5.0), None, None)
    """

    def __init__(self, max_entries: int = MAX_PENDING) -> None:
        self._max_entries = max_entries
        self._by_content: OrderedDict[bytes, deque[Pending]] = OrderedDict()

    def add(self, tenant: str, content: bytes, pending: Pending) -> None:
        """Remember the decision for a content."""
        key = _key(tenant, content)
        self._by_content.setdefault(key, deque(maxlen=100)).append(pending)
        self._by_content.move_to_end(key)
        if len(self._by_content) > self._max_entries:
            self._by_content.popitem(last=False)

    def take(self, tenant: str, content: bytes) -> Pending | None:
        """The latest decision for the content that was not taken yet, None without one."""
        key = _key(tenant, content)
        if (decisions := self._by_content.get(key)) is None:
            return None
        pending = decisions.pop()
        if not decisions:
            del self._by_content[key]
        return pending


def _key(tenant: str, content: bytes) -> bytes:
    digest = hashlib.blake2b(tenant.encode("utf-8", "replace") + b"\0", digest_size=16)
    digest.update(content)
    return digest.digest()
