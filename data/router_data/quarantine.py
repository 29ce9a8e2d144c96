"""Rows of the log that must not be learned from, by reason; the rules are in `schema.sql`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router_data.store import Columns, Store

_ROWS = """
    select tenant, decision_id, coalesce(attempt, 0) as attempt, kind, reason
    from quarantine_until(?)
    where ? is null or tenant = ?
"""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Keys of the rows that are left out, and how many there are by reason."""

    decisions: frozenset[tuple[str, str]]
    outcomes: frozenset[tuple[str, str, int]]
    counts: Mapping[str, int]

    def keeps_decisions(self, decisions: Columns) -> NDArray[np.bool_]:
        """True for each decision that may be used."""
        if not self.decisions:
            return np.ones(len(decisions["decision_id"]), dtype=bool)
        keys = zip(decisions["tenant"], decisions["decision_id"], strict=True)
        return np.array([key not in self.decisions for key in keys], dtype=bool)

    def keeps_outcomes(self, outcomes: Columns) -> NDArray[np.bool_]:
        """True for each outcome that may be used, as far as the outcome itself is concerned."""
        if not self.outcomes:
            return np.ones(len(outcomes["decision_id"]), dtype=bool)
        names = ("tenant", "decision_id", "attempt")
        keys = zip(*(outcomes[name].tolist() for name in names), strict=True)
        return np.array([key not in self.outcomes for key in keys], dtype=bool)


def read_quarantine(
    store: Store, *, tenant: str | None = None, until_ms: int | None = None
) -> Quarantine:
    """What is in quarantine among the rows written before `until_ms`, of one tenant or all."""
    found = store.arrays(_ROWS, (until_ms, tenant, tenant))
    rows = list(zip(*(found[name].tolist() for name in found), strict=True))
    return Quarantine(
        decisions=frozenset((row[0], row[1]) for row in rows if row[3] == "decision"),
        outcomes=frozenset((row[0], row[1], row[2]) for row in rows if row[3] == "outcome"),
        counts=dict(sorted(Counter(row[4] for row in rows).items())),
    )
