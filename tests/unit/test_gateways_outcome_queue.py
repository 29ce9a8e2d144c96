import logging
from collections.abc import Sequence
from typing import Any

import pytest
from serving_process import wait_for
from webhook_receiver import receiving

from router_model.types import Outcome
from router_serving.gateways.outcome_queue import MAX_BATCH, OutcomeQueue
from router_serving.gateways.settings import GatewaySettings


def _queue(url: str, **more: Any) -> OutcomeQueue:
    return OutcomeQueue(GatewaySettings(url=url, **more))


def _outcome(number: int) -> Outcome:
    return Outcome(decision_id=f"d-{number}", model="m")


def _ids(bodies: Sequence[Any]) -> list[str]:
    return [one["decision_id"] for body in bodies for one in body]


def test_outcomes_are_sent_in_order_and_many_at_once() -> None:
    with receiving() as receiver:
        receiver.released.clear()
        queue = _queue(receiver.url)
        n = 2 * MAX_BATCH + 50
        for number in range(n):
            queue.put(_outcome(number), tenant="acme")
        receiver.released.set()
        wait_for(lambda: not len(queue))
        assert _ids(receiver.bodies) == [f"d-{number}" for number in range(n)]
        assert len(receiver.bodies) <= 5


def test_outcomes_of_one_post_are_of_one_tenant() -> None:
    with receiving() as receiver:
        receiver.released.clear()
        queue = _queue(receiver.url)
        for number, tenant in enumerate(("a", "a", "b", None)):
            queue.put(_outcome(number), tenant=tenant)
        receiver.released.set()
        queue.close()
        posts = [_ids([body]) for body in receiver.bodies]
        assert ["d-2"] in posts
        assert ["d-3"] in posts


def test_what_is_not_taken_is_sent_again() -> None:
    with receiving(503, 500, 401, 200) as receiver:
        queue = _queue(receiver.url)
        queue.put(_outcome(0), tenant=None)
        wait_for(lambda: not len(queue))
        assert _ids(receiver.bodies) == ["d-0"] * 4


def test_what_is_hopeless_is_found_and_dropped_alone(caplog: pytest.LogCaptureFixture) -> None:
    with receiving(503, 422, 200, 422, 200) as receiver:
        queue = _queue(receiver.url)
        for number in range(3):
            queue.put(_outcome(number), tenant=None)
        wait_for(lambda: not len(queue))
        assert _ids(receiver.bodies)[-3:] == ["d-0", "d-1", "d-2"]
    assert "outcome.refused status=422" in caplog.text


def test_beyond_its_bound_the_oldest_are_dropped_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with receiving(503) as receiver:
        queue = _queue(receiver.url, queue_outcomes=3, flush_s=0.0)
        for number in range(10):
            queue.put(_outcome(number), tenant=None)
        assert len(queue) == 3
        assert queue.n_dropped == 7
        queue.close()
    assert "outcomes.dropped" in caplog.text
    assert "outcomes.lost n=3" in caplog.text


def test_closing_sends_what_waits_and_does_not_wait_for_ever() -> None:
    with receiving() as receiver:
        queue = _queue(receiver.url)
        for number in range(5):
            queue.put(_outcome(number), tenant=None)
        queue.close()
        assert sorted(_ids(receiver.bodies)) == [f"d-{number}" for number in range(5)]


def test_a_receiver_that_is_away_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with receiving(503, 503, 503, 200) as receiver:
        queue = _queue(receiver.url)
        queue.put(_outcome(0), tenant=None)
        wait_for(lambda: not len(queue))
    assert caplog.text.count("outcomes.waiting") == 1
    assert caplog.text.count("outcomes.going") == 1
