"""What every store of the ledger owes: leases, holds, and that a cap is never exceeded."""

import pytest
from ledger_stores import (
    HOLD_S,
    NOW,
    Opener,
    Process,
    account,
    bill,
    hold,
)

from router_serving.errors import LedgerError
from router_serving.ledger.types import (
    WANTED_S,
    Balance,
    Charge,
    Committed,
    Count,
    Grant,
)

DAY = account()
MONTH = account("month", cap=500)


def test_an_unused_account_is_all_zero(a: Process) -> None:
    assert a.balance(DAY) == Balance()
    assert a.store.balances([]) == {}


def test_a_grant_gives_what_was_asked_or_what_is_left(a: Process, b: Process) -> None:
    assert a.lease(DAY, 60) == 60
    assert b.lease(DAY, 60) == 40
    assert b.lease(DAY, 1) == 0
    assert a.balance(DAY) == b.balance(DAY) == Balance(leased=100)


def test_grants_are_answered_in_order_and_see_each_other(a: Process) -> None:
    asked = (
        Grant(account=DAY, amount=70),
        Grant(account=MONTH, amount=7),
        Grant(account=DAY, amount=70),
    )
    assert a.say(grants=asked).granted == (70, 7, 30)


def test_a_lower_cap_grants_nothing_more_and_takes_nothing_back(a: Process) -> None:
    a.lease(DAY, 60)
    assert a.lease(account(cap=50), 10) == 0
    assert a.lease(account(cap=65), 10) == 5
    assert a.balance(DAY) == Balance(leased=65)


def test_a_return_gives_back(a: Process, b: Process) -> None:
    a.lease(DAY, 100)
    a.say(returns=(Charge(DAY, 30),))
    assert a.balance(DAY) == Balance(leased=70)
    assert b.lease(DAY, 100) == 30


def test_returns_come_before_grants_in_one_batch(a: Process) -> None:
    a.lease(DAY, 100)
    answer = a.say(returns=(Charge(DAY, 30),), grants=(Grant(account=DAY, amount=20),))
    assert answer.granted == (20,)
    assert a.balance(DAY) == Balance(leased=90)


def test_a_process_returns_no_more_than_it_has(a: Process, b: Process) -> None:
    a.lease(DAY, 10)
    b.lease(DAY, 50)
    a.say(returns=(Charge(DAY, 30),))
    assert a.balance(DAY) == Balance(leased=50)


def test_a_hold_moves_from_the_lease(a: Process) -> None:
    a.lease(DAY, 50)
    a.say(holds=(hold("d", Charge(DAY, 20)),))
    assert a.balance(DAY) == Balance(held=20, leased=30)


def test_holds_of_different_units_lie_in_their_accounts(a: Process) -> None:
    tokens = account("minute", unit="tokens", cap=1000)
    a.reserve("d", Charge(DAY, 20), Charge(MONTH, 20), Charge(tokens, 700))
    assert a.balance(DAY) == a.balance(MONTH) == Balance(held=20)
    assert a.balance(tokens) == Balance(held=700)


def test_a_second_hold_raises_to_the_greater_amount_and_keeps_the_rest(
    a: Process, b: Process
) -> None:
    a.reserve("d", Charge(DAY, 20), Charge(MONTH, 50))
    again = b.reserve("d", Charge(DAY, 30), Charge(MONTH, 40))
    assert set(again.kept) == {Charge(DAY, 20), Charge(MONTH, 40)}
    assert b.balance(DAY) == Balance(held=30, leased=20)
    assert b.balance(MONTH) == Balance(held=50, leased=40)
    b.say(returns=again.kept)
    assert b.balance(DAY) == Balance(held=30)


def test_a_second_hold_adds_the_accounts_that_the_first_had_not(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    assert a.reserve("d", Charge(MONTH, 30)).kept == ()
    assert a.balance(DAY) == Balance(held=20)
    assert a.balance(MONTH) == Balance(held=30)


def test_the_same_hold_again_changes_nothing_held(a: Process) -> None:
    a.lease(DAY, 50)
    a.say(holds=(hold("d", Charge(DAY, 20)),))
    assert a.say(holds=(hold("d", Charge(DAY, 20)),)).kept == (Charge(DAY, 20),)
    assert a.balance(DAY) == Balance(held=20, leased=30)


def test_decisions_of_two_tenants_may_have_one_id(a: Process) -> None:
    a.lease(DAY, 50)
    mine = hold("d", Charge(DAY, 20))
    theirs = type(mine)(
        tenant="other", decision_id="d", charges=mine.charges, expires_s=mine.expires_s
    )
    a.say(holds=(mine, theirs))
    assert a.balance(DAY) == Balance(held=40, leased=10)


def test_a_hold_beyond_the_lease_is_held_as_far_as_the_cap_allows(a: Process, b: Process) -> None:
    a.lease(DAY, 10)
    b.lease(DAY, 80)
    a.say(holds=(hold("d", Charge(DAY, 30)),))
    assert a.balance(DAY) == Balance(held=20, leased=80)
    a.say(bills=(bill("d", 25),))
    assert a.balance(DAY) == Balance(settled=25, leased=80)


def test_a_hold_expires(a: Process, b: Process) -> None:
    a.reserve("d", Charge(DAY, 20), expires_s=NOW + 60)
    assert b.say(at=NOW + 60).n_expired == 0
    assert b.say(at=NOW + 61).n_expired == 1
    assert b.say(at=NOW + 62).n_expired == 0
    assert a.balance(DAY) == Balance()


def test_an_expired_hold_may_be_held_again(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20), expires_s=NOW + 60)
    a.say(at=NOW + 61)
    assert a.reserve("d", Charge(DAY, 15), at=NOW + 62).kept == ()
    assert a.balance(DAY).held == 15 + 5
    (billed,) = a.say(at=NOW + 63, bills=(bill("d", 15),)).billed
    assert billed.status == "settled"
    assert a.balance(DAY) == Balance(settled=15)


def test_holding_again_takes_no_more_from_the_lease_than_was_given_away(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20), expires_s=NOW + 60)
    a.lease(DAY, 50)
    assert a.say(at=NOW + 61, holds=(hold("d", Charge(DAY, 15)),)).kept == ()
    assert a.balance(DAY) == Balance(held=20, leased=35)


def test_leases_lapse_when_a_process_is_silent_for_long(a: Process, b: Process) -> None:
    a.lease(DAY, 100)
    assert b.lease(DAY, 30, at=NOW + HOLD_S) == 0
    assert b.lease(DAY, 30, at=NOW + HOLD_S + 1) == 30
    assert b.balance(DAY) == Balance(leased=30)


def test_saying_nothing_keeps_a_lease_alive(a: Process, b: Process) -> None:
    a.lease(DAY, 100)
    a.say(at=NOW + HOLD_S)
    assert b.lease(DAY, 30, at=NOW + HOLD_S + 1) == 0


def test_holds_outlive_the_lease_of_their_process(a: Process, b: Process) -> None:
    a.lease(DAY, 50)
    a.say(holds=(hold("d", Charge(DAY, 20), expires_s=NOW + 10 * HOLD_S),))
    b.say(at=NOW + HOLD_S + 1)
    assert b.balance(DAY) == Balance(held=20)


def test_a_process_is_told_that_it_is_new_or_was_silent_for_too_long(
    a: Process, b: Process
) -> None:
    assert a.say().is_new
    assert not a.say(at=NOW + HOLD_S).is_new
    assert a.say(at=NOW + 3 * HOLD_S).is_new
    assert b.say(at=NOW + 9 * HOLD_S).is_new
    assert a.say(at=NOW + 3 * HOLD_S + 1).is_new


def test_a_lapsed_lease_is_not_used_twice(a: Process, b: Process) -> None:
    a.lease(DAY, 100)
    later = NOW + HOLD_S + 1
    assert b.lease(DAY, 90, at=later) == 90
    answer = a.say(at=later, returns=(Charge(DAY, 50),), holds=(hold("d", Charge(DAY, 40)),))
    assert answer.is_new
    assert a.balance(DAY) == Balance(held=10, leased=90)


def test_a_soft_account_is_counted_and_never_leased(a: Process) -> None:
    soft = account("soft", cap=10, is_soft=True)
    assert a.lease(soft, 5) == 0
    assert a.say(holds=(hold("d", Charge(soft, 25)),)).kept == ()
    assert a.say(holds=(hold("d", Charge(soft, 25)),)).kept == ()
    a.say(returns=(Charge(soft, 5),))
    assert a.balance(soft) == Balance(held=25)
    a.say(bills=(bill("d", 24),))
    assert a.balance(soft) == Balance(settled=24)


def test_requests_are_leased_and_lapse_unheld(a: Process, b: Process) -> None:
    requests = account("minute", unit="requests", cap=60)
    assert a.lease(requests, 50) == 50
    assert b.lease(requests, 50) == 10
    a.say(returns=(Charge(requests, 20),))
    assert b.balance(requests) == Balance(leased=40)


def test_a_starving_process_makes_others_return(opener: Opener, a: Process, b: Process) -> None:
    c = Process(opener, "c")
    a.lease(DAY, 90)
    c.lease(MONTH, 10)
    assert b.lease(DAY, 40) == 10
    assert b.say().wanted == frozenset()
    assert c.say().wanted == frozenset()
    assert a.say().wanted == {DAY.key}
    assert a.say(at=NOW + 1).wanted == {DAY.key}
    assert a.say(at=NOW + 1, returns=(Charge(DAY, 30),)).wanted == frozenset()
    assert a.say(at=NOW + 2).wanted == frozenset()
    assert b.lease(DAY, 30, at=NOW + 2) == 30


def test_a_wish_ends_by_itself(a: Process, b: Process) -> None:
    a.lease(DAY, 100)
    b.lease(DAY, 40)
    assert a.say(at=NOW + WANTED_S + 1).wanted == frozenset()


def test_nobody_is_asked_to_return_what_was_spent(a: Process, b: Process) -> None:
    a.reserve("d", Charge(DAY, 100))
    b.lease(DAY, 40)
    assert a.say().wanted == frozenset()


def test_a_batch_whose_answer_was_lost_is_not_carried_out_again(a: Process, b: Process) -> None:
    a.reserve("old", Charge(DAY, 10))
    a.lease(DAY, 50)
    minute = int(NOW // 60)
    batch = a.batch(
        returns=(Charge(DAY, 5),),
        holds=(hold("d", Charge(DAY, 20)), hold("old", Charge(DAY, 12))),
        bills=(bill("d", 15),),
        grants=(Grant(account=DAY, amount=50),),
        counts=(Count(subject="tenant:acme", minute=minute, calls=1, microusd=15),),
    )
    first = a.store.commit(batch)
    assert first.kept == (Charge(DAY, 10),)
    before = b.balance(DAY)
    assert b.store.commit(batch) == first
    assert b.store.commit(batch) == first
    assert b.balance(DAY) == before
    assert b.store.pace("tenant:acme", now_s=NOW).calls == 1


def test_holds_and_bills_under_another_number_are_not_done_twice_either(a: Process) -> None:
    a.lease(DAY, 50)
    holds, bills = (hold("d", Charge(DAY, 20)),), (bill("d", 15),)
    a.say(holds=holds, bills=bills)
    before = a.balance(DAY)
    answer = a.say(holds=holds, bills=bills)
    assert answer.kept == (Charge(DAY, 20),)
    assert [billed.status for billed in answer.billed] == ["repeated"]
    assert a.balance(DAY) == before == Balance(settled=15, leased=30)


def test_a_batch_that_comes_after_a_later_one_is_refused(a: Process) -> None:
    early, late = a.batch(grants=(Grant(account=DAY, amount=50),)), a.batch()
    a.store.commit(late)
    with pytest.raises(LedgerError, match="number"):
        a.store.commit(early)
    assert a.balance(DAY) == Balance()


def test_an_empty_batch_gets_an_empty_answer(a: Process) -> None:
    a.say()
    assert a.say() == Committed()
