import pytest

from router_serving import canary
from router_serving.canary import CANARY, CHAMPION, CanaryMonitor, Promise, Side, session_key

PROMISE = Promise(margin=0.02, delta=0.05, min_outcomes=20)


def observe(
    monitor: CanaryMonitor,
    side: Side,
    session: str,
    *,
    adequate: bool | None = None,
    is_error: bool = False,
    champion: str = "a1",
) -> str | None:
    return monitor.observe(
        side,
        champion=champion,
        tenant="acme",
        session=session,
        adequate=adequate,
        is_error=is_error,
    )


def run(
    monitor: CanaryMonitor, n: int, *, bad: Side = CANARY, champion: str = "a1"
) -> tuple[int, str] | None:
    """Sessions in turn of which all of one side fail; when it was stopped, and why."""
    for i in range(n):
        for side in (CHAMPION, CANARY):
            session = f"{champion}{side}{i}"
            reason = observe(monitor, side, session, adequate=side != bad, champion=champion)
            if reason is not None:
                return i + 1, reason
    return None


def test_a_canary_that_fails_always_is_stopped_after_the_least_number_of_sessions() -> None:
    stopped = run(CanaryMonitor(PROMISE), 100)
    assert stopped is not None
    n, reason = stopped
    assert n == PROMISE.min_outcomes
    assert reason.startswith("inadequate: 20 of 20 sessions of the canary, 0 of 20 of the champion")
    assert "more by over 0.02 with confidence 0.975" in reason


def test_a_better_canary_is_never_stopped() -> None:
    assert run(CanaryMonitor(PROMISE), 300, bad=CHAMPION) is None


def test_errors_stop_a_canary_whose_answers_nobody_judges() -> None:
    monitor = CanaryMonitor(PROMISE)
    reasons = []
    for i in range(40):
        observe(monitor, CHAMPION, f"a{i}")
        reasons.append(observe(monitor, CANARY, f"b{i}", is_error=True))
    assert reasons[18] is None
    assert reasons[19] is not None
    assert reasons[19].startswith("error: 20 of 20 sessions of the canary")


def test_a_session_counts_once_whatever_it_reports_again() -> None:
    monitor = CanaryMonitor(PROMISE)
    for _ in range(500):
        assert observe(monitor, CANARY, "same", adequate=False) is None
        assert observe(monitor, CHAMPION, "other", adequate=True) is None


def test_a_session_that_is_judged_later_counts_then() -> None:
    monitor = CanaryMonitor(Promise(margin=0.02, delta=0.05, min_outcomes=1))
    for i in range(30):
        observe(monitor, CHAMPION, f"a{i}")
        observe(monitor, CANARY, f"b{i}")
    reasons = [
        observe(monitor, side, f"{name}{i}", adequate=side == CHAMPION)
        for i in range(30)
        for side, name in ((CHAMPION, "a"), (CANARY, "b"))
    ]
    assert any(reasons)


def test_counting_starts_anew_with_another_champion() -> None:
    monitor = CanaryMonitor(PROMISE)
    assert run(monitor, 19) is None
    stopped = run(monitor, 100, champion="a2")
    assert stopped is not None
    assert stopped[0] == PROMISE.min_outcomes


def test_workers_share_the_chance_of_a_false_stop() -> None:
    promise = Promise(margin=0.0, delta=0.05, min_outcomes=1)
    alone, many = run(CanaryMonitor(promise), 99), run(CanaryMonitor(promise, n_workers=64), 99)
    assert alone is not None
    assert many is not None
    assert alone[0] < many[0]


def test_no_more_sessions_are_counted_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canary, "MAX_SESSIONS", 10)
    assert run(CanaryMonitor(PROMISE), 100) is None


def test_sessions_spread_evenly_and_anew_with_another_salt() -> None:
    n = 4_000
    keys = {salt: [session_key("t", f"s{i}", salt=salt) for i in range(n)] for salt in ("a", "b")}
    below = {salt: [key < 0.3 * 2**64 for key in found] for salt, found in keys.items()}
    for found in below.values():
        assert abs(sum(found) / n - 0.3) < 4 * (0.3 * 0.7 / n) ** 0.5
    both = sum(a and b for a, b in zip(below["a"], below["b"], strict=True))
    assert abs(both / n - 0.09) < 4 * (0.09 * 0.91 / n) ** 0.5
    assert session_key("t", "s") != session_key("s", "t")
