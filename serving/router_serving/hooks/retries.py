"""Notices, when answers are reported, that a later call asked the same again."""

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from router_model.answers import Steps
from router_model.types import Outcome, Request

MAX_STEPS: Final = 10_000


class _Ended(Struct, frozen=True, gc=False):
    model: str
    attempt: int
    at_s: float


class Retries:
    """The steps whose answers were reported last, as far as this process was told."""

    def __init__(self, max_steps: int = MAX_STEPS) -> None:
        self._max_steps = max_steps
        self._steps = Steps(max_steps=max_steps)
        self._ended: OrderedDict[str, _Ended] = OrderedDict()

    def reported(
        self, outcome: Outcome, request: Request, *, session: str, now_s: float
    ) -> Outcome | None:
        """What is to be said of an earlier decision, now that a later one has been answered.

        None for a step that was not asked before, or that both asked at the same time: the call
        began its latency before `now_s`, in seconds of any clock. Without one nobody knows.
        """
        decision_id = outcome.decision_id
        earlier = self._steps.asked(request, session=session, decision_id=decision_id, now=now_s)
        self._steps.ended(decision_id)
        ended = None if earlier is None else self._ended.get(earlier)
        self._ended[decision_id] = _Ended(outcome.model, outcome.attempt, now_s)
        if len(self._ended) > self._max_steps:
            self._ended.popitem(last=False)
        if earlier is None or ended is None or outcome.latency_ms is None:
            return None
        if ended.at_s > now_s - outcome.latency_ms / 1000:
            return None
        return Outcome(
            decision_id=earlier,
            model=ended.model,
            attempt=ended.attempt,
            signals={"retried": True},
        )
