"""Reports how the attempts of LiteLLM's calls went, off the way of the calls."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from router_model.outline import outline_of
from router_model.session import session_id
from router_model.types import Outcome, Request
from router_serving.gateways import litellm_outcome as outcomes
from router_serving.gateways.errors import where
from router_serving.gateways.litellm_calls import Call
from router_serving.gateways.outcome_queue import OutcomeQueue
from router_serving.gateways.settings import GatewaySettings
from router_serving.hooks.retries import Retries

_log = logging.getLogger(__name__)


class Reports:
    """Each attempt is reported once: by the first that tells of its end.

    Answers are read by one thread of its own: a long request would hold up other calls.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._queue = OutcomeQueue(settings)
        self._retries = Retries()
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="router-outcomes")

    def answered(
        self, call: Call, *, logged: Mapping[str, Any], response: Any, ended: datetime
    ) -> None:
        """The attempt under way was answered; `logged` is LiteLLM's standard logging payload."""
        number, attempt = call.current()
        if attempt.is_reported:
            return
        attempt.is_reported = True
        attempt.group = logged.get("model_group") or attempt.group

        def report() -> None:
            outcome, request = outcomes.answered(
                call, number, attempt, logged=logged, response=response, ended=ended
            )
            self._queue.put(outcome, tenant=call.tenant)
            if request is not None:
                self._notice_retry(call, outcome, request, now_s=ended.timestamp())

        self._later(report)

    def failed(self, call: Call, error: BaseException) -> None:
        """The attempt under way failed."""
        number, attempt = call.current()
        if attempt.is_reported:
            return
        attempt.is_reported = True
        outcome = outcomes.failed(call, number, attempt, error)
        self._later(lambda: self._queue.put(outcome, tenant=call.tenant))

    def _notice_retry(
        self, call: Call, outcome: Outcome, request: Request, *, now_s: float
    ) -> None:
        session = session_id(outline_of(request), call.headers, call.caller)
        earlier = self._retries.reported(
            outcome, request, session=f"{call.tenant}/{session}", now_s=now_s
        )
        if earlier is not None:
            self._queue.put(earlier, tenant=call.tenant)

    def _later(self, report: Callable[[], None]) -> None:
        self._reading.submit(_guarded, report)


def _guarded(report: Callable[[], None]) -> None:
    try:
        report()
    except Exception as error:  # noqa: BLE001  # LiteLLM's objects may be anything
        _log.error("outcome.not_reported error=%s", where(error))
