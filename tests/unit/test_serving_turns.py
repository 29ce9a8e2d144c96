import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from router_serving.errors import ClientGoneError, OverloadedError
from router_serving.turns import MAX_TURNS, Turns


class Line:
    """Some turns and the order in which calls got through, by iteration of the loop."""

    def __init__(
        self, *, max_waiting: int = 100, max_bytes: int = 1_000, patience_ms: float = 60_000
    ) -> None:
        self.registry = CollectorRegistry()
        self.turns = Turns(
            max_waiting=max_waiting,
            max_bytes=max_bytes,
            patience_ms=patience_ms,
            registry=self.registry,
        )
        self.passed: list[tuple[int, int]] = []
        self.iteration = 0

    async def call(self, number: int, n_bytes: int = 1) -> None:
        await self.turns.take(n_bytes)
        self.turns.spent(10**9)  # deciding is all that takes time
        self.passed.append((number, self.iteration))

    async def iterate(self, n: int) -> None:
        for _ in range(n):
            await asyncio.sleep(0)
            self.iteration += 1


def run(test: Callable[[Line], Awaitable[None]], line: Line | None = None) -> Line:
    used = line or Line()

    async def body() -> None:
        await test(used)

    asyncio.run(body())
    return used


class Caller:
    """A connection that can be lost."""

    on_lost: Callable[[], None] | None = None


def test_the_first_call_passes_at_once_and_waited_no_time() -> None:
    async def test(line: Line) -> None:
        assert await line.turns.take(10) == 0

    run(test)


def test_calls_pass_in_order_one_in_each_iteration() -> None:
    async def test(line: Line) -> None:
        calls = [asyncio.ensure_future(line.call(i)) for i in range(10)]
        await line.iterate(30)
        await asyncio.gather(*calls)

    line = run(test)
    assert [number for number, _ in line.passed] == list(range(10))
    iterations = [iteration for _, iteration in line.passed]
    assert len(set(iterations)) == 10


def test_a_call_that_comes_later_does_not_overtake() -> None:
    async def test(line: Line) -> None:
        early = [asyncio.ensure_future(line.call(i)) for i in range(5)]
        await line.iterate(2)
        late = asyncio.ensure_future(line.call(5))
        await asyncio.gather(*early, late)

    assert [number for number, _ in run(test).passed] == list(range(6))


def test_the_line_is_empty_again_afterwards() -> None:
    async def test(line: Line) -> None:
        await asyncio.gather(*(line.call(i) for i in range(5)))
        await line.iterate(3)
        assert len(line.turns) == 0
        assert await line.turns.take(1_000) == 0
        assert line.registry.get_sample_value("router_waiting_calls") == 0

    run(test)


def test_whoever_waits_learns_how_long() -> None:
    async def test(line: Line) -> None:
        waited = await asyncio.gather(line.turns.take(1), line.turns.take(1), line.turns.take(1))
        assert waited[0] == 0
        assert min(waited[1:]) > 0

    run(test)


def test_more_calls_than_may_wait_are_refused_at_once() -> None:
    async def test(line: Line) -> None:
        calls = [asyncio.ensure_future(line.call(i)) for i in range(4)]
        await line.iterate(1)
        with pytest.raises(OverloadedError, match="ROUTER_MAX_WAITING"):
            line.turns.check()
        with pytest.raises(OverloadedError, match="3 wait already"):
            await line.turns.take(1)
        await asyncio.gather(*calls)
        await line.iterate(2)
        assert await line.turns.take(1) == 0

    run(test, Line(max_waiting=3))


def test_more_bytes_than_may_wait_are_refused_at_once() -> None:
    async def test(line: Line) -> None:
        calls = [asyncio.ensure_future(line.call(i, 400)) for i in range(3)]
        await line.iterate(1)
        with pytest.raises(OverloadedError, match="800 bytes of bodies wait already"):
            await line.turns.take(201)
        small = asyncio.ensure_future(line.call(9, 200))
        await asyncio.gather(*calls, small)

    run(test)


def test_nobody_joins_while_the_first_in_line_has_waited_too_long() -> None:
    async def test(line: Line) -> None:
        calls = [asyncio.ensure_future(line.call(i)) for i in range(4)]
        await asyncio.sleep(0)
        line.turns.check()
        time.sleep(0.06)  # the loop is busy
        with pytest.raises(OverloadedError, match=r"the first of 3 has waited \d+ ms, .* 50"):
            await line.turns.take(1)
        await asyncio.gather(*calls)
        line.turns.check()

    run(test, Line(patience_ms=50))


def test_a_cancelled_call_leaves_the_line() -> None:
    async def test(line: Line) -> None:
        calls = [asyncio.ensure_future(line.call(i, 300)) for i in range(4)]
        await asyncio.sleep(0)
        calls[1].cancel()
        await asyncio.sleep(0)
        line.turns.check(400)
        await asyncio.gather(*calls, return_exceptions=True)

    assert [number for number, _ in run(test).passed] == [0, 2, 3]


def test_a_caller_that_hangs_up_leaves_the_line() -> None:
    async def test(line: Line) -> None:
        caller = Caller()
        first = asyncio.ensure_future(line.call(0))
        second = asyncio.ensure_future(line.turns.take(900, connection=caller))
        third = asyncio.ensure_future(line.call(2))
        await asyncio.sleep(0)
        assert caller.on_lost is not None
        caller.on_lost()
        line.turns.check(999)
        with pytest.raises(ClientGoneError):
            await second
        assert caller.on_lost is None
        await asyncio.gather(first, third)

    assert [number for number, _ in run(test).passed] == [0, 2]


def test_where_other_work_takes_the_loop_more_calls_pass_in_an_iteration() -> None:
    async def test(line: Line) -> None:
        async def quick(number: int) -> None:
            await line.turns.take(0)
            line.passed.append((number, line.iteration))

        for _ in range(200):
            line.turns.spent(1)  # a decision takes next to nothing, all else takes longer
        calls = [asyncio.ensure_future(quick(i)) for i in range(90)]
        await line.iterate(30)
        await asyncio.gather(*calls)

    passed = run(test).passed
    assert [number for number, _ in passed] == list(range(90))
    per_iteration = [sum(1 for _, at in passed if at == i) for i in {at for _, at in passed}]
    assert 1 < max(per_iteration) <= MAX_TURNS
