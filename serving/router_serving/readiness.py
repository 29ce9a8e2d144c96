"""Whether callers should come to this process: ready, ready with something amiss, or not.

Not ready is what another instance does better: one that stops, or that can't check budgets which
are promised to hold. A log or a disk that fails is amiss, but not a reason to send callers away:
decisions are still made, and where all instances share the fault nobody would be left to make them.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

LOG_GRACE_S: Final = 5.0
"""A log that fails for less is no news: the next group commit may pass."""
MIN_FREE_SHARE: Final = 0.01
MIN_FREE_BYTES: Final = 64 * 1024 * 1024


class Fallible(Protocol):
    """A part that remembers its last error."""

    @property
    def last_error(self) -> str | None:
        """What is wrong now; None when nothing is."""


_NO_FILES: Final[Mapping[str, Fallible]] = {}


class Disk(Struct, frozen=True):
    """Room on the disk of the state folder, in bytes."""

    free: int
    total: int

    @property
    def is_nearly_full(self) -> bool:
        """True when less than 1% or 64 MB is left."""
        return self.free < MIN_FREE_BYTES or self.free < MIN_FREE_SHARE * self.total


class Report(Struct, frozen=True):
    """Why the process is not ready, and what else is amiss; both hold no paths or names.

    `refused` are files that can't be used as they are now, with the error, which may hold both.
    """

    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    refused: Mapping[str, str] = {}

    @property
    def status(self) -> str:
        """In one word."""
        if self.reasons:
            return "not_ready"
        return "degraded" if self.warnings or self.refused else "ready"

    def told(self, *, may_know: bool) -> tuple[str, ...]:
        """All that is amiss; why a file was refused only to those who `may_know`."""
        refused = (
            f"{name}: refused" + (f": {error}" if may_know else "")
            for name, error in self.refused.items()
        )
        return (*self.warnings, *refused)


def disk_of(folder: Path) -> Disk | None:
    """Room where the folder lies; None when that can't be told."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return Disk(usage.free, usage.total)


class Readiness:
    """Judges the parts of one process whenever it is asked."""

    def __init__(
        self,
        *,
        log: Fallible,
        ledger: Fallible,
        has_hard_cap: Callable[[], bool],
        disk: Callable[[], Disk | None],
        files: Mapping[str, Fallible] = _NO_FILES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._ledger = ledger
        self._has_hard_cap = has_hard_cap
        self._disk = disk
        self._files = files
        self._clock = clock
        self._log_fails_since: float | None = None
        self.is_stopping = False

    def stop(self) -> None:
        """Say from now on that the process stops."""
        self.is_stopping = True

    def look(self) -> None:
        """Notice since when the log fails; called every second."""
        if self._log.last_error is None:
            self._log_fails_since = None
        elif self._log_fails_since is None:
            self._log_fails_since = self._clock()

    def report(self) -> Report:
        """How it is now."""
        self.look()
        reasons, warnings = list[str](), list[str]()
        if self.is_stopping:
            reasons.append("stopping: the process was told to end")
        if self._ledger.last_error is not None:
            said = "ledger: budgets can't be checked or settled"
            (reasons if self._has_hard_cap() else warnings).append(said)
        since = self._log_fails_since
        if since is not None and self._clock() - since >= LOG_GRACE_S:
            warnings.append(f"log: can't be written for more than {LOG_GRACE_S:.0f} s")
        disk = self._disk()
        if disk is None:
            warnings.append("disk: its free space can't be told")
        elif disk.is_nearly_full:
            warnings.append(f"disk: {disk.free // 1_000_000} MB are free")
        refused = {
            name: file.last_error
            for name, file in self._files.items()
            if file.last_error is not None
        }
        return Report(tuple(reasons), tuple(warnings), refused)
