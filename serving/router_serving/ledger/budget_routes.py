"""The route that shows what is used and left of a caller's limits."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from router_model.types import Caller
from router_serving.access import Reader
from router_serving.envelope import name_of
from router_serving.ledger.limits import Limited
from router_serving.ledger.types import Balance
from router_serving.openapi import problems
from router_serving.routes import DEFAULT_TENANT, Parts, Tenant, as_json, named_tenant

router = APIRouter(tags=["spend"])


class AccountBody(BaseModel):
    """One limit in its present window; a budget's amounts are whole micro-dollars."""

    limit: str = Field(description="As errors name it.")
    subject: str
    unit: Literal["microusd", "tokens", "requests"]
    is_soft: bool
    cap: int
    settled: int = Field(description="Billed, of the calls that were decided in this window.")
    held: int = Field(description="Reserved for calls whose bill has not come.")
    leased: int = Field(description="With the processes of the service, to be given away.")
    left: int
    ends: str = Field(description="End of the window: UTC, ISO 8601.")


class BudgetsBody(BaseModel):
    """The limits of one caller."""

    tenant: str
    accounts: list[AccountBody]


@router.get("/budgets", response_model=BudgetsBody, responses=problems(422, 500, 503))
async def get_budgets(
    parts: Parts,
    rights: Reader,
    tenant: Annotated[str | None, Query(description="The key's own by default.")] = None,
    key: Annotated[
        str | None, Query(description="Limits of this key, not of nameless ones.")
    ] = None,
    user: Annotated[str | None, Query(description="The soft budget of this user, too.")] = None,
    x_router_tenant: Tenant = None,
) -> Response:
    """What is used and left of the limits in tenants.toml."""
    rights.check_tenant(tenant, "tenant")
    named = named_tenant(rights, x_router_tenant) if tenant is None else name_of(tenant, "tenant")
    caller = Caller(
        tenant=named or DEFAULT_TENANT,
        key=None if key is None else name_of(key, "key"),
        user=None if user is None else name_of(user, "user"),
    )
    limits = parts.engine.tenants.of(caller.tenant).limits
    found = await parts.ledger.balances(caller, limits)
    accounts = [_shown(limited, balance) for limited, balance in found]
    return as_json({"tenant": caller.tenant, "accounts": accounts})


def _shown(limited: Limited, balance: Balance) -> dict[str, object]:
    account = limited.account
    return {
        "limit": limited.rule.limit,
        "subject": limited.subject,
        "unit": account.unit,
        "is_soft": account.is_soft,
        "cap": account.cap,
        "settled": balance.settled,
        "held": balance.held,
        "leased": balance.leased,
        "left": max(0, account.cap - balance.used),
        "ends": f"{datetime.fromtimestamp(account.ends_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
