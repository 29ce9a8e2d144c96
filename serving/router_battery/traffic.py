"""Callers in a closed loop who remember what they were told."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from router_battery.client import Answer, BrokenError, Connection
from router_bench.bodies import conversation

N_BODIES = 8
PAUSE_S = 0.02
# A caller repeats an outcome until it is acknowledged, but not for ever.
TRIES = 200


class Told(msgspec.Struct, frozen=True):
    """What a decision's answer says, as far as it is compared later."""

    decision_id: str
    model: str
    fallbacks: list[str]
    excluded: dict[str, str]
    versions: dict[str, str]


@dataclass
class Memory:
    """What all callers were told."""

    answered: dict[str, Told] = field(default_factory=dict)
    # decision_id → the latency that was reported, a number of its own for each outcome
    acknowledged: dict[str, int] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    unanswered: set[str] = field(default_factory=set)
    n_reports: int = 0
    last_answer_s: float = 0.0
    last_version: str = ""
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def n_errors(self) -> int:
        """Answers that are no 200."""
        return sum(n for status, n in self.statuses.items() if status != 200)


@dataclass
class Callers:
    """Callers against one port; each asks, and often reports an outcome."""

    port: int
    seed: int = 0
    n: int = 8
    report_share: float = 0.5
    body_bytes: int = 4_000
    headers: str = ""
    memory: Memory = field(default_factory=Memory)
    is_over: bool = False

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[Memory]:
        """Let them call while the block runs, and finish what they are at."""
        tasks = [asyncio.create_task(self._caller(number)) for number in range(self.n)]
        try:
            yield self.memory
        finally:
            self.is_over = True
            await asyncio.gather(*tasks)

    async def _caller(self, number: int) -> None:
        rng = random.Random(f"{self.seed}/{number}")
        bodies = [conversation(self.body_bytes, seed=rng.randrange(10**6)) for _ in range(N_BODIES)]
        connection = Connection(self.port)
        count = 0
        while not self.is_over:
            decision_id = f"c{self.seed}-{number}-{count}"
            count += 1
            told = await self._ask(connection, decision_id, rng.choice(bodies))
            if told is None:
                await asyncio.sleep(PAUSE_S)
            elif rng.random() < self.report_share:
                await self._report(connection, told)
        connection.close()

    async def _ask(self, connection: Connection, decision_id: str, body: bytes) -> Told | None:
        self.memory.asked.add(decision_id)
        headers = f"x-router-decision-id: {decision_id}\r\n{self.headers}"
        answer = await self._answer(connection, "/route", body, headers=headers)
        if answer is None:
            self.memory.unanswered.add(decision_id)
            return None
        if answer.status != 200:
            return None
        told = msgspec.json.decode(answer.body, type=Told)
        self.memory.answered[decision_id] = told
        self.memory.last_version = told.versions["artifact"]
        return told

    async def _report(self, connection: Connection, told: Told) -> None:
        self.memory.n_reports += 1
        latency_ms = self.memory.n_reports
        body = msgspec.json.encode(outcome(told.decision_id, told.model, latency_ms=latency_ms))
        for _ in range(TRIES):
            answer = await self._answer(connection, "/outcomes", body, headers=self.headers)
            if answer is not None and answer.status == 200:
                self.memory.acknowledged[told.decision_id] = latency_ms
                return
            if self.is_over or (answer is not None and answer.status < 500):
                return
            await asyncio.sleep(PAUSE_S)

    async def _answer(
        self, connection: Connection, path: str, body: bytes, *, headers: str
    ) -> Answer | None:
        began = time.monotonic()
        try:
            answer = await connection.call("POST", path, body, headers=headers)
        except BrokenError as error:
            self.memory.broken[error.how] += 1
            return None
        self.memory.last_answer_s = time.monotonic()
        if path == "/route":
            self.memory.latencies_ms.append(1000 * (self.memory.last_answer_s - began))
        self.memory.statuses[answer.status] += 1
        return answer


def outcome(decision_id: str, model: str, *, latency_ms: int = 1) -> dict[str, object]:
    """The body of an outcome."""
    return {
        "decision_id": decision_id,
        "attempt": 0,
        "model": model,
        "adequate": True,
        "usage": {"input_tokens": 1000, "cached_tokens": 0, "output_tokens": 100},
        "cost_usd": 0.001,
        "latency_ms": latency_ms,
    }
