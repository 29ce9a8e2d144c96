"""An answer on its way out: what was asked, how long each stage took, what is left to record."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from router_model.incumbent import NAME as INCUMBENT
from router_model.session_view import SessionView
from router_model.types import Decision
from router_serving.decided import Decided
from router_serving.recent import RouteAnswer
from router_serving.telemetry import STAGES


class Answered(Struct, frozen=True):
    """An answer, the nanoseconds of its stages, and what is left to record.

    `decided` is None for a repeated decision_id: it was recorded the first time.
    """

    answer: RouteAnswer
    stages: Mapping[str, int]
    decided: Decided | None

    @property
    def decided_ns(self) -> int:
        """Nanoseconds from the call's turn to its decision."""
        waited = sum(self.stages.get(name, 0) for name in ("read", "wait", "admit"))
        return self.stages["total"] - waited


def seen_as(session: SessionView) -> str:
    """What is known of a call's session, for the metrics.

    >>> seen_as(SessionView()), seen_as(SessionView(turn=3, is_lost=True))
    ('new', 'lost')
    """
    if session.is_lost:
        return "lost"
    return "known" if session.turn else "new"


def explored_as(decision: Decision) -> str:
    """Whether a decision explored, for the metrics: "on", or why not."""
    if decision.policy == INCUMBENT:
        return INCUMBENT
    return decision.exploration.off or "on"


def stages_of(marks: Sequence[int]) -> dict[str, int]:
    """The stages between eight marks, and their total.

    >>> stages_of([0, 1, 1, 2, 4, 7, 11, 16])  # doctest: +NORMALIZE_WHITESPACE
    {'read': 1, 'wait': 0, 'admit': 1, 'parse': 2, 'features': 3, 'embed': 4, 'decide': 5,
     'total': 16}
    """
    stages = {name: marks[i + 1] - marks[i] for i, name in enumerate(STAGES[:-1])}
    return stages | {"total": marks[-1] - marks[0]}
