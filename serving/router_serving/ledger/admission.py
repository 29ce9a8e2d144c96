"""One call's way through the ledger: counted, given an allowance, reserved, or refused.

The call is decided with what its budgets have left. Where the lease of this process turns out too
small for the choice, more is leased, and where the ledger has no more, the call is decided again
with what there is. Nothing is waited for as long as the leases suffice.
"""

import asyncio
from collections.abc import Callable, Sequence
from math import ceil
from typing import Final

from msgspec import Struct

from router_model.constraint_checks import OVER_BUDGET
from router_model.errors import NoAdmissibleModelError
from router_model.exploration import MICRO, microusd
from router_model.outline import Outline
from router_model.terms import Allowance
from router_model.types import Caller, Decision
from router_serving.errors import LedgerError, LimitExceededError
from router_serving.ledger.escrow import Escrow
from router_serving.ledger.keeper import Keeper
from router_serving.ledger.limits import Limited, Limits
from router_serving.ledger.soft_caps import SoftCaps
from router_serving.ledger.types import Account, Balance, Charge, Hold

# While holds of others are open, some of a budget may be given back soon.
SOON_S: Final = 5
# With what seems to be left, with what is, and once more if that was taken meanwhile.
_TRIES: Final = 3


class Desk(Struct, frozen=True, kw_only=True):
    """What all admissions of one process share.

    `recall_s` is how long others take to give back what they have leased and don't need; 0 where
    there are no others. `refused` is told which limit refused a call.
    """

    escrow: Escrow
    keeper: Keeper
    soft_caps: SoftCaps
    hold: Callable[[Hold], None]
    refused: Callable[[Limited], None]
    clock: Callable[[], float]
    hold_s: float
    recall_s: float


class Admission:
    """The accounts of one call."""

    def __init__(self, caller: Caller, limited: Sequence[Limited], desk: Desk) -> None:
        self._caller = caller
        self._desk = desk
        self._escrow = desk.escrow
        self._keeper = desk.keeper
        self._requests = [one for one in limited if one.account.unit == "requests"]
        self._tokens = [one for one in limited if one.account.unit == "tokens"]
        self._budgets = [
            one for one in limited if one.account.unit == "microusd" and not one.rule.is_soft
        ]
        self._soft = next((one for one in limited if one.rule.is_soft), None)
        self.is_over_soft_cap = self._soft is not None and desk.soft_caps.is_over(self._soft)

    async def count(self) -> None:
        """Count the call; LimitExceededError when it is one too many for its minute."""
        charges = [Charge(one.account, 1) for one in self._requests]
        if not await self._taken(charges):
            raise self._too_many(self._requests, charges)

    async def decided(self, decide: Callable[[Allowance | None], Decision]) -> Decision:
        """The decision that fits what is left, with what it may cost reserved.

        `decide` makes it for an allowance. Raises LimitExceededError where nothing fits any more.
        """
        for _ in range(_TRIES):
            try:
                decision = decide(self._allowance())
            except NoAdmissibleModelError as error:
                if not any(reason.startswith(OVER_BUDGET) for reason in error.excluded.values()):
                    raise
                needed = error.needed_microusd or 0
                raise self._never(needed) or await self._exhausted() from None
            if await self._reserved(decision):
                return decision
        raise await self._exhausted()

    def _allowance(self) -> Allowance | None:
        """What the tightest budget has left, as far as is known here; None without a budget."""
        if not self._budgets:
            return None
        tightest = min(self._budgets, key=lambda one: self._room(one.account))
        return Allowance(left_microusd=self._room(tightest.account), budget=tightest.name)

    async def _reserved(self, decision: Decision) -> bool:
        """Reserve what the decision may cost; False when it has to be made again with less.

        Raises LimitExceededError where its tokens are too many for this minute.
        """
        chosen = next(c for c in decision.candidates if c.model == decision.model)
        worst = decision.reserved_microusd or 0
        tokens = chosen.input_tokens + ceil(chosen.output_tokens)
        of_tokens = [Charge(one.account, tokens) for one in self._tokens]
        of_budgets = [Charge(one.account, worst) for one in self._budgets]
        if not await self._taken([*of_tokens, *of_budgets]):
            if any(self._escrow.free(c.account) < c.amount for c in of_tokens):
                raise self._too_many(self._tokens, of_tokens)
            return False
        charges = [*of_tokens, *of_budgets]
        if self._soft is not None:
            charges.append(Charge(self._soft.account, microusd(decision.expected.cost_usd)))
        if charges:
            self._desk.hold(
                Hold(
                    tenant=self._caller.tenant,
                    decision_id=decision.decision_id,
                    charges=tuple(charges),
                    expires_s=self._desk.clock() + self._desk.hold_s,
                )
            )
        return True

    def _never(self, needed: int) -> LimitExceededError | None:
        """The refusal of a call that exceeds a whole cap by itself, None where it exceeds none."""
        small = min(self._budgets, key=lambda one: one.account.cap)
        if needed <= small.account.cap:
            return None
        self._desk.refused(small)
        return LimitExceededError(
            f"{small.name}: ${small.account.cap / MICRO:.6f} is all of it, and the cheapest model "
            f"that can take this call may cost up to ${needed / MICRO:.6f}; expected a lower "
            "max_tokens, which lowers that, or a larger budget",
            limit=small.rule.limit,
            retry_after_s=None,
        )

    async def _exhausted(self) -> LimitExceededError:
        """The refusal of a call that no model can answer within its budgets."""
        tightest = min(self._budgets, key=lambda one: self._room(one.account))
        self._desk.refused(tightest)
        account = tightest.account
        ends_in_s = max(1, ceil(account.ends_s - self._desk.clock()))
        balance = await self._balance(account)
        left = self._escrow.free(account)
        # Reserved is not spent: what is given back may be enough for this call.
        may_come_back = balance is not None and balance.held + balance.leased > left
        if balance is not None:
            left += max(0, account.cap - balance.used)
        return LimitExceededError(
            f"{tightest.name}: ${left / MICRO:.6f} of ${account.cap / MICRO:.6f} is left, "
            "expected enough for the cheapest model that can take this call",
            limit=tightest.rule.limit,
            retry_after_s=min(SOON_S, ends_in_s) if may_come_back else ends_in_s,
        )

    async def _balance(self, account: Account) -> Balance | None:
        try:
            found = await self._keeper.off_loop(lambda store: store.balances([account.key]))
        except LedgerError:
            return None
        return found.get(account.key, Balance())

    def _room(self, account: Account) -> int:
        """What may be left of an account: all of it, unless it was found dry a moment ago."""
        free = self._escrow.free(account)
        return free if self._escrow.is_dry(account) else max(free, account.cap)

    async def _taken(self, charges: Sequence[Charge]) -> bool:
        """True when all of it could be taken, if need be after leasing more."""
        if not charges:
            return True
        if not self._escrow.take(charges) and not await self._taken_after_leasing(charges):
            return False
        if ahead := self._escrow.ahead(charges):
            self._keeper.grant_ahead(ahead)
        return True

    async def _taken_after_leasing(self, charges: Sequence[Charge]) -> bool:
        """Ask for what is missing, and once more when others may have given back what they had."""
        for pause_s in (0.0, self._desk.recall_s) if self._desk.recall_s else (0.0,):
            await asyncio.sleep(pause_s)
            self._keeper.give_back(self._escrow.outdated())
            missing = self._escrow.missing(charges)
            if pause_s == 0.0 and any(self._escrow.is_dry(grant.account) for grant in missing):
                return False  # asked a moment ago
            if missing:
                await self._keeper.grant(missing)
            if self._escrow.take(charges):
                return True
        return False

    def _too_many(
        self, limited: Sequence[Limited], charges: Sequence[Charge]
    ) -> LimitExceededError:
        short, amount = next(
            (one, charge.amount)
            for one, charge in zip(limited, charges, strict=True)
            if self._escrow.free(one.account) < charge.amount
        )
        self._desk.refused(short)
        ends_in_s = max(1, ceil(short.account.ends_s - self._desk.clock()))
        return LimitExceededError(
            f"{short.name}: fewer than {amount} of {short.account.cap} are left",
            limit=short.rule.limit,
            # what exceeds the cap itself fits in no minute
            retry_after_s=None if amount > short.account.cap else ends_in_s,
        )


def check_tokens(outline: Outline, limits: Limits, *, input_tokens: int) -> None:
    """Raise LimitExceededError where a prompt, with the answer that it asks for, is too long."""
    most = limits.max_request_tokens
    asked = outline.max_output_tokens or 0
    if most is not None and input_tokens + asked > most:
        raise LimitExceededError(
            f"tokens: about {input_tokens} of the prompt and up to {asked} of the answer, expected "
            f"at most {most} in one call",
            limit="max_tokens_per_request",
            retry_after_s=None,
        )
