"""Clients that really spend what they were allowed, on one cap, and report it until it is taken."""

import asyncio
import math
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from router_battery.client import BrokenError, Connection
from router_bench.bodies import conversation
from router_model.catalog import Catalog
from router_model.pricing import call_cost_microusd
from router_model.types import Usage

TENANT = "acme"
OTHER = "other"
MAX_ANSWER = 500
# Of what a call may cost at most: the estimate of its tokens may be a little more than the bill.
SPENT_SHARE = 0.9
PAUSE_S = 0.02
REPORT_TRIES = 2000


class Tokens(msgspec.Struct, frozen=True):
    """The part of an answer that says how long the prompt is."""

    input_tokens: int


class Allowed(msgspec.Struct, frozen=True):
    """What is needed of a decision to spend."""

    decision_id: str
    model: str
    expected: Tokens


@dataclass
class Spent:
    """What all of them were allowed, paid and reported, in micro-dollars."""

    n_allowed: int = 0
    paid: int = 0
    reported: int = 0
    n_reported: int = 0
    n_hung_up: int = 0
    routes: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    # Allowed, and its outcome not acknowledged yet.
    n_open: int = 0


@dataclass
class Spenders:
    """`n` clients; `hang_up_share` of the calls are left before the answer."""

    ports: list[int]
    catalog: Catalog
    n: int = 64
    seed: int = 0
    hang_up_share: float = 0.0
    report_share: float = 1.0
    pause_s: float = 0.0
    spent: Spent = field(default_factory=Spent)
    is_over: bool = False

    async def spend(self, seconds: float) -> None:
        """Spend for some seconds; ends when every outcome is acknowledged."""
        tasks = [asyncio.create_task(self._client(number)) for number in range(self.n)]
        await asyncio.sleep(seconds)
        self.is_over = True
        await asyncio.gather(*tasks)

    async def _client(self, number: int) -> None:
        rng = random.Random(f"{self.seed}/{number}")
        body = request(seed=self.seed * 1000 + number)
        port = self.ports[number % len(self.ports)]
        connection = Connection(port)
        count = 0
        while not self.is_over:
            decision_id = f"s{self.seed}-{number}-{count}"
            count += 1
            if rng.random() < self.hang_up_share:
                await self._hang_up(port, decision_id, body)
                continue
            allowed = await self.ask(connection, decision_id, body)
            if allowed is None:
                await asyncio.sleep(PAUSE_S * (1 + rng.random()))
            elif rng.random() < self.report_share:
                await self._pay(connection, allowed)
            await asyncio.sleep(self.pause_s)
        connection.close()

    async def ask(self, connection: Connection, decision_id: str, body: bytes) -> Allowed | None:
        """Leave to call a model, and None where there is none."""
        headers = f"x-router-tenant: {TENANT}\r\nx-router-decision-id: {decision_id}\r\n"
        began = time.monotonic()
        try:
            answer = await connection.call("POST", "/route", body, headers=headers)
        except BrokenError as error:
            self.spent.routes[error.how] += 1
            return None
        finally:
            taken_ms = 1000 * (time.monotonic() - began)
            self.spent.slowest_ms = max(self.spent.slowest_ms, taken_ms)
        self.spent.routes[str(answer.status)] += 1
        if answer.status != 200:
            return None
        self.spent.n_allowed += 1
        return msgspec.json.decode(answer.body, type=Allowed)

    async def _pay(self, connection: Connection, allowed: Allowed) -> None:
        cost = self.cost(allowed)
        self.spent.paid += cost
        self.spent.n_open += 1
        for _ in range(REPORT_TRIES):
            status = await self.report(connection, allowed)
            self.spent.outcomes[status] += 1
            if status == "200":
                self.spent.reported += cost
                self.spent.n_reported += 1
                self.spent.n_open -= 1
                return
            await asyncio.sleep(PAUSE_S)

    async def report(self, connection: Connection, allowed: Allowed) -> str:
        """The status of an outcome's answer, or how the connection broke."""
        cost_usd = self.cost(allowed) / 1e6
        body = msgspec.json.encode(
            {"decision_id": allowed.decision_id, "model": allowed.model, "cost_usd": cost_usd}
        )
        headers = f"x-router-tenant: {TENANT}\r\n"
        try:
            answer = await connection.call("POST", "/outcomes", body, headers=headers)
        except BrokenError as error:
            return error.how
        return str(answer.status)

    def cost(self, allowed: Allowed) -> int:
        """What the call really costs: nothing cached, and an answer as long as is allowed."""
        price = self.catalog.models[allowed.model].price
        assert price is not None
        usage = Usage(input_tokens=allowed.expected.input_tokens, output_tokens=MAX_ANSWER)
        return math.floor(SPENT_SHARE * call_cost_microusd(price, usage))

    async def _hang_up(self, port: int, decision_id: str, body: bytes) -> None:
        self.spent.n_hung_up += 1
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        head = (
            f"POST /route HTTP/1.1\r\nhost: x\r\nx-router-tenant: {TENANT}\r\n"
            f"x-router-decision-id: {decision_id}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await asyncio.sleep(0.001)
        writer.close()


class Account(msgspec.Struct, frozen=True):
    """One limit as GET /budgets shows it."""

    limit: str
    cap: int
    settled: int
    held: int
    leased: int
    ends: str

    @property
    def used(self) -> int:
        """What nobody else can have."""
        return self.settled + self.held + self.leased


class Budgets(msgspec.Struct, frozen=True):
    """The answer of GET /budgets."""

    accounts: list[Account]


async def account_of(port: int, limit: str = "microusd_per_day") -> Account | None:
    """A limit of the tenant; None while it can't be read."""
    connection = Connection(port)
    try:
        answer = await connection.call("GET", f"/budgets?tenant={TENANT}")
    except BrokenError:
        return None
    finally:
        connection.close()
    if answer.status != 200:
        return None
    accounts = msgspec.json.decode(answer.body, type=Budgets).accounts
    return next(account for account in accounts if account.limit == limit)


async def account_when_there(port: int) -> Account:
    """The limit of the day, once it can be read."""
    async with asyncio.timeout(60):
        while (account := await account_of(port)) is None:
            await asyncio.sleep(0.1)
    return account


async def poked(port: int) -> None:
    """Make the ledger write something: what is due is done with the next write, not before."""
    connection = Connection(port)
    headers = f"x-router-tenant: {OTHER}\r\n"
    with suppress(BrokenError):
        await connection.call("POST", "/route", request(seed=0), headers=headers)
    connection.close()


def request(*, seed: int) -> bytes:
    """A chat request that says how long its answer may be."""
    body = msgspec.json.decode(conversation(4_000, seed=seed))
    return msgspec.json.encode({**body, "max_completion_tokens": MAX_ANSWER})


def tenants_file(usd_per_day: float, *, timezone: str = "UTC") -> str:
    """The tenants' settings with one cap, and another tenant's beside it."""
    other = f"[tenants.{OTHER}]\nusd_per_day = 10.0\n"
    return f'{other}[tenants.{TENANT}]\nusd_per_day = {usd_per_day}\ntimezone = "{timezone}"\n'
