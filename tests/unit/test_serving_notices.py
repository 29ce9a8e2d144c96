import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from serving_process import wait_for
from structlog.testing import capture_logs
from webhook_receiver import Receiver, receiving

from router_serving.errors import LedgerError
from router_serving.ledger.notices import MAX_REMEMBERED, MAX_WAITING, Notices
from router_serving.ledger.webhook import Webhook


class Claimed:
    """Claims in memory, for all the processes of a test."""

    def __init__(self) -> None:
        self.untils: dict[str, float] = {}
        self.n_asked = 0
        self._lock = threading.Lock()

    def claim(self, notice: str, *, until_s: float) -> bool:
        with self._lock:
            self.n_asked += 1
            if self.untils.get(notice, 0.0) > time.time():
                return False
            self.untils[notice] = until_s
            return True


class Unavailable:
    def claim(self, notice: str, *, until_s: float) -> bool:
        raise LedgerError("ledger: can't be opened")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@contextmanager
def telling(
    claims: Claimed | Unavailable, receiver: Receiver | None = None, *, pause_s: float = 0.01
) -> Iterator[tuple[Notices, CollectorRegistry]]:
    registry = CollectorRegistry()
    webhook = None if receiver is None else Webhook(SecretStr(receiver.url), timeout_s=5.0)
    notices = Notices(claims, registry=registry, webhook=webhook, pauses_s=(pause_s, pause_s))
    notices.start()
    try:
        yield notices, registry
    finally:
        if receiver is not None:
            receiver.released.set()
        notices.close()


def tell(notices: Notices, once: str = "acme|2026-11", *, lasts_s: float = 3600.0) -> None:
    notices.tell(
        "budget.exhausted",
        subject="tenant:acme",
        once=once,
        until_s=time.time() + lasts_s,
        cap_usd=10.0,
        period="month",
    )


def n_told(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("router_notices_total", {"kind": "budget.exhausted"}) or 0.0


def test_a_notice_is_logged_counted_and_posted() -> None:
    with receiving() as receiver, capture_logs() as logs:
        with telling(Claimed(), receiver) as (notices, registry):
            tell(notices)
        assert n_told(registry) == 1
    (body,) = receiver.bodies
    at = body.pop("at")
    assert time.strptime(at, "%Y-%m-%dT%H:%M:%SZ")
    assert body == {
        "kind": "budget.exhausted",
        "subject": "tenant:acme",
        "text": "tenant:acme has used up its budget (cap usd 10.0, period month).",
        "cap_usd": 10.0,
        "period": "month",
    }
    assert logs == [
        {
            "event": "budget.exhausted",
            "subject": "tenant:acme",
            "cap_usd": 10.0,
            "period": "month",
            "log_level": "warning",
        }
    ]


def test_a_notice_is_told_once_by_all_processes_together() -> None:
    claims = Claimed()
    with receiving() as receiver:
        with (
            telling(claims, receiver) as (one, counted_one),
            telling(claims, receiver) as (other, counted_other),
        ):
            for _ in range(50):
                tell(one)
                tell(other)
        assert len(receiver.bodies) == 1
    assert n_told(counted_one) + n_told(counted_other) == 1
    assert claims.n_asked == 2  # each process asked once, and remembered


def test_a_notice_is_told_again_once_its_time_is_over() -> None:
    with telling(Claimed()) as (notices, registry):
        tell(notices, lasts_s=-1.0)
        tell(notices, lasts_s=-1.0)
    assert n_told(registry) == 2


def test_a_notice_is_told_although_the_ledger_cannot_be_asked() -> None:
    with receiving() as receiver, telling(Unavailable(), receiver) as (notices, registry):
        tell(notices)
        tell(notices)
        wait_for(lambda: len(receiver.bodies) == 1)
    assert n_told(registry) == 1


def test_a_receiver_that_fails_twice_gets_it_at_the_third_try() -> None:
    with receiving(503, 500, 200) as receiver, telling(Claimed(), receiver) as (notices, registry):
        tell(notices)
        wait_for(lambda: len(receiver.bodies) == 3)
    assert registry.get_sample_value("router_notices_undelivered_total") == 0


@pytest.mark.parametrize(("status", "n_tries"), [(503, 3), (404, 1), (302, 1)])
def test_what_is_not_taken_is_counted_and_logged_without_the_address(
    status: int, n_tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def n_undelivered() -> float | None:
        return registry.get_sample_value("router_notices_undelivered_total")

    with (
        capture_logs() as logs,
        receiving(status) as receiver,
        telling(Claimed(), receiver) as (notices, registry),
    ):
        tell(notices)
        wait_for(lambda: n_undelivered() == 1)
    assert len(receiver.paths) == n_tries
    assert logs[-1]["event"] == "notice.undelivered"
    assert logs[-1]["error"] == f"answered {status}"
    assert "secret" not in str(logs) + caplog.text


def test_what_finds_the_queue_full_is_counted_and_told_later_when_told_again() -> None:
    def n_dropped() -> float | None:
        return registry.get_sample_value("router_notices_dropped_total")

    with receiving() as receiver, telling(Claimed(), receiver) as (notices, registry):
        receiver.released.clear()
        tell(notices, "first")
        wait_for(lambda: len(receiver.paths) == 1)
        for index in range(MAX_WAITING + 5):
            tell(notices, f"n{index}")
        assert n_dropped() == 5
        receiver.released.set()
        wait_for(lambda: len(receiver.bodies) == MAX_WAITING + 1)
        tell(notices, f"n{MAX_WAITING}")
        wait_for(lambda: len(receiver.bodies) == MAX_WAITING + 2)
        assert n_dropped() == 5


def test_what_waits_is_sent_at_the_end_and_nothing_after_it() -> None:
    with receiving() as receiver:
        with telling(Claimed(), receiver) as (notices, registry):
            for index in range(20):
                tell(notices, f"n{index}")
        assert len(receiver.bodies) == 20
        tell(notices, "late")
    assert registry.get_sample_value("router_notices_dropped_total") == 1


def test_the_end_does_not_wait_for_a_receiver_that_hangs() -> None:
    with receiving() as receiver:
        receiver.released.clear()
        registry = CollectorRegistry()
        notices = Notices(
            Claimed(), registry=registry, webhook=Webhook(SecretStr(receiver.url), timeout_s=20.0)
        )
        notices.start()
        for index in range(4):
            tell(notices, f"n{index}")
        wait_for(lambda: len(receiver.paths) == 1)
        notices.close()
        assert registry.get_sample_value("router_notices_dropped_total") == 3
        assert len(receiver.paths) == 1


def test_only_so_many_keys_are_remembered_and_the_claim_stands_for_the_others() -> None:
    claims = Claimed()
    with telling(claims) as (notices, registry):
        tell(notices, "first")
        wait_for(lambda: n_told(registry) == 1)
        for index in range(MAX_REMEMBERED):
            notices._remember(f"n{index}", time.time() + 60)
        tell(notices, "first")
        wait_for(lambda: claims.n_asked == 2)
    assert n_told(registry) == 1
