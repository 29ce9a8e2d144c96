"""From counts in a real ledger to one POST at a real receiver, with two processes that look."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ledger_stores import HOLD_S, LEDGERS, Opener
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from serving_process import wait_for
from webhook_receiver import Receiver, receiving

from router_model.types import Caller
from router_serving.ledger.notices import Notices
from router_serving.ledger.pace_alarm import PaceAlarm, PaceRule
from router_serving.ledger.paces import Paces
from router_serving.ledger.switches import Switches
from router_serving.ledger.types import Batch, Count, Switch
from router_serving.ledger.webhook import Webhook

WEEK_S = 7 * 86_400.0
# In the hour after the present one: what is told of it is claimed until long after the test.
NOW = (time.time() // 3600 + 1) * 3600 + 1800.0


class Serving:
    """What one process has of the ledger, as far as alarms and switches go."""

    def __init__(self, opener: Opener, receiver: Receiver, name: str) -> None:
        self.name, self.number = name, 0
        self.store = opener()
        self.registry = CollectorRegistry()
        self.notices = Notices(
            self.store, registry=self.registry, webhook=Webhook(SecretStr(receiver.url))
        )
        self.notices.start()
        self.paces = Paces()
        self.switches = Switches(notices=self.notices)
        self.alarm = PaceAlarm(
            self.store,
            active=self.paces.active,
            notices=self.notices,
            registry=self.registry,
            rule=PaceRule(),
        )

    def serve(self, subject: str, *, calls: int, microusd: int, at: float = NOW) -> None:
        """Count calls and what they cost, and look."""
        for _ in range(calls):
            self.paces.called(subject)
            self.paces.spent(subject, microusd)
        self.commit(*self.paces.drain(at), at=at)
        self.alarm.look(at)

    def commit(self, *counts: Count, at: float) -> None:
        self.number += 1
        self.store.commit(
            Batch(worker=self.name, now_s=at, hold_s=HOLD_S, number=self.number, counts=counts)
        )

    def told(self, kind: str) -> float:
        return self.registry.get_sample_value("router_notices_total", {"kind": kind}) or 0.0


@pytest.fixture(params=sorted(LEDGERS))
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    with LEDGERS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with receiving() as found:
        yield found


@pytest.fixture
def two(opener: Opener, receiver: Receiver) -> Iterator[tuple[Serving, Serving]]:
    with ExitStack() as stack:
        both = Serving(opener, receiver, "a"), Serving(opener, receiver, "b")
        for serving in both:
            stack.callback(serving.notices.close)
        yield both


def with_history(serving: Serving, *, calls_per_minute: int, microusd_per_minute: int) -> None:
    """Four earlier weeks in which acme, and so all together, did so much in this very hour."""
    for weeks in range(4, 0, -1):
        at = NOW - weeks * WEEK_S
        hour = int(at // 3600) * 60
        counts = (
            Count(
                subject=subject,
                minute=hour + minute,
                calls=calls_per_minute,
                microusd=microusd_per_minute,
            )
            for subject in ("all", "tenant:acme")
            for minute in range(60)
        )
        serving.commit(*counts, at=at)


def test_a_leap_of_calls_is_posted_once_although_two_processes_see_it(
    two: tuple[Serving, Serving], receiver: Receiver
) -> None:
    one, other = two
    with_history(one, calls_per_minute=5, microusd_per_minute=50_000)
    # 25 calls in each are no leap for one process: 50 in a minute are 10 x 5, and no more.
    one.serve("tenant:acme", calls=25, microusd=1000)
    other.serve("tenant:acme", calls=25, microusd=1000)
    for serving in two:
        serving.alarm.look(NOW + 1)
    other.serve("tenant:acme", calls=1, microusd=1000, at=NOW + 2)
    for _ in range(3):
        for serving in two:
            serving.alarm.look(NOW + 3)
    wait_for(lambda: len(receiver.bodies) == 2)
    for serving in two:
        serving.notices.close()
    found = {body["subject"]: body for body in receiver.bodies}
    assert receiver.kinds() == ["calls.anomaly"] * 2
    assert set(found) == {"all", "tenant:acme"}
    assert found["tenant:acme"]["calls_last_minute"] == 51
    assert found["tenant:acme"]["usual_calls_per_minute"] == 5.0
    assert found["tenant:acme"]["text"].startswith(
        "tenant:acme calls far more often than usual at this hour (calls last minute 51, "
    )
    assert one.told("calls.anomaly") + other.told("calls.anomaly") == 2


def test_a_leap_of_spending_is_told_of_the_tenant_that_spends(
    two: tuple[Serving, Serving], receiver: Receiver
) -> None:
    one, other = two
    with_history(one, calls_per_minute=100, microusd_per_minute=100_000)
    one.serve("tenant:acme", calls=10, microusd=100_100)  # $1.001 where $0.10 is usual
    other.serve("tenant:new", calls=10, microusd=100)  # has no baseline
    wait_for(lambda: len(receiver.bodies) == 2)
    for serving in two:
        serving.notices.close()
    found = {(body["kind"], body["subject"]) for body in receiver.bodies}
    assert found == {("spend.anomaly", "all"), ("spend.anomaly", "tenant:acme")}
    (acme,) = (body for body in receiver.bodies if body["subject"] == "tenant:acme")
    assert acme["usd_last_minute"] == pytest.approx(1.001)


def test_a_switch_reaches_every_process_and_is_told_once(
    two: tuple[Serving, Serving], receiver: Receiver
) -> None:
    kim = Caller(tenant="acme", user="kim")
    switch = Switch(subject="tenant:acme", reason="a loop", since_s=time.time())
    two[0].store.switch_on(switch)
    for serving in two:
        serving.switches.refresh(serving.store)
        assert serving.switches.stopped_by(kim) == switch
    wait_for(lambda: receiver.kinds() == ["switch.on"])
    assert receiver.bodies[0]["reason"] == "a loop"
    assert receiver.bodies[0]["text"].startswith("tenant:acme was stopped by a kill switch")
    assert two[1].store.switch_off("tenant:acme")
    for serving in two:
        serving.switches.refresh(serving.store)
        assert serving.switches.stopped_by(kim) is None
        serving.notices.close()
    assert receiver.kinds() == ["switch.on", "switch.off"]


def test_a_switch_holds_after_a_restart_and_is_not_told_again(
    opener: Opener, receiver: Receiver, two: tuple[Serving, Serving]
) -> None:
    switch = Switch(subject="all", reason="a loop", since_s=time.time())
    two[0].store.switch_on(switch)
    two[0].switches.refresh(two[0].store)
    wait_for(lambda: len(receiver.bodies) == 1)
    again = Serving(opener, receiver, "c")
    again.switches.refresh(again.store)
    assert again.switches.stopped_by(Caller()) == switch
    again.notices.close()
    assert receiver.kinds() == ["switch.on"]
