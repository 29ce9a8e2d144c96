"""False stops, power and stickiness of the canary's test on simulated streams."""

import numpy as np
import pytest

from router_serving.canary import CANARY, CHAMPION, CanaryMonitor, Promise

pytestmark = pytest.mark.statistical

PROMISE = Promise(margin=0.02, delta=0.1, min_outcomes=20)


def stopped_at(
    seed: int, *, rate: float, base: float, share: float, n: int, promise: Promise = PROMISE
) -> int | None:
    """Sessions of the canary until it is stopped, of `n` sessions in all; None if it is not."""
    rng = np.random.default_rng(seed)
    is_canary = rng.random(n) < share
    is_bad = rng.random(n) < np.where(is_canary, rate, base)
    monitor = CanaryMonitor(promise)
    for i in range(n):
        side = CANARY if is_canary[i] else CHAMPION
        reason = monitor.observe(
            side,
            champion="a",
            tenant="t",
            session=str(i),
            adequate=not is_bad[i],
            is_error=False,
        )
        if reason is not None:
            return int(is_canary[: i + 1].sum())
    return None


@pytest.mark.parametrize(("base", "share"), [(0.05, 0.5), (0.3, 0.2)])
def test_a_canary_at_the_margin_is_stopped_falsely_with_at_most_delta(
    base: float, share: float
) -> None:
    n_streams = 150
    stops = [
        stopped_at(seed, rate=base + PROMISE.margin, base=base, share=share, n=1_500)
        for seed in range(n_streams)
    ]
    n_false = sum(stop is not None for stop in stops)
    delta = PROMISE.delta
    assert n_false <= n_streams * delta + 2 * (n_streams * delta * (1 - delta)) ** 0.5
    # The test spends its delta over an endless time, half of it on errors: far fewer stop early.
    assert n_false <= n_streams * delta


def test_an_equal_canary_is_stopped_falsely_with_at_most_delta() -> None:
    promise = Promise(margin=0.0, delta=0.1, min_outcomes=1)
    stops = [
        stopped_at(seed, rate=0.2, base=0.2, share=0.5, n=1_500, promise=promise)
        for seed in range(150)
    ]
    assert sum(stop is not None for stop in stops) <= 150 * promise.delta


@pytest.mark.parametrize(
    ("rate", "share", "most"), [(0.6, 0.1, 60), (0.4, 0.1, 150), (0.4, 0.5, 350)]
)
def test_a_clearly_worse_canary_is_stopped_soon(rate: float, share: float, most: int) -> None:
    stops = [stopped_at(seed, rate=rate, base=0.15, share=share, n=4_000) for seed in range(40)]
    found = [stop for stop in stops if stop is not None]
    assert len(found) == len(stops)
    assert np.median(found) <= most / 2
    assert np.quantile(found, 0.95) <= most


def false_stops_of_clusters(*, is_by_session: bool) -> int:
    """How many of 60 equal canaries are stopped where ten outcomes of a session are all alike."""
    n_false = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        monitor = CanaryMonitor(Promise(margin=0.0, delta=0.1, min_outcomes=1))
        reasons = []
        for i in range(300):
            side = CANARY if rng.random() < 0.5 else CHAMPION
            adequate = bool(rng.random() < 0.7)
            reasons += [
                monitor.observe(
                    side,
                    champion="a",
                    tenant="t",
                    session=f"{i}" if is_by_session else f"{i}/{turn}",
                    adequate=adequate,
                    is_error=False,
                )
                for turn in range(10)
            ]
        n_false += any(reasons)
    return n_false


def test_outcomes_of_one_session_are_not_taken_for_independent() -> None:
    assert false_stops_of_clusters(is_by_session=True) <= 60 * 0.1
    assert false_stops_of_clusters(is_by_session=False) > 60 * 0.1
