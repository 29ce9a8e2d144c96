import threading

from router_serving.ledger.paces import ACTIVE_S, Paces
from router_serving.ledger.types import Count

NOW = 1_800_000_030.0
MINUTE = 30_000_000


def test_what_was_counted_is_drained_once_by_subject_and_for_all() -> None:
    paces = Paces()
    paces.called("tenant:acme")
    paces.called("tenant:acme")
    paces.called("tenant:other")
    paces.spent("tenant:acme", 700)
    assert paces.drain(NOW) == (
        Count(subject="all", minute=MINUTE, calls=3, microusd=700),
        Count(subject="tenant:acme", minute=MINUTE, calls=2, microusd=700),
        Count(subject="tenant:other", minute=MINUTE, calls=1),
    )
    assert paces.drain(NOW) == ()


def test_what_counts_for_all_counts_once() -> None:
    paces = Paces()
    paces.called("all")
    assert paces.drain(NOW) == (Count(subject="all", minute=MINUTE, calls=1),)


def test_a_bill_that_is_corrected_downwards_counts_nothing() -> None:
    paces = Paces()
    paces.spent("tenant:acme", 0)
    paces.spent("tenant:acme", -5)
    assert paces.drain(NOW) == ()


def test_names_that_callers_make_up_are_counted_for_all_alone_once_they_are_many() -> None:
    paces = Paces(max_subjects=3)
    for index in range(3):
        paces.called(f"tenant:{index}")
    paces.drain(NOW)
    for index in range(100):
        paces.called(f"tenant:{index}")
    found = {count.subject: count.calls for count in paces.drain(NOW + 1)}
    assert found == {"all": 100, "tenant:0": 1, "tenant:1": 1, "tenant:2": 1}


def test_the_subjects_of_the_last_two_minutes_are_active() -> None:
    paces = Paces(max_subjects=2)
    paces.called("tenant:early")
    paces.drain(NOW)
    paces.called("tenant:late")
    paces.drain(NOW + ACTIVE_S)
    assert set(paces.active()) == {"all", "tenant:early", "tenant:late"}
    paces.drain(NOW + ACTIVE_S + 1)
    assert set(paces.active()) == {"all", "tenant:late"}
    paces.called("tenant:new")  # there is room again
    assert "tenant:new" in {count.subject for count in paces.drain(NOW + ACTIVE_S + 1)}


def test_no_call_is_lost_between_threads() -> None:
    paces = Paces()

    def call() -> None:
        for _ in range(5000):
            paces.called("tenant:acme")

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    n_calls = 0
    while any(thread.is_alive() for thread in threads):
        n_calls += sum(c.calls for c in paces.drain(NOW) if c.subject == "all")
    n_calls += sum(c.calls for c in paces.drain(NOW) if c.subject == "all")
    assert n_calls == 20_000
