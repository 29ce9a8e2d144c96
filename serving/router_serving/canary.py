"""Compares the outcomes of the canary's sessions with those of the champion's.

A session counts once, with the first outcome that tells: outcomes within a session resemble each
other, and taken for independent they would stop a good canary too often.
"""

import hashlib
import math
from typing import Final, Literal

from msgspec import Struct

from router_model.breach import log_evidence

Side = Literal["champion", "canary"]
CHAMPION: Final[Side] = "champion"
CANARY: Final[Side] = "canary"
# About 60 bytes each, for two measures; by then the evidence is in.
MAX_SESSIONS: Final = 200_000


class Promise(Struct, frozen=True, kw_only=True):
    """The canary may fail more often by `margin`; a false stop has probability `delta`."""

    margin: float
    delta: float
    min_outcomes: int


class _Measure:
    """Failures and sessions of either side, for one kind of failure."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.n = {CHAMPION: 0, CANARY: 0}
        self.n_failed = {CHAMPION: 0, CANARY: 0}
        self._sessions: set[int] = set()

    def count(self, side: Side, session: int, *, failed: bool) -> bool:
        """Count a session that was not counted before; False for any other."""
        if session in self._sessions or len(self._sessions) >= MAX_SESSIONS:
            return False
        self._sessions.add(session)
        self.n[side] += 1
        self.n_failed[side] += failed
        return True

    def breach(self, promise: Promise, *, delta: float) -> str | None:
        if self.n[CANARY] < promise.min_outcomes:
            return None
        counts = [(self.n_failed[side], self.n[side]) for side in (CANARY, CHAMPION)]
        evidence = log_evidence(*counts[0], *counts[1], margin=promise.margin)
        if evidence < math.log(1.0 / delta):
            return None
        (failed, n), (base_failed, base_n) = counts
        return (
            f"{self.name}: {failed} of {n} sessions of the canary, {base_failed} of {base_n} of "
            f"the champion: more by over {promise.margin:g} with confidence {1.0 - delta:g}"
        )


class CanaryMonitor:
    """Counts sessions that were inadequate, and those that ended in an error.

    Each of the two is tested with half of delta; with several workers, each process by itself
    with an equal part of that.
    """

    def __init__(self, promise: Promise, *, n_workers: int = 1) -> None:
        self.promise = promise
        self._delta = promise.delta / (2 * n_workers)
        self._champion = ""
        self._restart()

    def observe(
        self,
        side: Side,
        *,
        champion: str,
        tenant: str,
        session: str,
        adequate: bool | None,
        is_error: bool,
    ) -> str | None:
        """Take note of an outcome; returns what is broken when the canary has to stop.

        Counting starts anew with another version of the `champion`.
        """
        if champion != self._champion:
            self._champion = champion
            self._restart()
        key = session_key(tenant, session)
        is_new = self._failed.count(side, key, failed=is_error)
        if adequate is not None:
            is_new |= self._inadequate.count(side, key, failed=not adequate)
        if not is_new:
            return None
        return self._inadequate.breach(self.promise, delta=self._delta) or self._failed.breach(
            self.promise, delta=self._delta
        )

    def _restart(self) -> None:
        self._inadequate = _Measure("inadequate")
        self._failed = _Measure("error")


def session_key(tenant: str, session: str, *, salt: str = "") -> int:
    """64 bits that stand for a session, spread evenly; another salt spreads them anew."""
    text = f"{salt}\0{tenant}\0{session}".encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
