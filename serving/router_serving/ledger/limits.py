"""What a tenant may use, and the accounts that one call is charged to.

Every limit is per tenant: one in [default] holds for each tenant by itself, not for all together.
"""

from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from router_model.types import Caller
from router_serving.ledger.subjects import key_subject, tenant_subject, user_subject
from router_serving.ledger.types import Account, Period, Unit
from router_serving.ledger.windows import Calendar

UTC: Final = ZoneInfo("UTC")


class Limits(Struct, frozen=True, kw_only=True):
    """What a tenant may use; None is no limit. Dollars are in whole micro-dollars.

    `rpm` are calls and `tpm` tokens a minute, `key_rpm` and `key_microusd_per_day` those of each
    of the tenant's keys by itself. `max_request_tokens` bounds the prompt with the answer that it
    asks for. `user_microusd_per_month` is soft: a user beyond it gets what is adequate at
    `user_min_adequacy`.
    """

    rpm: int | None = None
    tpm: int | None = None
    key_rpm: int | None = None
    max_request_tokens: int | None = None
    microusd_per_hour: int | None = None
    microusd_per_day: int | None = None
    microusd_per_month: int | None = None
    key_microusd_per_day: int | None = None
    user_microusd_per_month: int | None = None
    user_min_adequacy: float = 0.5
    zone: ZoneInfo = UTC

    @property
    def has_accounts(self) -> bool:
        """True when the ledger has to know of calls."""
        return any(getattr(self, rule.limit) is not None for rule in RULES)

    @property
    def has_hard_cap(self) -> bool:
        """True when the ledger may have to stop a call."""
        return any(getattr(self, rule.limit) is not None for rule in RULES if not rule.is_soft)


class Rule(Struct, frozen=True, kw_only=True):
    """How one limit counts: of whom ("tenant", "key" or "user"), what, and in which windows."""

    limit: str
    whose: str
    unit: Unit
    period: Period
    text: str
    is_soft: bool = False


NO_LIMITS: Final = Limits()
# In the order of checking: what refuses without a decision comes first.
RULES: Final = (
    Rule(limit="rpm", whose="tenant", unit="requests", period="minute", text="calls a minute"),
    Rule(limit="key_rpm", whose="key", unit="requests", period="minute", text="calls a minute"),
    Rule(limit="tpm", whose="tenant", unit="tokens", period="minute", text="tokens a minute"),
    Rule(
        limit="microusd_per_hour",
        whose="tenant",
        unit="microusd",
        period="hour",
        text="budget of the hour",
    ),
    Rule(
        limit="microusd_per_day",
        whose="tenant",
        unit="microusd",
        period="day",
        text="budget of the day",
    ),
    Rule(
        limit="microusd_per_month",
        whose="tenant",
        unit="microusd",
        period="month",
        text="budget of the month",
    ),
    Rule(
        limit="key_microusd_per_day",
        whose="key",
        unit="microusd",
        period="day",
        text="budget of the day",
    ),
    Rule(
        limit="user_microusd_per_month",
        whose="user",
        unit="microusd",
        period="month",
        text="soft budget of the month",
        is_soft=True,
    ),
)


class Limited(Struct, frozen=True):
    """An account with the rule that made it, its subject, and that in words ("tenant acme")."""

    account: Account
    rule: Rule
    subject: str
    owner: str

    @property
    def name(self) -> str:
        """The limit in words, such as "tenant acme: budget of the day"."""
        return f"{self.owner}: {self.rule.text}"


class AccountBook:
    """Finds the accounts of a call at a moment."""

    def __init__(self) -> None:
        self._calendar = Calendar()

    def of(self, caller: Caller, limits: Limits, *, now_s: float) -> tuple[Limited, ...]:
        """The accounts of this caller's calls, in the order of `RULES`.

        Calls without the name of a key share one key; those without a user have no soft budget.
        """
        found = []
        for rule in RULES:
            cap = getattr(limits, rule.limit)
            if cap is None or (rule.whose == "user" and caller.user is None):
                continue
            subject, owner = _whose(rule, caller)
            window = self._calendar.window(rule.period, limits.zone, now_s)
            account = Account(
                key=f"{rule.unit}|{subject}|{rule.period}|{window.name}",
                unit=rule.unit,
                cap=cap,
                ends_s=window.ends_s,
                is_soft=rule.is_soft,
            )
            found.append(Limited(account, rule, subject, owner))
        return tuple(found)


def _whose(rule: Rule, caller: Caller) -> tuple[str, str]:
    """The subject that a rule counts, and its name in words."""
    tenant = caller.tenant
    if rule.whose == "tenant":
        return tenant_subject(tenant), f"tenant {tenant}"
    if rule.whose == "user":
        user = caller.user or ""
        return user_subject(tenant, user), f"user {user} of tenant {tenant}"
    # No caller can give an empty name, so those without one are nobody else's.
    key = caller.key or ""
    return key_subject(tenant, key), f"key {key or '(none)'} of tenant {tenant}"
