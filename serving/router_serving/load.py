"""How many calls each model was sent in the last minute, as a measure of its load."""

import time
from array import array
from collections.abc import Callable, Mapping, Sequence

WINDOW_S = 60


class LoadGauge:
    """Counts the calls of this process, used by its one event loop.

    Counts are kept by whole seconds, so that a model takes half a kilobyte however many calls it
    is sent. `clock` gives seconds that never go back. Another worker's calls are not seen.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._models: dict[str, _Ring] = {}

    def sent(self, model: str) -> None:
        """Count one call to `model`, a model of the catalog."""
        ring = self._models.get(model)
        if ring is None:
            ring = self._models[model] = _Ring()
        ring.add(int(self._clock()))

    def of(self, models: Sequence[str]) -> tuple[float, ...]:
        """Calls sent to each of `models` in the last 60 seconds."""
        second = int(self._clock())
        rings = (self._models.get(model) for model in models)
        return tuple(0.0 if ring is None else float(ring.total_at(second)) for ring in rings)

    def by_model(self, models: Sequence[str], *, n_workers: int) -> Mapping[str, int]:
        """Calls of the last minute by model, those without any left out.

        Workers are taken to share the calls evenly: training counts those of all of them.
        """
        counts = zip(models, self.of(models), strict=True)
        return {model: int(count) * n_workers for model, count in counts if count}


class _Ring:
    """Counts of the last `WINDOW_S` seconds, each in the slot of its second."""

    __slots__ = ("_counts", "_head", "_total")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * WINDOW_S))
        self._head = 0
        self._total = 0

    def add(self, second: int) -> None:
        self._advance(second)
        self._counts[self._head % WINDOW_S] += 1
        self._total += 1

    def total_at(self, second: int) -> int:
        self._advance(second)
        return self._total

    def _advance(self, second: int) -> None:
        """Clear the slots of the seconds that have left the window."""
        for passed in range(self._head + 1, min(second, self._head + WINDOW_S) + 1):
            slot = passed % WINDOW_S
            self._total -= self._counts[slot]
            self._counts[slot] = 0
        self._head = max(self._head, second)
