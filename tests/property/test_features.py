"""Laws of the features that hold for every request."""

from random import Random

import numpy as np
import pytest
from conversations import SHELL_TOOLS, user, values
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from router_model.features import SCHEMA, extract
from router_model.features.harness import bounded, strip_harness
from router_model.tokens import estimate_many, estimate_tokens
from router_model.types import Message, Part, Request, StepType, ToolSpec

BEST_TOOL = ("best_tool_", "numbers_per_")
anything = st.text(max_size=300)
pieces = st.sampled_from(
    ["<task>", "</task>", "<system-reminder>", "</system-reminder>", "\n", "```", "Error: ", "{",
     "exit code 1", "fix the bug", "Traceback (most recent call last):", "@@ -1 +1 @@", "A) ", "- "]
)  # fmt: skip
texts = anything | st.lists(pieces | anything, max_size=8).map("".join)
parts = st.builds(
    Part,
    kind=st.sampled_from(["text", "image", "file", "thinking", "tool_call", "tool_result"]),
    text=texts,
    tool_name=st.sampled_from(["", "bash", "edit", "read", "get_weather"]),
    call_id=st.sampled_from(["", "a", "b"]),
    is_error=st.booleans(),
)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    parts=st.lists(parts, max_size=3).map(tuple),
)
tools = st.builds(
    ToolSpec,
    name=st.sampled_from(["bash", "edit_file", "get_weather", "getUserByID", ""]),
    description=texts,
    schema=st.sampled_from(
        [
            b"",
            b"{",
            b'{"properties": {"city": {}}, "required": ["city"]}',
            b'{"properties": {"bug": {"type": "float", "enum": ["fix", 1, null, [2]]}, "task": 3},'
            b' "required": ["bug", "task", "bug", "absent"]}',
            b'{"properties": {"n": {"type": "integer"}, "m": {"type": "HashMap"}}, "required": 1}',
        ]
    ),
)
requests = st.builds(
    Request,
    messages=st.lists(messages, max_size=6).map(tuple),
    system=texts,
    tools=st.lists(tools, max_size=4).map(tuple),
    temperature=st.none() | st.floats(0, 2),
    thinking=st.none() | st.sampled_from(["none", "low", "budget", "unheard of"]),
    max_output_tokens=st.none() | st.integers(0, 200_000),
)


@given(requests)
def test_every_value_is_finite_and_none_is_negative(request: Request) -> None:
    row = extract(request).values
    assert np.isfinite(row).all()
    assert (row >= 0).all()


@given(requests)
def test_shares_and_flags_stay_between_zero_and_one(request: Request) -> None:
    row = extract(request).values
    bounded_units = [unit in ("share", "flag") for unit in SCHEMA.units]
    assert (row[bounded_units] <= 1).all()


@given(requests)
def test_equal_requests_give_bit_equal_rows(request: Request) -> None:
    copied = Request(**{name: getattr(request, name) for name in request.__struct_fields__})
    assert extract(request).values.tobytes() == extract(copied).values.tobytes()


@given(st.lists(requests, max_size=5))
def test_the_row_of_a_request_does_not_depend_on_what_came_before(batch: list[Request]) -> None:
    forwards = [extract(request).values.tobytes() for request in batch]
    backwards = [extract(request).values.tobytes() for request in reversed(batch)]
    assert forwards == backwards[::-1]


@given(requests)
def test_exactly_one_step_type_is_marked_and_it_is_the_one_reported(request: Request) -> None:
    context = extract(request)
    marked = [step for step in StepType if context.values[SCHEMA.index(f"is_step_{step}")]]
    assert marked == [context.step_type]


@given(requests)
def test_one_more_tool_never_lowers_the_tokens(request: Request) -> None:
    more = replace(request, tools=(*request.tools, SHELL_TOOLS[0]))
    assert extract(more).input_tokens > extract(request).input_tokens
    assert values(more)["n_tools"] == values(request)["n_tools"] + 1


@given(requests, st.randoms(use_true_random=False))
def test_the_order_of_tools_matters_only_where_two_match_equally(
    request: Request, random: Random
) -> None:
    shuffled = replace(request, tools=tuple(random.sample(request.tools, len(request.tools))))
    first, second = values(request), values(shuffled)
    if first["overlap_best"] == first["overlap_second"]:
        first = {name: first[name] for name in first if not name.startswith(BEST_TOOL)}
    assert {name: second[name] for name in first} == pytest.approx(first, rel=1e-6)


@given(requests, anything.map(str.strip).filter(lambda text: text and "<" not in text))
def test_a_reminder_before_the_text_changes_neither_text_nor_step(
    request: Request, text: str
) -> None:
    reminder = "<system-reminder>\nKeep the rules.\n</system-reminder>\n"
    plain = extract(replace(request, messages=(*request.messages, user(text))))
    reminded = extract(replace(request, messages=(*request.messages, user(reminder + text))))
    assert reminded.text == plain.text
    assert reminded.step_type == plain.step_type


@given(texts)
def test_a_stripped_text_is_never_longer(text: str) -> None:
    assert len(strip_harness(text)) <= len(text)


@given(texts, st.integers(1, 40), st.integers(1, 40))
def test_a_bounded_text_keeps_both_ends_within_its_bounds(text: str, head: int, tail: int) -> None:
    short = bounded(text, head=head, tail=tail)
    assert len(short) <= max(len(text), head + tail + 1)
    assert len(short) <= head + tail + 1
    assert short[:head] == text[:head]
    assert short[-tail:] == text[-tail:]


@given(st.lists(texts, max_size=12), st.integers(1, 60))
def test_token_estimates_do_not_depend_on_their_neighbours(batch: list[str], times: int) -> None:
    batch = [text * times for text in batch]
    assert estimate_many(batch) == [estimate_tokens(text) for text in batch]


@given(texts)
def test_an_estimate_is_between_zero_and_a_few_tokens_per_byte(text: str) -> None:
    assert 0 <= estimate_tokens(text) <= 1.3 * len(text.encode("utf-8", "replace"))
