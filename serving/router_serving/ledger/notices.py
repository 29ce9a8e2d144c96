"""The one way to tell operators: a log line, a counter, and a POST to their webhook.

A notice is told once for each `once` key, by whichever process claims it first. Everything that
may wait (the claim, the POST) happens in a thread of its own behind a bounded queue, so that a
receiver that is slow or gone delays no decision; what finds the queue full is counted and lost.
"""

import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

import orjson
import structlog
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter

from router_serving.errors import LedgerError
from router_serving.ledger.webhook import DeliveryError, Webhook

Kind = Literal[
    "budget.soft_cap_reached",
    "budget.exhausted",
    "budget.overrun",
    "spend.anomaly",
    "calls.anomaly",
    "switch.on",
    "switch.off",
]
Field = str | int | float | bool | None

MAX_WAITING: Final = 256
# Keys that this process need not ask the store about again: a spent budget refuses every call.
MAX_REMEMBERED: Final = 10_000
PAUSES_S: Final = (0.5, 2.0)
FLUSH_S: Final = 2.0
_SAID: Final[Mapping[Kind, str]] = {
    "budget.soft_cap_reached": "reached the soft cap of its budget",
    "budget.exhausted": "has used up its budget",
    "budget.overrun": "was billed more than what was reserved",
    "spend.anomaly": "spends far more than usual at this hour",
    "calls.anomaly": "calls far more often than usual at this hour",
    "switch.on": "was stopped by a kill switch",
    "switch.off": "may go on: the kill switch is off",
}
_log = structlog.get_logger(__name__)


class Claims(Protocol):
    """What decides, for all processes, who tells a notice (a ledger store)."""

    def claim(self, notice: str, *, until_s: float) -> bool:
        """True for the first to claim a notice, until a time."""


class Notice(Struct, frozen=True, kw_only=True):
    """Something that an operator has to know."""

    kind: Kind
    subject: str
    once: str
    until_s: float
    at_s: float
    fields: Mapping[str, Field]


class Notices:
    """Tells notices; `start` before the first is sent, `close` at the end.

    A claim comes before its POST: a process that dies in between loses the POST, and nothing is
    ever told twice. While the store can't be asked, each process tells by itself.
    """

    def __init__(
        self,
        claims: Claims,
        *,
        registry: CollectorRegistry,
        webhook: Webhook | None = None,
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        self._claims = claims
        self._webhook = webhook
        self._pauses_s = pauses_s
        self._waiting: queue.Queue[Notice | None] = queue.Queue(MAX_WAITING)
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self._notices = Counter(
            "router_notices", "Notices to operators, by kind", ["kind"], registry=registry
        )
        self._dropped = Counter(
            "router_notices_dropped", "Notices lost because too many waited", registry=registry
        )
        self._undelivered = Counter(
            "router_notices_undelivered", "Notices that the webhook did not take", registry=registry
        )

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def tell(self, kind: Kind, *, subject: str, once: str, until_s: float, **fields: Field) -> None:
        """Tell a notice, unless one with the key `once` was told and `until_s` is not over.

        Returns at once and never raises; any thread may call it.
        """
        at_s = time.time()
        notice = Notice(
            kind=kind, subject=subject, once=once, until_s=until_s, at_s=at_s, fields=fields
        )
        with self._lock:
            if self._told.get(once, 0.0) > at_s:
                return
            if self._put(notice):
                self._remember(once, until_s)
            else:
                self._dropped.inc()

    def close(self) -> None:
        """Send what waits, for about two seconds; what is left then is counted as dropped."""
        deadline = time.monotonic() + FLUSH_S
        with self._lock:
            self._closing.set()
        if self._thread.is_alive():
            with suppress(queue.Full):
                self._waiting.put(None, timeout=FLUSH_S)
            self._thread.join(max(0.0, deadline - time.monotonic()))
        if n_left := sum(left is not None for left in _drained(self._waiting)):
            self._dropped.inc(n_left)
            _log.warning("notices.dropped", notices=n_left)
        self._waiting.put(None)  # the thread ends when its present POST does

    def _put(self, notice: Notice) -> bool:
        if self._closing.is_set():
            return False
        try:
            self._waiting.put_nowait(notice)
        except queue.Full:
            return False
        return True

    def _remember(self, once: str, until_s: float) -> None:
        self._told.pop(once, None)  # to the end, as the newest
        self._told[once] = until_s
        if len(self._told) > MAX_REMEMBERED:
            del self._told[next(iter(self._told))]

    def _run(self) -> None:
        while (notice := self._waiting.get()) is not None:
            try:
                if self._is_first(notice):
                    self._send(notice)
            except Exception as error:  # noqa: BLE001  # one notice must not end the telling
                self._undelivered.inc()
                # The class alone: a text from below might hold the address.
                _log.error("notice.failed", kind=notice.kind, error=type(error).__name__)

    def _is_first(self, notice: Notice) -> bool:
        try:
            return self._claims.claim(notice.once, until_s=notice.until_s)
        except LedgerError:
            return True  # told twice is better than not at all

    def _send(self, notice: Notice) -> None:
        self._notices.labels(notice.kind).inc()
        log = _log.info if notice.kind == "switch.off" else _log.warning
        log(notice.kind, subject=notice.subject, **notice.fields)
        if self._webhook is None:
            return
        body = body_of(notice)
        for pause_s in (*self._pauses_s, None):
            try:
                self._webhook.post(body)
                return
            except DeliveryError as error:
                is_last = pause_s is None or not error.is_transient
                if is_last or self._closing.wait(pause_s):
                    self._undelivered.inc()
                    _log.error("notice.undelivered", kind=notice.kind, error=str(error))
                    return


def body_of(notice: Notice) -> bytes:
    """The JSON of a notice: kind, subject, at, text, and its own fields."""
    at = datetime.fromtimestamp(notice.at_s, UTC).isoformat(timespec="seconds")
    content = {
        **notice.fields,
        "kind": notice.kind,
        "subject": notice.subject,
        "at": at.replace("+00:00", "Z"),
        "text": text_of(notice),
    }
    return orjson.dumps(content)


def text_of(notice: Notice) -> str:
    """One plain sentence, as chats show it.

    Names and reasons come from others: the marks that chats read as links and mentions are escaped.

    >>> text_of(Notice(kind="budget.exhausted", subject="user:acme/<!here>", once="", until_s=0.0,
    ...                at_s=0.0, fields={"cap_usd": 10.0, "period": "day"}))
    'user:acme/&lt;!here&gt; has used up its budget (cap usd 10.0, period day).'
    """
    subject = "everybody" if notice.subject == "all" else notice.subject
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in notice.fields.items())
    text = f"{subject} {_SAID[notice.kind]}" + (f" ({shown})." if shown else ".")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _drained(waiting: queue.Queue[Notice | None]) -> list[Notice | None]:
    found = []
    while True:
        try:
            found.append(waiting.get_nowait())
        except queue.Empty:
            return found
