import asyncio

from router_serving.watch import Watch


class Looks:
    """Counts its looks; the first of two fails every time."""

    def __init__(self) -> None:
        self.n_failed = 0
        self.n_fine = 0
        self.seen = asyncio.Event()

    async def fail(self) -> None:
        self.n_failed += 1
        raise OSError("gone")

    async def fine(self) -> None:
        self.n_fine += 1
        self.seen.set()


def test_a_look_that_fails_does_not_stop_the_others() -> None:
    async def watched() -> Looks:
        looks = Looks()
        watch = Watch([looks.fail, looks.fine], poll_s=3600.0)
        await watch.look()
        await watch.look()
        return looks

    looks = asyncio.run(watched())
    assert (looks.n_failed, looks.n_fine) == (2, 2)


def test_it_looks_in_turn_and_at_once_when_told() -> None:
    async def watched(poll_s: float, *, told: bool) -> int:
        looks = Looks()
        watch = Watch([looks.fine], poll_s=poll_s)
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(0)
        if told:
            watch.look_now()
        await asyncio.wait_for(looks.seen.wait(), 10.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return looks.n_fine

    assert asyncio.run(watched(0.01, told=False)) >= 1
    assert asyncio.run(watched(3600.0, told=True)) == 1
