"""What the hold and the bills of one decision come to, as pure functions of what is recorded."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from router_serving.ledger.types import (
    GRACE_S,
    IMPLAUSIBLE_AMOUNT,
    IMPLAUSIBLE_TIMES,
    KEPT_S,
    Account,
    Bill,
    Billed,
    Charge,
    Hold,
    Unit,
)

State = Literal["waiting", "open", "final", "expired", "unmatched"]
Status = Literal["settled", "waiting", "repeated", "late", "unmatched"]

STATUS: dict[State, Status] = {
    "waiting": "waiting",
    "open": "settled",
    "final": "settled",
    "expired": "late",
    "unmatched": "unmatched",
}


class Line(Struct, frozen=True, kw_only=True):
    """A decision in one account.

    `secured` is what of `reserved` was moved into the account's held: all of it, unless the cap
    did not allow that. While the decision is open, held = secured - settled, or 0.
    """

    account: Account
    reserved: int = 0
    secured: int = 0
    held: int = 0
    settled: int = 0


class Decision(Struct, frozen=True, kw_only=True):
    """A decision's lines and bills, the latter by attempt.

    At `due_s` something happens by itself: a "waiting" bill becomes unmatched, an "open" hold
    expires, what is "final", "expired" or "unmatched" is forgotten.
    """

    state: State
    due_s: float
    lines: tuple[Line, ...] = ()
    bills: tuple[Bill, ...] = ()

    @property
    def is_billed(self) -> bool:
        """The final bill is there."""
        return any(bill.is_final for bill in self.bills)


def billed_amount(decision: Decision, unit: Unit) -> int:
    """Everything billed for a decision in one unit, plausible or not."""
    return sum(bill.amounts.get(unit, 0) for bill in decision.bills)


def reserved_amount(decision: Decision, unit: Unit) -> int:
    """The most that was reserved for a decision in one account of a unit."""
    return max((line.reserved for line in decision.lines if line.account.unit == unit), default=0)


def chargeable(reserved: int) -> int:
    """The most that is charged for a decision that reserved so much.

    >>> chargeable(20), chargeable(0)
    (200, 100000000)
    """
    return IMPLAUSIBLE_TIMES * reserved if reserved else IMPLAUSIBLE_AMOUNT


def settled(decision: Decision) -> Decision:
    """The decision with what is settled and held in each line, as state and bills have it."""
    charged = {
        unit: min(billed_amount(decision, unit), chargeable(reserved_amount(decision, unit)))
        for unit in {line.account.unit for line in decision.lines}
    }
    is_open = decision.state == "open"
    lines = []
    for line in decision.lines:
        amount = charged[line.account.unit]
        rest = max(0, line.secured - amount) if is_open else 0
        lines.append(replace(line, settled=amount, held=rest))
    return replace(decision, lines=tuple(lines))


def raised(decision: Decision, charges: Sequence[Charge]) -> Decision:
    """The decision with at least these amounts reserved, none of the difference secured yet."""
    wanted = {charge.account.key: charge for charge in charges}
    lines = []
    for line in decision.lines:
        charge = wanted.pop(line.account.key, None)
        if charge is not None and charge.amount > line.reserved:
            line = replace(line, reserved=charge.amount)
        lines.append(line)
    lines += [Line(account=c.account, reserved=c.amount) for c in wanted.values()]
    return settled(replace(decision, lines=tuple(lines)))


def needed(line: Line) -> int:
    """What has to be moved into held, beyond what is, for all that is reserved and not spent."""
    return max(0, line.reserved - line.settled - line.held)


def secured(line: Line, amount: int) -> Line:
    """The line with more of it held."""
    if not amount:
        return line
    held = line.held + amount
    return replace(line, held=held, secured=line.settled + held)


def reopened(decision: Decision, hold: Hold) -> Decision:
    """The decision open until the hold expires, or until it did before where that is later."""
    if decision.state == "open":
        return replace(decision, due_s=max(decision.due_s, hold.expires_s))
    # what was secured once was given back, but for what is settled
    lines = tuple(replace(line, secured=min(line.secured, line.settled)) for line in decision.lines)
    return replace(decision, state="open", due_s=hold.expires_s, lines=lines)


def is_repeated(decision: Decision, bill: Bill) -> bool:
    """Exactly this is recorded for the attempt already."""
    return any(
        (old.attempt, old.amounts, old.is_final) == (bill.attempt, bill.amounts, bill.is_final)
        for old in decision.bills
    )


def with_bill(decision: Decision, bill: Bill, *, now_s: float) -> Decision:
    """The decision with a bill added or corrected, settled, and ended by a final one."""
    if decision.state != "waiting":  # the accounts are known
        bill = replace(bill, unreserved=())
    others = [old for old in decision.bills if old.attempt != bill.attempt]
    bills = tuple(sorted([*others, bill], key=lambda one: one.attempt))
    decision = replace(decision, bills=bills)
    if decision.state == "open" and bill.is_final:
        decision = replace(decision, state="final", due_s=now_s + KEPT_S)
    return settled(decision)


def waiting(*, now_s: float) -> Decision:
    """A decision whose hold is not written yet."""
    return Decision(state="waiting", due_s=now_s + GRACE_S)


def expired(decision: Decision, *, now_s: float) -> Decision:
    """The decision without what it held."""
    return settled(replace(decision, state="expired", due_s=now_s + KEPT_S))


def unmatched(decision: Decision, *, now_s: float) -> Decision:
    """The decision with its bills charged to the accounts they name, nothing reserved."""
    accounts = {account.key: account for bill in decision.bills for account in bill.unreserved}
    return settled(
        Decision(
            state="unmatched",
            due_s=now_s + KEPT_S,
            lines=tuple(Line(account=account) for account in accounts.values()),
            bills=tuple(replace(bill, unreserved=()) for bill in decision.bills),
        )
    )


def answer(decision: Decision, bill: Bill) -> Billed:
    """What became of a bill that the decision contains by now."""
    overrun = disputed = 0
    if any(line.account.unit == "microusd" for line in decision.lines):
        total = billed_amount(decision, "microusd")
        reserved = reserved_amount(decision, "microusd")
        amount = bill.amounts.get("microusd", 0)
        overrun = min(amount, max(0, total - reserved))
        disputed = min(amount, max(0, total - chargeable(reserved)))
    return Billed(
        tenant=bill.tenant,
        decision_id=bill.decision_id,
        attempt=bill.attempt,
        status=STATUS[decision.state],
        overrun_microusd=overrun,
        disputed_microusd=disputed,
    )
