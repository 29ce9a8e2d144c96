"""What every store of the ledger owes beside money: switches, claimed notices, counts and paces."""

import time

from ledger_stores import NOW, Process

from router_serving.ledger.types import Count, Pace, Switch

HOUR_S = 3600.0
WEEK_S = 7 * 24 * HOUR_S


def test_a_switch_is_seen_by_every_process_at_once(a: Process, b: Process) -> None:
    stop = Switch(subject="tenant:acme", reason="spends 12x the usual", since_s=NOW)
    assert list(b.store.switches()) == []
    a.store.switch_on(stop)
    assert list(b.store.switches()) == [stop]
    again = Switch(subject="tenant:acme", reason="by hand", since_s=NOW + 1)
    a.store.switch_on(again)
    assert list(b.store.switches()) == [again]
    assert b.store.switch_off("tenant:acme")
    assert not a.store.switch_off("tenant:acme")
    assert list(a.store.switches()) == []


def test_a_notice_is_claimed_once_until_its_time(a: Process, b: Process) -> None:
    until_s = time.time() + 1000
    assert a.store.claim("80% of day", until_s=until_s)
    assert not b.store.claim("80% of day", until_s=until_s + 1000)
    assert b.store.claim("90% of day", until_s=until_s)
    assert a.store.claim("gone", until_s=time.time() - 10)
    assert b.store.claim("gone", until_s=until_s)
    assert not a.store.claim("gone", until_s=until_s)


def counted(at: float, calls: int, microusd: int = 0) -> Count:
    return Count(subject="key:acme/ci", minute=int(at // 60), calls=calls, microusd=microusd)


def test_counts_add_up_over_processes(a: Process, b: Process) -> None:
    a.say(counts=(counted(NOW, 2, 10), counted(NOW, 3, 20)))
    b.say(counts=(counted(NOW, 5, 30),))
    assert a.store.pace("key:acme/ci", now_s=NOW + 30) == Pace(
        calls=10, microusd=60, usual_calls=0.0, usual_microusd=0.0, n_weeks=0
    )
    assert a.store.pace("key:acme/other", now_s=NOW + 30).calls == 0


def test_the_last_minute_slides(a: Process) -> None:
    a.say(counts=(counted(NOW - 60, 10, 101), counted(NOW, 4, 7), counted(NOW - 120, 50)))
    assert a.store.pace("key:acme/ci", now_s=NOW).calls == 14
    pace = a.store.pace("key:acme/ci", now_s=NOW + 30)
    assert (pace.calls, pace.microusd) == (4 + 5, 7 + 50)
    assert a.store.pace("key:acme/ci", now_s=NOW + 60).calls == 4
    assert a.store.pace("key:acme/ci", now_s=NOW + 120).calls == 0


def test_the_usual_pace_is_that_of_the_same_hour_of_earlier_weeks(a: Process) -> None:
    for weeks_ago, calls in ((1, 60), (3, 120), (8, 600), (9, 6000)):
        at = NOW - weeks_ago * WEEK_S
        a.say(at=at, counts=(counted(at, calls - 20, 10 * calls), counted(at + 600, 20)))
    a.say(counts=(counted(NOW, 7, 7), counted(NOW - HOUR_S, 999), counted(NOW + HOUR_S, 999)))
    assert a.store.pace("key:acme/ci", now_s=NOW + 30) == Pace(
        calls=7, microusd=7, usual_calls=(1 + 2 + 10) / 3, usual_microusd=130 / 3, n_weeks=3
    )
