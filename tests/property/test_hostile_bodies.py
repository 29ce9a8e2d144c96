"""Whatever is wrong with a body, it is refused on purpose or answered: nothing else comes out."""

import json
import random
from typing import Any

import pytest
from hostile_bodies import (
    OUTCOME,
    TOKENS,
    checked_outcomes,
    checked_parse,
    checked_route,
    enveloped,
    real,
    spoilt,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from routers import router
from served_engine import Served

from router_model.types import WireFormat

SERVED = Served(router())
seeds = st.integers(0, 2**32)
dialects = pytest.mark.parametrize("wire_format", list(WireFormat))
some = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@dialects
def test_the_bodies_are_good_before_they_are_spoilt(wire_format: WireFormat) -> None:
    for tree in (real(wire_format), enveloped(wire_format)):
        assert SERVED.sent(json.dumps(tree).encode()).answer.model


@dialects
@some
@given(seed=seeds)
def test_a_spoilt_body_is_refused_on_purpose_or_answered(
    wire_format: WireFormat, seed: int
) -> None:
    checked_route(SERVED, spoilt(real(wire_format), random.Random(seed)))


@dialects
@some
@given(seed=seeds)
def test_a_spoilt_envelope_is_refused_on_purpose_or_answered(
    wire_format: WireFormat, seed: int
) -> None:
    checked_route(SERVED, spoilt(enveloped(wire_format), random.Random(seed)))


@dialects
@some
@given(seed=seeds, other=st.sampled_from(WireFormat))
def test_a_spoilt_body_is_parsed_or_refused_also_as_another_dialect(
    wire_format: WireFormat, seed: int, other: WireFormat
) -> None:
    checked_parse(spoilt(real(wire_format), random.Random(seed)), wire_format=other)


@some
@given(seed=seeds, is_list=st.booleans())
def test_a_spoilt_outcome_is_refused_on_purpose_or_logged(seed: int, is_list: bool) -> None:
    tree: Any = [OUTCOME, OUTCOME] if is_list else OUTCOME
    checked_outcomes(spoilt(tree, random.Random(seed)))


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: ascii(token[:20]))
def test_no_token_alone_comes_through_as_anything_but_a_refusal(token: bytes) -> None:
    for body in (token, b"[" + token + b"]", b'{"request":' + token + b"}"):
        checked_route(SERVED, body)
        checked_outcomes(body)
        for wire_format in WireFormat:
            checked_parse(body, wire_format=wire_format)
