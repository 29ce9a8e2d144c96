"""Calls of the last minute by model."""

from router_serving.load import LoadGauge


class Clock:
    now_s = 1000.5

    def __call__(self) -> float:
        return self.now_s


def test_load_is_the_calls_of_the_last_minute_for_each_model() -> None:
    clock = Clock()
    gauge = LoadGauge(clock)
    for model in ("a", "b", "a"):
        gauge.sent(model)
    clock.now_s += 30
    gauge.sent("a")
    assert gauge.of(("a", "b", "never")) == (3.0, 1.0, 0.0)
    clock.now_s += 30
    assert gauge.of(("a", "b")) == (1.0, 0.0)
    clock.now_s += 100_000
    assert gauge.of(("a",)) == (0.0,)
    gauge.sent("a")
    assert gauge.of(("a",)) == (1.0,)
