"""Which calls are in the log already, in a few bytes for each."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from router_data.store import Store

Ids = NDArray[np.uint64]
Standing = Literal["new", "known", "repeated"]

# The first 16 hexadecimal digits of both digests: enough to tell a thousand million calls apart.
_KNOWN = """
    select try_cast('0x' || decision_id[9:24] as ubigint) as id,
           try_cast('0x' || versions.artifact[8:23] as ubigint) as content,
           features is not null as has_request
    from decisions where policy = ? and id is not null and content is not null
    order by id
"""
_NEW_AT_ONCE = 100_000


class KnownCalls:
    """The imported calls of a log, and those that were seen since."""

    def __init__(self, store: Store, policy: str) -> None:
        found = store.arrays(_KNOWN, (policy,))
        self._ids = found["id"].astype(np.uint64)
        self._contents = found["content"].astype(np.uint64)
        self._has_request = found["has_request"].astype(bool)
        self._seen = _SeenIds()

    def standing(self, decision_id: str, artifact: str, *, has_request: bool) -> Standing:
        """Where a call stands: "repeated" in this file, "known" to the log as it is, or new.

        A row without request never replaces the same call's row with one.
        """
        key, content = int(decision_id[8:24], 16), int(artifact[7:23], 16)
        if self._seen.add(key):
            return "repeated"
        place = int(np.searchsorted(self._ids, np.uint64(key)))
        if place == len(self._ids) or int(self._ids[place]) != key:
            return "new"
        is_poorer = bool(self._has_request[place]) and not has_request
        return "known" if is_poorer or int(self._contents[place]) == content else "new"


class _SeenIds:
    """A growing set of 64-bit ids: sorted arrays of eight bytes an id, the newest in a set."""

    def __init__(self) -> None:
        self._sorted: Ids = np.empty(0, dtype=np.uint64)
        self._newest: set[int] = set()

    def add(self, key: int) -> bool:
        """True when the id was there already."""
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        is_old = place < len(self._sorted) and int(self._sorted[place]) == key
        if is_old or key in self._newest:
            return True
        self._newest.add(key)
        if len(self._newest) >= _NEW_AT_ONCE:
            fresh = np.fromiter(self._newest, dtype=np.uint64, count=len(self._newest))
            self._sorted = np.union1d(self._sorted, fresh)
            self._newest.clear()
        return False
