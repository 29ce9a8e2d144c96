from msgspec import structs

from router_serving.ledger.escrow import DRY_S, IDLE_S, Escrow
from router_serving.ledger.types import Account, Charge

DAY = Account(key="day", unit="microusd", cap=6_400, ends_s=1e10)
CALLS = Account(key="calls", unit="requests", cap=64, ends_s=1e10)


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def escrow(clock: Clock | None = None) -> Escrow:
    clock = clock or Clock()
    kept = Escrow(share=1 / 64, clock=clock, wall=clock)
    kept.alive(until_s=clock.now_s + 900)
    return kept


def leased(kept: Escrow, account: Account, amount: int) -> None:
    grants = kept.missing([Charge(account, amount)])
    kept.granted(grants, [grant.amount for grant in grants])


def test_all_charges_are_taken_or_none() -> None:
    kept = escrow()
    leased(kept, DAY, 500)
    assert not kept.take([Charge(DAY, 400), Charge(CALLS, 1)])
    assert kept.free(DAY) == 500
    leased(kept, CALLS, 1)
    assert kept.take([Charge(DAY, 400), Charge(CALLS, 1)])
    assert (kept.free(DAY), kept.free(CALLS)) == (100, 0)


def test_a_piece_of_the_cap_is_leased_at_once_or_what_the_call_needs() -> None:
    kept = escrow()
    assert [grant.amount for grant in kept.missing([Charge(DAY, 1)])] == [100]
    assert [grant.amount for grant in kept.missing([Charge(DAY, 5_000)])] == [5_000]
    leased(kept, DAY, 100)
    assert kept.missing([Charge(DAY, 100)]) == ()
    assert [grant.amount for grant in kept.missing([Charge(DAY, 300)])] == [200]


def test_an_account_that_gave_less_than_was_asked_is_dry_for_a_moment() -> None:
    clock = Clock()
    kept = escrow(clock)
    kept.granted(kept.missing([Charge(DAY, 100)]), [40])
    assert (kept.free(DAY), kept.is_dry(DAY)) == (40, True)
    clock.now_s += DRY_S
    assert not kept.is_dry(DAY)
    kept.granted(kept.missing([Charge(DAY, 100)]), [0])
    kept.refilled()
    assert not kept.is_dry(DAY)


def test_more_is_asked_for_ahead_once_and_only_of_caps_with_room_for_it() -> None:
    kept = escrow()
    leased(kept, DAY, 100)
    assert kept.ahead([Charge(DAY, 1)]) == ()
    assert kept.take([Charge(DAY, 60)])
    (grant,) = kept.ahead([Charge(DAY, 60)])
    assert kept.ahead([Charge(DAY, 60)]) == ()
    kept.granted([grant], [100])
    assert kept.free(DAY) == 140
    assert kept.ahead([Charge(CALLS, 1)]) == ()


def test_what_is_idle_or_wanted_goes_back_and_is_not_free_any_more() -> None:
    clock = Clock()
    kept = escrow(clock)
    leased(kept, DAY, 100)
    leased(kept, CALLS, 3)
    assert kept.surplus() == []
    assert kept.surplus(wanted=frozenset({"calls"})) == [Charge(CALLS, 3)]
    assert kept.free(CALLS) == 0
    clock.now_s += IDLE_S + 1
    assert kept.surplus() == [Charge(DAY, 100)]
    assert not kept.take([Charge(DAY, 1)])
    clock.now_s += IDLE_S + 1
    kept.surplus()
    assert len(kept) == 0


def test_at_the_end_everything_goes_back_and_after_a_failure_nothing() -> None:
    kept = escrow()
    leased(kept, DAY, 100)
    assert kept.surplus(all_of_it=True) == [Charge(DAY, 100)]
    leased(kept, DAY, 100)
    kept.forget()
    assert (kept.free(DAY), kept.surplus(all_of_it=True)) == (0, [])


def test_a_lease_that_has_lapsed_is_not_given_away() -> None:
    clock = Clock()
    kept = escrow(clock)
    leased(kept, DAY, 100)
    clock.now_s += 899
    assert kept.take([Charge(DAY, 10)])
    clock.now_s += 1
    assert not kept.take([Charge(DAY, 10)])
    assert kept.free(DAY) == 0


def test_what_was_leased_under_another_cap_is_not_given_away_any_more() -> None:
    kept = escrow()
    leased(kept, DAY, 500)
    ahead = kept.ahead([Charge(DAY, 0)]) or kept.missing([Charge(DAY, 600)])
    lowered = structs.replace(DAY, cap=640)
    assert not kept.take([Charge(lowered, 10)])
    assert kept.free(lowered) == 0
    kept.granted(ahead, [100])  # asked for before
    kept.put_back([Charge(DAY, 7)])
    assert sum(charge.amount for charge in kept.outdated()) == 607
    assert kept.outdated() == []
    leased(kept, lowered, 10)
    assert kept.take([Charge(lowered, 10)])


def test_what_was_asked_for_ahead_in_vain_is_asked_for_again_and_then_forgotten() -> None:
    clock = Clock()
    kept = escrow(clock)
    leased(kept, DAY, 100)
    assert kept.take([Charge(DAY, 100)])
    assert kept.ahead([Charge(DAY, 1)])
    kept.failed()
    assert kept.ahead([Charge(DAY, 1)])
    kept.failed()
    clock.now_s += IDLE_S + 1
    kept.surplus()
    assert len(kept) == 0
