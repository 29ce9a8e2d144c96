"""What a router's answer means, and when one that is away is left alone; without any network."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from router_serving.gateways.errors import RefusedError, UnavailableError

MAX_FAILURES: Final = 3
"""Failures in a row after which the router is left alone for a while."""
REFUSALS: Final = ("no_admissible_model", "limit_exceeded")
_PASSED_ON: Final = ("retry-after", "x-should-retry")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Any])
_log = logging.getLogger(__name__)

T = TypeVar("T")


class Reply(Struct, frozen=True):
    """What came back from the router."""

    status: int
    content: bytes
    headers: Mapping[str, str]

    def members(self) -> Mapping[str, Any]:
        """The members of its JSON object, none where it holds something else."""
        try:
            return _MEMBERS.decode(self.content)
        except msgspec.MsgspecError:
            return {}


class Exchange:
    """Reads replies, and counts failures in a row.

    After `MAX_FAILURES` of them nothing is asked for `pause_s`; then one call tries.
    """

    def __init__(self, *, pause_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_s = pause_s
        self._clock = clock
        self._n_failures = 0
        self._paused_until = 0.0

    def check_pause(self) -> None:
        """Raise UnavailableError while the router is left alone."""
        if self._n_failures < MAX_FAILURES:
            return
        now = self._clock()
        if now < self._paused_until:
            raise UnavailableError("paused")
        self._paused_until = now + self._pause_s

    def failed(self, error: UnavailableError) -> UnavailableError:
        """The same error, counted."""
        self._n_failures += 1
        if self._n_failures <= MAX_FAILURES:
            _log.warning("router.unavailable reason=%s", error.reason)
        self._paused_until = self._clock() + self._pause_s
        return error

    def decision_in(self, reply: Reply, decoder: msgspec.json.Decoder[T]) -> T:
        """The decision of a reply.

        Raises RefusedError where the router says no, UnavailableError where it says anything else.
        """
        if reply.status >= 500:
            raise self.failed(UnavailableError(f"status_{reply.status}"))
        if self._n_failures:
            _log.warning("router.back after=%d", self._n_failures)
        self._n_failures = 0
        if reply.status == 200:
            try:
                return decoder.decode(reply.content)
            except msgspec.MsgspecError:
                raise UnavailableError("odd_answer") from None
        problem = reply.members()
        if (code := problem.get("code")) in REFUSALS:
            told = {name: reply.headers[name] for name in _PASSED_ON if name in reply.headers}
            raise RefusedError(reply.status, problem, headers=told)
        _log.error("router.refused status=%d code=%.100s", reply.status, code)
        raise UnavailableError(f"status_{reply.status}")
