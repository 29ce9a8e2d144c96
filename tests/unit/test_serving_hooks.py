import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routers import router
from serving_process import BODIES, CHAT

from router_model import formats
from router_model.errors import InvalidRequestError
from router_model.types import Outcome, WireFormat
from router_serving.hooks.pending import Pending, PendingDecisions
from router_serving.hooks.retries import Retries
from router_serving.hooks.systemone import models_of
from router_serving.hooks.wire import Seen, wire_outcome

REQUEST = formats.parse(json.dumps(CHAT).encode())
NAMED = {"decision_id": "d", "model": "m"}
TEXT = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}


def outcome(decision_id: str, latency_ms: float | None = 100.0) -> Outcome:
    return Outcome(decision_id=decision_id, model="m", latency_ms=latency_ms)


def asked(retries: Retries, decision_id: str, *, now_s: float, **changes: Any) -> Outcome | None:
    session = changes.pop("session", "s")
    told = outcome(decision_id, **changes)
    return retries.reported(told, REQUEST, session=session, now_s=now_s)


def test_a_step_that_was_answered_and_is_asked_again_is_a_retry() -> None:
    retries = Retries()
    assert asked(retries, "d1", now_s=10.0) is None
    again = asked(retries, "d2", now_s=12.0)
    assert again == Outcome(decision_id="d1", model="m", signals={"retried": True})
    assert asked(retries, "d2", now_s=12.5) is None  # reported twice
    assert asked(retries, "d3", now_s=13.0, session="other") is None


@pytest.mark.parametrize("latency_ms", [5_000.0, None])
def test_calls_side_by_side_or_of_unknown_length_are_no_retries(latency_ms: float | None) -> None:
    retries = Retries()
    asked(retries, "d1", now_s=10.0)
    assert asked(retries, "d2", now_s=12.0, latency_ms=latency_ms) is None


def test_retries_and_pending_decisions_keep_a_bounded_number() -> None:
    retries = Retries(max_steps=2)
    pending = PendingDecisions(max_entries=2)
    for number in range(5):
        asked(retries, f"d{number}", now_s=float(number), session=f"s{number}")
        pending.add("acme", b"%d" % number, Pending(f"d{number}", 0.0))
    assert len(retries._ended) == len(retries._steps) == 2
    assert [pending.take("acme", b"%d" % number) is None for number in range(5)] == [
        *(True, True, True, False, False)
    ]


def test_the_path_names_the_dialect_before_the_body_does() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 999})
    usage = {"input_tokens": 3, "output_tokens": 2}
    answer = {"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
    response = json.dumps({"type": "message", "role": "assistant", **answer, "usage": usage})
    seen = Seen(request=body.encode(), response=response.encode(), path="/v1/messages?beta=true")
    told = wire_outcome(NAMED, seen).outcome
    assert told.usage is not None
    assert (told.usage.input_tokens, told.usage.output_tokens, told.error) == (3, 2, None)


def test_usage_that_contradicts_itself_is_left_out_and_the_rest_is_kept() -> None:
    usage = {"prompt_tokens": 10**12, "completion_tokens": 1}
    response = json.dumps({**TEXT, "usage": usage}).encode()
    seen = Seen(request=json.dumps(CHAT).encode(), response=response, status=200)
    told = wire_outcome(NAMED, seen).outcome
    assert told.usage is None or told.usage.input_tokens <= 10**9
    assert told.signals["truncated"] is False


def test_a_key_is_refused_where_it_would_be_logged_and_nowhere_else() -> None:
    secret = "rk_ab12cd34_" + 43 * "x"
    response = json.dumps(TEXT).replace("Hi", secret).encode()
    assert wire_outcome(NAMED, Seen(response=response)).outcome.error is None
    with pytest.raises(InvalidRequestError):
        wire_outcome({**NAMED, "error": secret}, Seen())


MEMBERS = [
    *("choices", "usage", "message", "content", "output", "candidates", "type", "delta"),
    *("prompt_tokens", "input_tokens", "tool_calls", "messages", "tools", "error"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    request=st.sampled_from([json.dumps(body).encode() for body in BODIES.values()])
    | st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode()),
    response=st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n"),
    wire_format=st.none() | st.sampled_from(WireFormat),
    status=st.none() | st.sampled_from([200, 400, 503]),
    is_cut=st.booleans(),
)
def test_whatever_went_over_the_wire_makes_an_outcome(
    request: bytes, response: bytes, wire_format: WireFormat | None, status: int, is_cut: bool
) -> None:
    seen = Seen(
        request=request, response=response, wire_format=wire_format, status=status, is_cut=is_cut
    )
    told = wire_outcome(NAMED, seen).outcome
    assert (told.decision_id, told.model) == ("d", "m")
    if status is not None and status >= 400:
        assert told.error == f"http_{status}"


def test_a_model_of_several_tiers_stands_in_the_first_that_is_asked_for() -> None:
    catalog = router().catalog
    first, second = list(catalog.models)[:2]
    tiers = {"simple": [first], "COMPLEX": [first, second, "no-such-model"]}
    found = models_of(["SIMPLE", "COMPLEX"], tiers, catalog=catalog)
    assert found == {first: "SIMPLE", second: "COMPLEX"}
    assert models_of([first], {}, catalog=catalog) == {first: first}
    with pytest.raises(InvalidRequestError):
        models_of(["REASONING"], tiers, catalog=catalog)
