"""Lets calls be decided one after another, with a look at the network in between.

A decision takes about a millisecond of the event loop. Were all calls that have arrived decided at
once, nothing could be read or refused until the last of them: a burst of 300 would be a silence of
half a second. So the first call of an iteration of the loop passes, and the others wait in line.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge

from router_serving.errors import ClientGoneError, OverloadedError

MAX_WAITING_BYTES: Final = 256 * 1024 * 1024
"""Bodies of waiting calls, in memory: more are refused, however few calls they are."""
PATIENCE: Final = 0.5
"""Part of the deadline that the first in line may have waited when others join it.

They wait about as long as it did. With more, an overload is answered by the fallback throughout: at
twice the capacity, and four deadlines, 97% of the answers were.
"""
MAX_TURNS: Final = 64
"""Most calls that are decided in one iteration of the loop, where it has much else to do."""
_NEW_WEIGHT: Final = 0.1


class Connection(Protocol):
    """What is told when the caller hangs up."""

    on_lost: Callable[[], None] | None


class _Waiting(Struct, frozen=True, gc=False):
    since_ns: int
    n_bytes: int


class Turns:
    """The line of calls that wait for their decision: first come, first served, and bounded.

    Bounded in number and bytes, and in time: while the first in line has waited `patience_ms`,
    nobody else may join it, for that is how long they would wait.

    One call is let through in each iteration of the loop, and more only where refusing others
    takes the loop longer than deciding: at least half of its time goes into decisions.
    """

    def __init__(
        self,
        *,
        max_waiting: int,
        patience_ms: float,
        registry: CollectorRegistry,
        max_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._patience_ns = patience_ms * 1e6
        self._line: OrderedDict[asyncio.Future[None], _Waiting] = OrderedDict()
        self._n_bytes = 0
        self._is_turning = False
        self._turned_ns = 0
        self._busy_ns = 0
        self._usual_ns = 1_000_000.0
        self._waiting = Gauge(
            "router_waiting_calls",
            "Calls that wait for their decision",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def __len__(self) -> int:
        return len(self._line)

    def check(self, n_bytes: int = 0) -> None:
        """Raise OverloadedError where a call with so large a body could not wait."""
        if len(self._line) >= self._max_waiting:
            raise OverloadedError(
                f"calls: {len(self._line)} wait already, expected fewer than ROUTER_MAX_WAITING"
            )
        if self._n_bytes + n_bytes > self._max_bytes:
            raise OverloadedError(
                f"calls: {self._n_bytes} bytes of bodies wait already, expected room for "
                f"{n_bytes} more within {self._max_bytes}"
            )
        if self._line:
            waited_ns = time.perf_counter_ns() - next(iter(self._line.values())).since_ns
            if waited_ns > self._patience_ns:
                raise OverloadedError(
                    f"calls: the first of {len(self._line)} has waited {waited_ns / 1e6:.0f} ms, "
                    f"expected at most {self._patience_ns / 1e6:.0f}"
                )

    async def take(self, n_bytes: int, *, connection: Connection | None = None) -> int:
        """Return when it is this call's turn: the nanoseconds that it waited.

        Raises OverloadedError at once where too much waits already, and ClientGoneError when the
        caller hangs up.
        """
        if not self._is_turning:
            self._is_turning = True
            self._turned_ns = time.perf_counter_ns()
            asyncio.get_running_loop().call_soon(self._turn)
            return 0
        self.check(n_bytes)
        since_ns = time.perf_counter_ns()
        turn = asyncio.get_running_loop().create_future()
        self._line[turn] = _Waiting(since_ns, n_bytes)
        self._n_bytes += n_bytes
        if connection is not None:
            connection.on_lost = partial(self._lost, turn)
        try:
            await turn
        finally:
            self._leave(turn)
            if connection is not None:
                connection.on_lost = None
        return time.perf_counter_ns() - since_ns

    def spent(self, ns: int) -> None:
        """Learn that a decision took the loop so long."""
        self._busy_ns += ns
        self._usual_ns += _NEW_WEIGHT * (ns - self._usual_ns)

    def _turn(self) -> None:
        """Let the next ones through; runs once in each iteration while somebody waits."""
        self._waiting.set(len(self._line))
        if not self._line:
            self._is_turning = False
            return
        asyncio.get_running_loop().call_soon(self._turn)
        for _ in range(self._n_turns()):
            if not self._line:
                break
            turn, waiting = self._line.popitem(last=False)
            self._n_bytes -= waiting.n_bytes
            if not turn.done():
                turn.set_result(None)

    def _n_turns(self) -> int:
        """One, and as many more as fit into the time that the last iteration took otherwise."""
        now_ns = time.perf_counter_ns()
        other_ns = now_ns - self._turned_ns - self._busy_ns
        self._turned_ns, self._busy_ns = now_ns, 0
        return 1 + min(MAX_TURNS - 1, max(0, int(other_ns / max(self._usual_ns, 1.0))))

    def _leave(self, turn: asyncio.Future[None]) -> None:
        if (waiting := self._line.pop(turn, None)) is not None:
            self._n_bytes -= waiting.n_bytes

    def _lost(self, turn: asyncio.Future[None]) -> None:
        self._leave(turn)
        if not turn.done():
            turn.set_exception(ClientGoneError("the caller hung up"))
