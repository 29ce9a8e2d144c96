"""Laws of the wire formats that hold for every conversation and for every input."""

import json
from itertools import pairwise
from typing import Any

from dialects import RENDERERS, Talk, Turn, encoded, rendered
from drawn_talks import json_values, scalars, talks
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from router_model import formats
from router_model.errors import InvalidRequestError
from router_model.outline import outline_of
from router_model.session import fingerprint
from router_model.types import Caller, Request, WireFormat

# Field names and values that occur in real bodies, so that random JSON gets past the first check.
# fmt: off
FIELDS = [
    "messages", "input", "contents", "role", "content", "parts", "type", "text", "tools",
    "tool_calls", "function", "name", "arguments", "parameters", "functionDeclarations",
    "functionCall", "functionResponse", "response", "system", "systemInstruction",
    "instructions", "tool_choice", "thinking", "generationConfig", "thinkingConfig", "source",
    "output", "call_id", "tool_use_id", "id", "summary", "reasoning", "metadata", "user_id",
    "format", "schema", "json_schema", "cache_control", "is_error", "tool_config",
    "inline_data", "custom", "action", "queries", "conversation", "client_metadata",
]
VALUES = [
    "user", "assistant", "system", "developer", "tool", "model", "text", "tool_use",
    "tool_result", "thinking", "document", "function_call", "function_call_output", "reasoning",
    "message", "custom_tool_call", "mcp_call", "shell_call_output", "namespace",
    "item_reference", "json_schema", '{"session_id":1}', "{",
]
# fmt: on
wild_scalars = scalars | st.sampled_from(VALUES)
wild = st.recursive(
    wild_scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=25,
)
wild_bodies = st.fixed_dictionaries(
    {}, optional={"messages": wild, "input": wild, "contents": wild, "tools": wild, "system": wild}
) | st.dictionaries(st.sampled_from(FIELDS), wild, max_size=5)


@given(talks())
def test_the_same_conversation_is_the_same_request_in_every_dialect(talk: Talk) -> None:
    requests = [formats.parse(rendered(talk, dialect)) for dialect in WireFormat]
    assert all(request == requests[0] for request in requests[1:])


@given(talks())
def test_the_dialect_is_found_or_makes_no_difference(talk: Talk) -> None:
    for dialect in WireFormat:
        body = rendered(talk, dialect)
        assert formats.parse(body) == formats.parse(body, wire_format=dialect)


@given(talks(), st.sampled_from(WireFormat))
def test_a_request_keeps_what_was_said_and_its_shape(talk: Talk, dialect: WireFormat) -> None:
    request = formats.parse(rendered(talk, dialect))
    roles = [message.role for message in request.messages]
    assert all(first != second for first, second in pairwise(roles))
    assert all(message.parts for message in request.messages)
    parts = [part for message in request.messages for part in message.parts]
    calls = [call for turn in talk.turns for _, step in turn.steps for call in step]
    assert [json.loads(part.text) for part in parts if part.kind == "tool_call"] == [
        call.arguments for call in calls
    ]
    assert [part.text for part in parts if part.kind == "tool_result"] == [
        call.answer for call in calls
    ]


@given(talks(), st.sampled_from(WireFormat))
def test_the_fingerprint_survives_more_turns(talk: Talk, dialect: WireFormat) -> None:
    def named(shown: Talk) -> str:
        return fingerprint(outline_of(formats.parse(rendered(shown, dialect))), Caller())

    assume(talk.turns[0].user.strip())  # who says nothing is known by what comes later
    first = Turn(talk.turns[0].user, (("Well.", ()),))
    start = Talk((first,), tools=talk.tools)
    later = Talk((first, *talk.turns), tools=talk.tools, system="Today is Monday.")
    assert named(start) == named(later)


def parsed_or_refused(body: bytes, dialect: WireFormat | None) -> Request | InvalidRequestError:
    """What parsing gives; any error but the documented one fails the test."""
    try:
        return formats.parse(body, wire_format=dialect)
    except InvalidRequestError as error:
        return error


@settings(max_examples=400)
@given(wild_bodies, st.none() | st.sampled_from(WireFormat))
def test_arbitrary_json_is_parsed_or_refused_by_field(
    body: Any, dialect: WireFormat | None
) -> None:
    outcome = parsed_or_refused(encoded(body), dialect)
    if isinstance(outcome, InvalidRequestError):
        assert outcome.field
        assert str(outcome).startswith(outcome.field)


@settings(max_examples=200)
@given(st.binary(max_size=60), st.none() | st.sampled_from(WireFormat))
def test_arbitrary_bytes_are_parsed_or_refused(body: bytes, dialect: WireFormat | None) -> None:
    parsed_or_refused(body, dialect)
    parsed_or_refused(b'{"messages": [{"role": "user", "content": "%s"}]}' % body, dialect)


@settings(max_examples=200)
@given(talks(), st.sampled_from(WireFormat), st.data())
def test_one_wrong_value_anywhere_is_survived(
    talk: Talk, dialect: WireFormat, data: st.DataObject
) -> None:
    body = RENDERERS[dialect](talk)
    spot: Any = body
    while True:
        keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(spot[key], dict | list) or not spot[key] or data.draw(st.booleans()):
            break
        spot = spot[key]
    spot[key] = data.draw(json_values)
    parsed_or_refused(encoded(body), dialect)
