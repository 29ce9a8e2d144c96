"""Carries what a process has to say to the ledger's store, in batches, off the event loop.

Everything waiting is one batch and one transaction. After a failure nobody knows what the store
took in, so this process goes on under a new name: what was leased under the old one lapses there
by itself, and only what is safe to say twice, the holds, is said again.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import structlog
from msgspec import Struct, structs
from ulid import ULID

from router_serving.errors import LedgerError
from router_serving.ledger.types import (
    Batch,
    Bill,
    Billed,
    Charge,
    Committed,
    Count,
    Grant,
    Hold,
    LedgerStore,
)

T = TypeVar("T")
Answer = tuple[tuple[int, ...], tuple[Billed, ...]]
# Holds that wait for a store that doesn't answer; beyond them the oldest are not written, and
# their calls stay covered by the lease until it lapses.
MAX_HOLDS: Final = 50_000
_log = structlog.get_logger(__name__)


class Question(Struct, frozen=True):
    """Grants or bills; `answer` is None where nobody waits for it."""

    grants: tuple[Grant, ...]
    bills: tuple[Bill, ...]
    answer: asyncio.Future[Answer] | None = None


class Keeper:
    """The one way to the store: `run` is a task, and all else is called in the same event loop."""

    def __init__(
        self,
        store: LedgerStore,
        *,
        hold_s: float,
        clock: Callable[[], float],
        granted: Callable[[Sequence[Grant], Sequence[int]], None],
        committed: Callable[[Committed], None],
        failed: Callable[[LedgerError], None],
    ) -> None:
        self._store = store
        self._hold_s = hold_s
        self._clock = clock
        self._granted = granted
        self._committed = committed
        self._failed = failed
        self._worker = _name()
        self._questions: list[Question] = []
        self._returns: list[Charge] = []
        self._holds: list[Hold] = []
        self._counts: list[Count] = []
        self._again: list[Batch] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self.last_error: str | None = None

    @property
    def has_something_to_say(self) -> bool:
        """True while something waits for a batch."""
        waiting = (self._questions, self._returns, self._holds, self._counts, self._again)
        return any(waiting)

    async def grant(self, grants: tuple[Grant, ...]) -> tuple[int, ...]:
        """What is leased of each; LedgerError when the store can't be asked."""
        return (await self._ask(grants, ()))[0]

    def grant_ahead(self, grants: tuple[Grant, ...]) -> None:
        """Have more leased with the next batch."""
        self._questions.append(Question(grants, ()))
        self._wake.set()

    async def bill(self, bills: tuple[Bill, ...]) -> tuple[Billed, ...]:
        """What became of each bill, once that is durable; LedgerError when it is not."""
        return (await self._ask((), bills))[1]

    def hold(self, hold: Hold) -> None:
        """Have a hold written with the next batch."""
        if len(self._holds) >= MAX_HOLDS:
            self._holds.pop(0)
        self._holds.append(hold)
        self._wake.set()

    def give_back(self, charges: Sequence[Charge]) -> None:
        """Have free units returned with the next batch."""
        self._returns += charges

    def count(self, counts: Sequence[Count]) -> None:
        """Have calls and spending counted with the next batch."""
        self._counts += counts

    def look(self) -> None:
        """Have a batch committed even if nothing is to be said: leases stay alive."""
        self._wake.set()

    async def off_loop(self, question: Callable[[LedgerStore], T]) -> T:
        """The answer of a question to the store, asked between two batches."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, question, self._store)

    async def run(self) -> None:
        """Commit what waits until `close` is called, and then what is left."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            is_last = self._is_closing
            await self._commit_waiting()
            if is_last:
                return

    def close(self) -> None:
        """End `run` after one more batch."""
        self._is_closing = True
        self._wake.set()

    async def shut(self) -> None:
        """Close the store; nothing can be said any more."""
        await self.off_loop(lambda store: store.close())
        self._thread.shutdown()

    async def _ask(self, grants: tuple[Grant, ...], bills: tuple[Bill, ...]) -> Answer:
        if self._is_closing:
            raise LedgerError("the ledger is closed: the service is shutting down")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._questions.append(Question(grants, bills, answer))
        self._wake.set()
        return await answer

    async def _commit_waiting(self) -> None:
        again, self._again = self._again, []
        questions, self._questions = self._questions, []
        holds, self._holds = self._holds, []
        batch = Batch(
            worker=self._worker,
            now_s=self._clock(),
            hold_s=self._hold_s,
            returns=tuple(self._returns),
            holds=tuple(holds),
            bills=tuple(bill for question in questions for bill in question.bills),
            grants=tuple(grant for question in questions for grant in question.grants),
            counts=tuple(self._counts),
        )
        self._returns, self._counts = [], []
        try:
            for earlier in again:
                self._committed(structs.replace(await self._sent(earlier), kept=()))
            committed = await self._sent(batch)
        except LedgerError as error:
            self._broke(error, again, batch, questions)
            return
        self.last_error = None
        # Taken in here, for whoever asked may have hung up.
        self._granted(batch.grants, committed.granted)
        self._committed(committed)
        _answer(questions, committed)

    async def _sent(self, batch: Batch) -> Committed:
        return await self.off_loop(lambda store: store.commit(batch))

    def _broke(
        self, error: LedgerError, again: list[Batch], batch: Batch, questions: list[Question]
    ) -> None:
        """Keep what may be said again, and tell those who wait that it failed.

        Holds of calls that were answered meanwhile came out of the same leases.
        """
        self.last_error = str(error)
        self._worker = _name()
        holds = (*batch.holds, *self._holds)
        self._holds, self._returns = [], []
        kept = structs.replace(batch, returns=(), holds=holds, bills=(), grants=(), counts=())
        self._again = [old for old in (*again, kept) if old.holds]
        for question in questions:
            if question.answer is not None and not question.answer.done():
                question.answer.set_exception(LedgerError(str(error)))
        self._failed(error)


def _answer(questions: list[Question], committed: Committed) -> None:
    """Deal out the answers in the order of the questions."""
    granted, billed = iter(committed.granted), iter(committed.billed)
    for question in questions:
        amounts = tuple(next(granted) for _ in question.grants)
        bills = tuple(next(billed) for _ in question.bills)
        if question.answer is not None and not question.answer.done():
            question.answer.set_result((amounts, bills))


def _name() -> str:
    return f"{os.getpid()}-{ULID()}"
