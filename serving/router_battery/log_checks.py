"""Compares what callers were told with what the log holds."""

from pathlib import Path

from msgspec import Struct

from router_battery.traffic import Memory
from router_data.log import verify
from router_data.store import Store


class LogCheck(Struct, frozen=True, kw_only=True):
    """Counts that should be zero, the first two always, the third after an orderly end."""

    outcomes_lost: int
    rows_twice: int
    decisions_lost: int
    corrupt_lines: int
    n_outcomes: int
    n_decisions: int


def check_log(state: Path, memory: Memory) -> LogCheck:
    """Every acknowledged outcome with its own number, every key once, every answered decision."""
    with Store(state / "log") as store:
        outcomes = store.query("select decision_id, attempt, latency_ms from outcomes")
        decisions = store.query("select decision_id, model from decisions")
    reported = {row["decision_id"]: row["latency_ms"] for row in outcomes}
    decided = {row["decision_id"]: row["model"] for row in decisions}
    corrupt = verify(state / "log").corrupt
    return LogCheck(
        outcomes_lost=sum(
            reported.get(decision_id) != number
            for decision_id, number in memory.acknowledged.items()
        ),
        rows_twice=len(outcomes) - len(reported) + len(decisions) - len(decided),
        decisions_lost=sum(
            decided.get(decision_id) != told.model for decision_id, told in memory.answered.items()
        ),
        corrupt_lines=sum(len(lines) for lines in corrupt.values()),
        n_outcomes=len(outcomes),
        n_decisions=len(decisions),
    )
