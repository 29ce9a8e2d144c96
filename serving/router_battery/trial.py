"""What a trial is given, and what it says."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

Value = int | float | str
Values = Mapping[str, Value]


class NotRunError(Exception):
    """The trial can't run on this machine; the message says what is missing."""


class Scale(Struct, frozen=True, kw_only=True):
    """How much of everything: the long form for the table, the short one for the tests."""

    is_short: bool
    minutes: float = 10.0
    seed: int = 0
    say: Callable[[str], Any] = lambda text: None

    def of(self, long: int, short: int) -> int:
        """The number that belongs to this scale."""
        return short if self.is_short else long


class Tried(Struct, frozen=True, kw_only=True):
    """The row of a trial: what was done, what was seen, and whether that is right.

    `failed` are promises that were broken. `missed` are figures that depend on the machine and
    were not reached; they do not fail the trial. `not_run` says why it could not be tried.
    """

    tried: Values
    seen: Values
    failed: Sequence[str] = ()
    missed: Sequence[str] = ()
    not_run: str = ""

    @property
    def passed(self) -> bool:
        """True when no promise was broken."""
        return not self.failed

    @property
    def verdict(self) -> str:
        """The last column of the table.

        >>> Tried(tried={}, seen={}, failed=["1 outcome lost"]).verdict
        'FAILED: 1 outcome lost'
        """
        if self.not_run:
            return f"not run: {self.not_run}"
        if self.failed:
            return f"FAILED: {'; '.join(self.failed)}"
        return f"passed; missed: {'; '.join(self.missed)}" if self.missed else "passed"


class Trial(Protocol):
    """A module with a trial; the first line of its docstring says what is done."""

    def run(self, scale: Scale, folder: Path) -> Tried:
        """Do it, with all files in `folder`."""


def not_zero(**counts: int) -> list[str]:
    """The counts that should be zero and are not, in words.

    >>> not_zero(outcomes_lost=2, rows_twice=0)
    ['2 outcomes lost']
    """
    return [f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
