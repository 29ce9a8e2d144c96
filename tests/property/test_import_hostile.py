"""Whatever stands in a row, a reader gives lines, and each line is a call or says why not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from gateway_samples import (
    attribute,
    chat_attributes,
    console_span,
    exported,
    observation,
    payload,
    score,
    span,
    spend,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from log_samples import HashEncoder

from router_data.gateway_log import Reader, read_plain
from router_data.gateway_rows import GatewayRowMaker
from router_data.imports.langfuse import read_langfuse
from router_data.imports.litellm import read_litellm
from router_data.imports.otel import read_otel
from router_data.imports.records import Record
from router_data.imports.scores import ScoreRule, Scores
from router_model.errors import InvalidRequestError

Row = dict[str, Any]
MAKER = GatewayRowMaker(HashEncoder(), finds_retries=True)
RULE = ScoreRule(names=frozenset({"quality"}))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "{", "[1]", '{"a": 1}', "text", "2026-11-20", "1e400", "-5", "true", "sk-1"]
    )
    | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "parts",
                    "type",
                    "id",
                    "name",
                    "input",
                    "total",
                    "code",
                    "function",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
PLAIN: Row = {
    "id": "1",
    "ts": 1_795_168_800,
    "model": "m",
    "request": {"messages": [{"role": "user", "content": "x"}]},
    "response": {"choices": [{"message": {"content": "y"}}]},
}


def typed_span(**changes: Any) -> Row:
    plain = {name: value for name, value in chat_attributes().items() if name not in changes}
    told = [attribute(name, value) for name, value in plain.items()]
    told += [{"key": name, "value": value} for name, value in changes.items()]
    return exported(span(attributes={}) | {"attributes": told})


def spread_span(**changes: Any) -> Row:
    return console_span(attributes=chat_attributes(**changes))


def event_span(**changes: Any) -> Row:
    events = [{"name": f"gen_ai.{name}", "attributes": value} for name, value in changes.items()]
    return console_span(events=events)


EVENTS = ("user.message", "tool.message", "choice", "content.prompt", "evaluation.result")
SOURCES: dict[str, tuple[Callable[..., Row], tuple[str, ...], Reader]] = {
    "plain": (lambda **changes: PLAIN | changes, (*PLAIN, "usage", "signals"), read_plain),
    "payload": (lambda **c: payload(0) | c, tuple(payload()), read_litellm),
    "spend": (lambda **c: spend(0) | c, tuple(spend()), partial(read_litellm, tenant_field="a.b")),
    "otlp": (typed_span, tuple(chat_attributes()), partial(read_otel, tenant_field="a.b")),
    "console": (lambda **c: console_span(0) | c, tuple(console_span()), read_otel),
    "attributes": (spread_span, tuple(chat_attributes()), read_otel),
    "events": (event_span, EVENTS, partial(read_otel, rule=RULE)),
    "langfuse": (
        lambda **c: observation(0) | c,
        tuple(observation()),
        partial(read_langfuse, scores=Scores(None)),
    ),
}


@pytest.mark.parametrize("name", sorted(SOURCES))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_odd_member_gives_a_line_that_is_a_call_or_says_why_not(
    name: str, data: st.DataObject
) -> None:
    make, members, reader = SOURCES[name]
    changes = data.draw(st.dictionaries(st.sampled_from(members), VALUES, min_size=1, max_size=3))
    record = Record(1, msgspec.json.encode(make(**changes)))
    for line in reader(record):
        assert (line.call is not None) + bool(line.problem) + bool(line.left_out) == 1
        if line.call is None:
            continue
        try:
            *_, outcome, decision = MAKER.rows(line.call)
        except InvalidRequestError:
            continue
        assert outcome["decision_id"] == decision["decision_id"]
        msgspec.json.encode([outcome, decision])


@settings(max_examples=100, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(tuple(score())), VALUES, min_size=1, max_size=4))
def test_an_odd_score_is_used_or_counted(changes: Row) -> None:
    scores = Scores(RULE)
    scores.add(score() | changes)
    assert scores.names.total() == 1
    assert scores.n_used + scores.n_unusable <= 1
    judged = scores.of(call="obs-0", trace="trace-0", session=None)
    assert not judged or scores.n_used == 1
