"""Carries what a process has to say to the ledger's store, in batches, off the event loop.

Everything waiting is one batch and one transaction. After a failure nobody knows whether the store
took it in, so it is said again, unchanged and under its number, before anything else is.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import structlog
from msgspec import Struct
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
# their calls stay covered by the lease.
MAX_HOLDS: Final = 50_000
# Counts that wait likewise; beyond them the oldest are missing in the usual pace.
MAX_COUNTS: Final = 10_000
_log = structlog.get_logger(__name__)


class Question(Struct, frozen=True):
    """Grants or bills; `answer` is None where nobody waits for it."""

    grants: tuple[Grant, ...]
    bills: tuple[Bill, ...]
    answer: asyncio.Future[Answer] | None = None


class Keeper:
    """The one way to the store: `run` is a task, and all else is called in the same event loop.

    Every batch keeps leases alive for `hold_s`.
    """

    def __init__(
        self,
        store: LedgerStore,
        *,
        hold_s: float,
        clock: Callable[[], float],
        committed: Callable[[Batch, Committed], None],
        failed: Callable[[LedgerError], None],
    ) -> None:
        self._store = store
        self._hold_s = hold_s
        self._clock = clock
        self._committed = committed
        self._failed = failed
        self._worker = _name()
        self._questions: list[Question] = []
        self._returns: list[Charge] = []
        self._holds: list[Hold] = []
        self._counts: list[Count] = []
        self._in_doubt: Batch | None = None
        self._number = 0
        self._wake = asyncio.Event()
        self._is_closing = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self.last_error: str | None = None

    @property
    def has_something_to_say(self) -> bool:
        """True while something waits for a batch."""
        waiting = (self._questions, self._returns, self._holds, self._counts, self._in_doubt)
        return any(waiting)

    async def grant(self, grants: tuple[Grant, ...]) -> tuple[int, ...]:
        """What is leased of each; LedgerError when the store can't be asked."""
        return (await self._ask(grants, ()))[0]

    def grant_ahead(self, grants: tuple[Grant, ...]) -> None:
        """Have more leased with the next batch, unless that is the last."""
        if self._is_closing:
            return
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
        del self._counts[:-MAX_COUNTS]

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
        """Say what is left after `run`, and close the store: nothing can be said any more."""
        if self.has_something_to_say:
            await self._commit_waiting()
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
        """Settle what is in doubt, then commit what waits; who waits is told if either fails."""
        questions, self._questions = self._questions, []
        try:
            if self._in_doubt is not None:
                await self._commit(self._in_doubt)
            committed = await self._commit(self._batch(questions))
        except LedgerError as error:
            self._broke(error, questions)
            return
        except Exception as error:  # noqa: BLE001  # the ledger outlives a batch nobody foresaw
            _log.exception("ledger.batch_lost")
            self._in_doubt = None
            self._broke(LedgerError(f"a batch was lost: {type(error).__name__}"), questions)
            return
        self.last_error = None
        _answer(questions, committed)

    def _broke(self, error: LedgerError, questions: list[Question]) -> None:
        self.last_error = str(error)
        for question in questions:
            if question.answer is not None and not question.answer.done():
                question.answer.set_exception(LedgerError(str(error)))
        self._failed(error)

    async def _commit(self, batch: Batch) -> Committed:
        self._in_doubt = batch
        answer = await self.off_loop(lambda store: store.commit(batch))
        self._in_doubt = None
        # Taken in here, for whoever asked may have hung up.
        self._committed(batch, answer)
        return answer

    def _batch(self, questions: list[Question]) -> Batch:
        """Everything that waits, and nothing of it waits any more."""
        self._number += 1
        batch = Batch(
            worker=self._worker,
            number=self._number,
            now_s=self._clock(),
            hold_s=self._hold_s,
            returns=tuple(self._returns),
            holds=tuple(self._holds),
            bills=tuple(bill for question in questions for bill in question.bills),
            grants=tuple(grant for question in questions for grant in question.grants),
            counts=tuple(self._counts),
        )
        self._returns, self._holds, self._counts = [], [], []
        return batch


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
