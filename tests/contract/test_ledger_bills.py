"""What every store of the ledger owes when bills come: late, early, twice, wrong or never."""

from ledger_stores import HOLD_S, NOW, Opener, Process, account, bill, hold

from router_serving.ledger.types import (
    GRACE_S,
    IMPLAUSIBLE_AMOUNT,
    KEPT_S,
    Balance,
    Bill,
    Billed,
    Charge,
)

DAY = account()
MONTH = account("month", cap=500)
TOKENS = account("minute", unit="tokens", cap=1000)
USD = 1_000_000
# beyond the grace, and well before leases lapse
LATER = NOW + GRACE_S + 1


def told(process: Process, *bills: Bill, at: float = NOW) -> list[str]:
    return [billed.status for billed in process.say(at=at, bills=bills).billed]


def test_a_final_bill_settles_and_gives_back_the_rest(a: Process, b: Process) -> None:
    a.reserve("d", Charge(DAY, 20), Charge(MONTH, 25))
    answer = b.say(bills=(bill("d", 12),))
    assert answer.billed == (Billed(tenant="acme", decision_id="d", attempt=0, status="settled"),)
    assert a.balance(DAY) == a.balance(MONTH) == Balance(settled=12)


def test_a_bill_settles_in_the_windows_of_its_hold_whatever_the_time(a: Process) -> None:
    today = account(ends_s=NOW + 10)
    a.reserve("d", Charge(today, 20))
    assert told(a, bill("d", 12, unreserved=(account("tomorrow"),)), at=NOW + 60) == ["settled"]
    assert a.balance(today) == Balance(settled=12)
    assert a.balance(account("tomorrow")) == Balance()


def test_each_account_is_billed_in_its_unit(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20), Charge(TOKENS, 800))
    a.say(bills=(bill("d", 12, tokens=650),))
    assert a.balance(DAY) == Balance(settled=12)
    assert a.balance(TOKENS) == Balance(settled=650)
    a.reserve("e", Charge(TOKENS, 100))
    a.say(bills=(bill("e", 3),))
    assert a.balance(TOKENS) == Balance(settled=650)
    assert a.balance(DAY) == Balance(settled=12)


def test_a_bill_of_nothing_gives_everything_back(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    assert told(a, bill("d", 0)) == ["settled"]
    assert a.balance(DAY) == Balance()


def test_an_identical_bill_changes_nothing_however_often(a: Process, b: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    assert told(a, bill("d", 12)) == ["settled"]
    for _ in range(5):
        assert told(a, bill("d", 12)) == told(b, bill("d", 12)) == ["repeated"]
    assert a.balance(DAY) == Balance(settled=12)


def test_a_corrected_cost_changes_what_is_settled_by_the_difference(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    assert told(a, bill("d", 12), bill("d", 18), bill("d", 18)) == [
        "settled",
        "settled",
        "repeated",
    ]
    assert a.balance(DAY) == Balance(settled=18)
    assert told(a, bill("d", 3)) == ["settled"]
    assert a.balance(DAY) == Balance(settled=3)


def test_an_attempt_that_failed_leaves_the_rest_for_the_next(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    assert told(a, bill("d", 5, is_final=False)) == ["settled"]
    assert a.balance(DAY) == Balance(settled=5, held=15)
    assert told(a, bill("d", 10, attempt=1)) == ["settled"]
    assert a.balance(DAY) == Balance(settled=15)


def test_a_correction_of_a_failed_attempt_changes_the_rest_too(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    told(a, bill("d", 15, is_final=False), bill("d", 5, is_final=False))
    assert a.balance(DAY) == Balance(settled=5, held=15)
    assert told(a, bill("d", 5)) == ["settled"]
    assert a.balance(DAY) == Balance(settled=5)


def test_a_hold_raised_after_a_failed_attempt_holds_what_is_not_spent(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    told(a, bill("d", 5, is_final=False))
    assert a.reserve("d", Charge(DAY, 30)).kept == (Charge(DAY, 20),)
    assert a.balance(DAY) == Balance(settled=5, held=25, leased=20)
    told(a, bill("d", 25, attempt=1))
    assert a.balance(DAY) == Balance(settled=30, leased=20)


def test_a_hold_after_the_final_bill_reserves_nothing(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    told(a, bill("d", 12))
    assert a.reserve("d", Charge(DAY, 30)).kept == (Charge(DAY, 30),)
    assert a.balance(DAY) == Balance(settled=12, leased=30)


def test_a_bill_waits_for_its_hold(a: Process, b: Process) -> None:
    a.lease(DAY, 50)
    assert told(b, bill("d", 12)) == ["waiting"]
    assert told(b, bill("d", 13), at=NOW + 1) == ["waiting"]
    assert a.balance(DAY) == Balance(leased=50)
    answer = a.say(at=NOW + 2, holds=(hold("d", Charge(DAY, 20)),))
    assert answer.billed == (Billed(tenant="acme", decision_id="d", attempt=0, status="settled"),)
    assert a.balance(DAY) == Balance(settled=13, leased=30)
    assert told(b, bill("d", 13), at=LATER) == ["repeated"]


def test_what_waited_is_answered_after_what_was_asked(a: Process) -> None:
    a.reserve("asked", Charge(DAY, 5))
    a.lease(DAY, 50)
    told(a, bill("early", 12, is_final=False), bill("early", 3, attempt=1))
    answer = a.say(holds=(hold("early", Charge(DAY, 20)),), bills=(bill("asked", 4),))
    answered = [(billed.decision_id, billed.attempt) for billed in answer.billed]
    assert answered == [("asked", 0), ("early", 0), ("early", 1)]
    assert a.balance(DAY) == Balance(settled=19, leased=30)


def test_a_hold_and_its_bill_may_come_in_one_batch(a: Process) -> None:
    a.lease(DAY, 50)
    answer = a.say(holds=(hold("d", Charge(DAY, 20)),), bills=(bill("d", 12),))
    assert [billed.status for billed in answer.billed] == ["settled"]
    assert a.balance(DAY) == Balance(settled=12, leased=30)


def test_a_bill_without_a_hold_goes_to_the_accounts_it_names(a: Process, b: Process) -> None:
    assert told(a, bill("d", 12, tokens=400, unreserved=(DAY, MONTH, TOKENS))) == ["waiting"]
    assert b.say(at=NOW + GRACE_S).billed == ()
    assert b.say(at=LATER).billed == (
        Billed(tenant="acme", decision_id="d", attempt=0, status="unmatched", overrun_microusd=12),
    )
    assert a.balance(DAY) == a.balance(MONTH) == Balance(settled=12)
    assert a.balance(TOKENS) == Balance(settled=400)
    assert told(a, bill("d", 12, tokens=400, unreserved=(DAY,)), at=LATER) == ["repeated"]
    assert told(a, bill("d", 10, unreserved=(DAY,)), at=LATER) == ["unmatched"]
    assert told(a, bill("d", 1, attempt=1, unreserved=(DAY,)), at=LATER) == ["unmatched"]
    assert a.balance(DAY) == a.balance(MONTH) == Balance(settled=11)


def test_a_bill_without_a_hold_or_any_account_charges_nobody(a: Process) -> None:
    assert told(a, bill("d", 12)) == ["waiting"]
    assert [billed.status for billed in a.say(at=LATER).billed] == ["unmatched"]
    assert told(a, bill("d", 12), at=LATER) == ["repeated"]


def test_a_bill_without_a_hold_is_drawn_from_the_leases_of_the_dead(
    opener: Opener, a: Process, b: Process
) -> None:
    dead = Process(opener, "dead")
    dead.lease(DAY, 30)
    a.lease(DAY, 40)
    b.lease(DAY, 30)
    told(b, bill("d", 12, unreserved=(DAY,)), at=NOW + 1)
    a.say(at=LATER)
    assert a.balance(DAY) == Balance(leased=100)
    b.say(at=LATER + 1)
    assert a.balance(DAY) == Balance(settled=12, leased=88)
    told(b, bill("e", 25, unreserved=(DAY,)), at=LATER + 1)
    b.say(at=LATER + 2)
    assert a.say(at=LATER + GRACE_S + 1).billed == ()
    assert len(b.say(at=LATER + GRACE_S + 2).billed) == 1
    assert a.balance(DAY) == Balance(settled=37, leased=70)
    a.say(at=NOW + HOLD_S)
    b.say(at=NOW + HOLD_S)
    assert a.say(at=NOW + HOLD_S + 1).billed == ()
    assert a.balance(DAY) == Balance(settled=37, leased=70)


def test_a_hold_after_its_bill_was_taken_as_unmatched_reserves_nothing(a: Process) -> None:
    a.lease(DAY, 50)
    told(a, bill("d", 12, unreserved=(DAY,)))
    a.say(at=LATER)
    assert a.say(at=LATER, holds=(hold("d", Charge(DAY, 20)),)).kept == (Charge(DAY, 20),)
    assert a.balance(DAY) == Balance(settled=12, leased=50)


def test_a_hold_after_an_unmatched_attempt_that_failed_reserves_for_the_next(a: Process) -> None:
    a.lease(DAY, 50)
    told(a, bill("d", 12, is_final=False, unreserved=(DAY,)))
    a.say(at=LATER)
    assert a.say(at=LATER, holds=(hold("d", Charge(DAY, 20)),)).kept == (Charge(DAY, 12),)
    assert a.balance(DAY) == Balance(settled=12, held=8, leased=42)
    assert told(a, bill("d", 6, attempt=1), at=LATER) == ["settled"]
    assert a.balance(DAY) == Balance(settled=18, leased=42)


def test_a_late_hold_never_holds_what_an_implausible_bill_no_longer_settles(a: Process) -> None:
    wide = account(cap=200)
    told(a, bill("d", 379, is_final=False, unreserved=(wide,)))
    a.say(at=LATER)
    assert a.balance(wide) == Balance(settled=379)
    a.say(at=LATER, holds=(hold("d", Charge(wide, 10)),))
    assert a.balance(wide) == Balance(settled=100)  # ten times what was reserved


def test_an_overrun_is_settled_and_told(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20), Charge(MONTH, 20))
    told(a, bill("d", 15, is_final=False))
    (billed,) = a.say(bills=(bill("d", 35, attempt=1),)).billed
    assert (billed.overrun_microusd, billed.disputed_microusd) == (30, 0)
    assert a.balance(DAY) == a.balance(MONTH) == Balance(settled=50)
    (billed,) = a.say(bills=(bill("d", 9, attempt=2),)).billed
    assert billed.overrun_microusd == 9
    (billed,) = a.say(bills=(bill("d", 9, attempt=2),)).billed
    assert (billed.status, billed.overrun_microusd) == ("repeated", 0)


def test_an_implausible_bill_is_charged_up_to_ten_reservations(a: Process) -> None:
    wide = account(cap=10_000)
    a.reserve("d", Charge(wide, 20), Charge(TOKENS, 5))
    told(a, bill("d", 150, is_final=False))
    (billed,) = a.say(bills=(bill("d", 10**12, attempt=1, tokens=10**12),)).billed
    assert (billed.overrun_microusd, billed.disputed_microusd) == (10**12, 10**12 - 50)
    assert a.balance(wide) == Balance(settled=200)
    assert a.balance(TOKENS) == Balance(settled=50)
    (billed,) = a.say(bills=(bill("d", 45, attempt=1),)).billed
    assert (billed.overrun_microusd, billed.disputed_microusd) == (45, 0)
    assert a.balance(wide) == Balance(settled=195)


def test_an_implausible_bill_without_a_hold_is_charged_up_to_a_fixed_amount(a: Process) -> None:
    told(a, bill("d", 130 * USD, unreserved=(DAY,)))
    (billed,) = a.say(at=LATER).billed
    assert (billed.overrun_microusd, billed.disputed_microusd) == (130 * USD, 30 * USD)
    assert a.balance(DAY) == Balance(settled=IMPLAUSIBLE_AMOUNT)


def test_nothing_is_overrun_where_nothing_counts_money(a: Process) -> None:
    a.reserve("d", Charge(TOKENS, 100))
    (billed,) = a.say(bills=(bill("d", 10**9, tokens=90),)).billed
    assert (billed.overrun_microusd, billed.disputed_microusd) == (0, 0)


def test_a_bill_after_its_hold_expired_is_late_and_charged(a: Process, b: Process) -> None:
    a.reserve("d", Charge(DAY, 20), expires_s=NOW + 60)
    answer = b.say(at=NOW + 61, bills=(bill("d", 12, is_final=False),))
    assert answer.n_expired == 1
    assert [billed.status for billed in answer.billed] == ["late"]
    assert a.balance(DAY) == Balance(settled=12)
    assert told(a, bill("d", 12, is_final=False), at=NOW + 62) == ["repeated"]
    assert told(a, bill("d", 14), at=NOW + 62) == ["late"]
    assert a.balance(DAY) == Balance(settled=14)


def test_a_failed_attempt_stays_settled_when_the_rest_expires(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20), expires_s=NOW + 60)
    told(a, bill("d", 5, is_final=False))
    a.say(at=NOW + 61)
    assert a.balance(DAY) == Balance(settled=5)


def test_a_correction_comes_days_later(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    told(a, bill("d", 12))
    almost = NOW + KEPT_S - 60
    assert told(a, bill("d", 12), at=almost) == ["repeated"]
    assert told(a, bill("d", 11), at=almost) == ["settled"]
    assert a.balance(DAY) == Balance(settled=11)


def test_a_decision_is_forgotten_after_a_week(a: Process) -> None:
    a.reserve("d", Charge(DAY, 20))
    told(a, bill("d", 12))
    a.say(at=NOW + KEPT_S + 1)
    assert told(a, bill("d", 12), at=NOW + KEPT_S + 2) == ["waiting"]
    assert a.balance(DAY) == Balance(settled=12)
