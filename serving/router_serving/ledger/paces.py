"""Counts calls and spending by subject, for the ledger to add up over all processes."""

import math
import threading
from typing import Final

from router_serving.ledger.subjects import EVERYBODY
from router_serving.ledger.types import Count

# Each is looked at within a minute: see pace_alarm.MAX_LOOKED.
MAX_SUBJECTS: Final = 3000
# A minute slides over two of the clock's: see Pace.
ACTIVE_S: Final = 120.0


class Paces:
    """What happened since the last drain; any thread may count.

    Everything also counts for "all". So many subjects are told apart within two minutes; those
    beyond count for "all" alone, so that names that a caller makes up fill no memory.
    """

    def __init__(self, *, max_subjects: int = MAX_SUBJECTS) -> None:
        self._max_subjects = max_subjects
        self._lock = threading.Lock()
        self._calls: dict[str, int] = {}
        self._microusd: dict[str, int] = {}
        self._seen_s: dict[str, float] = {}

    def called(self, subject: str) -> None:
        """Count one call (when it is decided)."""
        with self._lock:
            for known in self._known(subject):
                self._calls[known] = self._calls.get(known, 0) + 1

    def spent(self, subject: str, microusd: int) -> None:
        """Count what a call cost (when it is settled); a correction downwards changes nothing."""
        if microusd <= 0:
            return
        with self._lock:
            for known in self._known(subject):
                self._microusd[known] = self._microusd.get(known, 0) + microusd

    def drain(self, now_s: float) -> tuple[Count, ...]:
        """What was counted since the last drain, in the present minute; nothing is kept of it."""
        with self._lock:
            calls, self._calls = self._calls, {}
            microusd, self._microusd = self._microusd, {}
            subjects = calls.keys() | microusd.keys()
            self._seen_s |= dict.fromkeys(subjects, now_s)
            since_s = now_s - ACTIVE_S
            self._seen_s = {
                subject: seen_s for subject, seen_s in self._seen_s.items() if seen_s >= since_s
            }
        minute = int(now_s // 60)
        return tuple(
            Count(
                subject=subject,
                minute=minute,
                calls=calls.get(subject, 0),
                microusd=microusd.get(subject, 0),
            )
            for subject in sorted(subjects)
        )

    def active(self) -> tuple[str, ...]:
        """The subjects that were counted within the last two minutes."""
        with self._lock:
            return tuple(self._seen_s)

    def _known(self, subject: str) -> tuple[str, ...]:
        """The subjects to count for; the lock is held."""
        self._seen_s.setdefault(EVERYBODY, math.inf)  # until the next drain
        if subject not in self._seen_s:
            if len(self._seen_s) > self._max_subjects:
                return (EVERYBODY,)
            self._seen_s[subject] = math.inf
        return (EVERYBODY,) if subject == EVERYBODY else (EVERYBODY, subject)
