"""Reports outcomes to the router from a thread of its own, however long the router is away."""

import atexit
import logging
import random
import threading
import time
from collections import deque
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from router_model.types import Outcome
from router_serving.gateways.settings import GatewaySettings

MAX_BATCH: Final = 100
TIMEOUT_S: Final = 10.0
FIRST_DELAY_S: Final = 0.25
LAST_DELAY_S: Final = 30.0
# What no further try will change: the outcome itself is wrong.
_HOPELESS: Final = (400, 413, 422)
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class _Waiting(Struct, frozen=True):
    tenant: str | None
    content: bytes


class OutcomeQueue:
    """Outcomes on their way; `put` never blocks, and never raises.

    Each is kept until the router has taken it: sending one again changes nothing there. Beyond
    `queue_outcomes` the oldest are dropped, and counted in the log.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._close_at: float | None = None
        self._is_away = False
        self.n_dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, outcome: Outcome, *, tenant: str | None) -> None:
        """Have an outcome sent."""
        item = _Waiting(tenant, _encode(outcome))
        with self._changed:
            if len(self._waiting) >= self._settings.queue_outcomes:
                self._waiting.popleft()
                self.n_dropped += 1
                if self.n_dropped % 1_000 == 1:
                    _log.error("outcomes.dropped n=%d", self.n_dropped)
            self._waiting.append(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outcomes", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify()

    def close(self) -> None:
        """Send what waits, for at most `flush_s` seconds."""
        with self._changed:
            self._close_at = time.monotonic() + self._settings.flush_s
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(self._settings.flush_s + 0.5)
        if self._waiting:
            _log.error("outcomes.lost n=%d", len(self._waiting))

    def _run(self) -> None:
        """Send batch after batch; after a failure wait longer and longer."""
        delay_s = 0.0
        with httpx.Client(
            base_url=self._settings.url,
            headers=self._settings.headers,
            timeout=TIMEOUT_S,
            trust_env=False,
        ) as http:
            while batch := self._next(delay_s):
                if self._is_done(http, batch):
                    self._take_out(batch)
                    delay_s = 0.0
                else:
                    delay_s = min(LAST_DELAY_S, max(FIRST_DELAY_S, delay_s * 2))

    def _next(self, delay_s: float) -> list[_Waiting]:
        """The next outcomes of one tenant, once the delay is over; none when it is to end."""
        until = time.monotonic() + delay_s * random.uniform(0.5, 1.0)
        with self._changed:
            while True:
                now = time.monotonic()
                if self._close_at is not None:
                    until = min(until, now + FIRST_DELAY_S) if delay_s else now
                    if now >= self._close_at or not self._waiting:
                        return []
                if self._waiting and now >= until:
                    return self._batch()
                self._changed.wait(until - now if now < until else None)

    def _batch(self) -> list[_Waiting]:
        first = self._waiting[0]
        batch: list[_Waiting] = []
        for item in self._waiting:
            if item.tenant != first.tenant or len(batch) == MAX_BATCH:
                break
            batch.append(item)
        return batch

    def _take_out(self, batch: list[_Waiting]) -> None:
        """Forget what was taken; the oldest of it may have been dropped meanwhile."""
        done = {id(item) for item in batch}
        with self._changed:
            while self._waiting and id(self._waiting[0]) in done:
                self._waiting.popleft()

    def _is_done(self, http: httpx.Client, batch: list[_Waiting]) -> bool:
        """Whether these need not be sent again: taken, or hopeless one by one."""
        status = self._post(http, batch)
        if status in _HOPELESS and len(batch) > 1:
            return all(self._is_done(http, [item]) for item in batch)
        if status in _HOPELESS:
            _log.error("outcome.refused status=%d", status)
        return status == 200 or status in _HOPELESS

    def _post(self, http: httpx.Client, batch: list[_Waiting]) -> int:
        """The status of the answer, 0 without one."""
        tenant = batch[0].tenant
        headers = {} if tenant is None else {"x-router-tenant": tenant}
        content = b"[" + b",".join(item.content for item in batch) + b"]"
        try:
            status = http.post("/outcomes", content=content, headers=headers).status_code
            said = f"status {status}"
        except httpx.HTTPError as error:
            status, said = 0, type(error).__name__
        is_away = status != 200 and status not in _HOPELESS
        if is_away != self._is_away:
            _log.warning("outcomes.%s n=%d %s", "waiting" if is_away else "going", len(self), said)
        self._is_away = is_away
        return status
