import pytest
from prometheus_client import CollectorRegistry

from router_serving import connections
from router_serving.connections import MAX_REFUSED, Connections
from router_serving.settings import Settings


class Held:
    """A connection that only says whether it was closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Clock:
    """The time, as a test sets it."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(connections, "time", found)
    return found


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def two(registry: CollectorRegistry, clock: Clock) -> Connections:
    return Connections(Settings(max_connections=2), registry=registry)


def closed(registry: CollectorRegistry, cause: str) -> float | None:
    return registry.get_sample_value("router_connections_closed_total", {"cause": cause})


def test_connections_are_admitted_up_to_the_limit(
    two: Connections, registry: CollectorRegistry
) -> None:
    first = Held()
    assert two.admit(first)
    assert two.admit(Held())
    assert not two.admit(Held())
    assert closed(registry, "over_limit") == 1
    assert registry.get_sample_value("router_connections") == 2
    two.gone(first)
    assert registry.get_sample_value("router_connections") == 1
    assert two.admit(Held())


def test_the_longest_quiet_one_makes_room(
    two: Connections, clock: Clock, registry: CollectorRegistry
) -> None:
    first, second = Held(), Held()
    two.admit(first)
    clock.now_s += 0.5
    two.admit(second)
    two.busy(first)
    two.quiet(first)
    clock.now_s += 1.0
    assert two.admit(Held())
    assert (first.is_closed, second.is_closed) == (False, True)
    assert closed(registry, "evicted") == 1
    two.gone(second)  # its end is told later
    assert registry.get_sample_value("router_connections") == 2


def test_one_that_asks_something_never_makes_room(two: Connections, clock: Clock) -> None:
    for _ in range(2):
        held = Held()
        two.admit(held)
        two.busy(held)
    clock.now_s += 60.0
    assert not two.admit(Held())


def test_one_that_is_quiet_only_now_does_not_make_room(two: Connections, clock: Clock) -> None:
    two.admit(Held())
    two.admit(Held())
    clock.now_s += 0.9
    assert not two.admit(Held())


def test_a_crowd_of_refused_ones_is_known_until_they_are_gone(two: Connections) -> None:
    two.admit(Held())
    two.admit(Held())
    refused = [Held() for _ in range(MAX_REFUSED + 1)]
    for held in refused:
        assert not two.is_crowded
        two.admit(held)
    assert two.is_crowded
    two.gone(refused[0])
    assert not two.is_crowded
