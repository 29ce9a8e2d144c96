import json
from typing import Any

from msgspec.structs import replace

from router_model import formats
from router_model.answers import Steps
from router_model.types import Message, Part, Request

ASKED = Request(
    messages=(
        Message("user", (Part("text", "Fix it"),)),
        Message("assistant", (Part("tool_call", "{}", "ls", "call_1"),)),
        Message("tool", (Part("tool_result", "a.py", "ls", "call_1"),)),
    ),
    system="Be brief.",
)


def ask(steps: Steps, request: Request, decision: str, **where: Any) -> str | None:
    terms: dict[str, Any] = {"session": "s", "now": 0.0} | where
    return steps.asked(request, decision_id=decision, **terms)


def asked_again(again: Request, **where: Any) -> str | None:
    """The decision that the second request asks again, after the first has ended."""
    steps = Steps()
    assert ask(steps, ASKED, "d1") is None
    steps.ended("d1")
    return ask(steps, again, "d2", **where)


def test_the_same_step_asked_again_names_the_decision_before() -> None:
    steps = Steps()
    for number in range(3):
        before = ask(steps, ASKED, f"d{number}", now=float(number))
        assert before == (f"d{number - 1}" if number else None)
        steps.ended(f"d{number}")


def test_another_model_marker_or_call_id_is_the_same_step() -> None:
    call = Part("tool_call", "{}", "ls", "toolu_9", has_cache_marker=True)
    messages = (ASKED.messages[0], Message("assistant", (call,)), ASKED.messages[2])
    assert asked_again(replace(ASKED, requested_model="other", messages=messages)) == "d1"


def test_another_word_session_or_result_is_another_step() -> None:
    result = Message("tool", (Part("tool_result", "b.py", "ls", "call_1"),))
    assert asked_again(replace(ASKED, messages=(*ASKED.messages[:2], result))) is None
    assert asked_again(replace(ASKED, system="Be long.")) is None
    assert asked_again(ASKED, session="other") is None
    more = Message("user", (Part("text", "Try again"),))
    assert asked_again(replace(ASKED, messages=(*ASKED.messages, more))) is None


def test_what_is_asked_long_afterwards_is_another_step() -> None:
    assert asked_again(ASKED, now=600.0) == "d1"
    assert asked_again(ASKED, now=601.0) is None


def test_several_at_once_and_repeats_of_one_decision_are_no_retries() -> None:
    steps = Steps()
    assert ask(steps, ASKED, "d1") is None
    assert ask(steps, ASKED, "d2") is None
    steps.ended("d2")
    assert ask(steps, ASKED, "d2") is None
    steps.ended("unknown")


def test_the_oldest_steps_are_forgotten() -> None:
    steps = Steps(max_steps=2, window_s=10.0)
    for number in range(5):
        ask(steps, replace(ASKED, system=str(number)), f"d{number}")
        steps.ended(f"d{number}")
    assert len(steps) == 2
    assert ask(steps, replace(ASKED, system="0"), "new") is None
    assert ask(steps, replace(ASKED, system="4"), "newer") == "d4"
    ask(steps, replace(ASKED, system="late"), "late", now=100.0)
    assert len(steps) == 1


def test_text_that_is_no_valid_unicode_is_a_step_too() -> None:
    odd = replace(ASKED, system="\ud83d")
    assert asked_again(odd) is None
    body = {"messages": [{"role": "user", "content": "x"}]}
    assert asked_again(formats.parse(json.dumps(body).encode())) is None
