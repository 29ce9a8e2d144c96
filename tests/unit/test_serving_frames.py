"""What sessions with the same tools leave each other."""

from session_memories import CATALOG, LATER, REQUEST, billed, remembered, seen

from router_model.outline import outline_of
from router_model.session_view import NO_SESSION
from router_model.types import (
    Request,
    StepType,
    ToolSpec,
    Usage,
)
from router_serving.frames import MAX_FRAMES, FrameMemory, frame_of
from router_serving.prefixes import HeldPrefix
from router_serving.sessions import SessionMemory


def with_tools(request: Request, *names: str) -> Request:
    return Request(messages=request.messages, tools=tuple(ToolSpec(name=name) for name in names))


def test_a_new_session_finds_what_others_with_its_tools_left() -> None:
    memory = SessionMemory(10)
    request = with_tools(REQUEST, "read", "run")
    assert seen(memory, request) == NO_SESSION
    remembered(memory, request=request, session="first")
    billed(memory, 5000, 0)
    assert seen(memory, request) == NO_SESSION
    remembered(memory, request=request, session="second", decision_id="d2", now_s=5.0)
    billed(memory, 5000, 4200, decision_id="d2")
    view = seen(memory, with_tools(REQUEST, "run", "read"))
    assert (view.model, view.turn, view.is_lost) == (None, 0, False)
    prefix = view.prefixes["m"]
    assert (prefix.tokens, prefix.read_tokens, prefix.age_s) == (4200, 4200, 5.0)
    assert seen(memory, with_tools(LATER, "run", "read")).is_lost
    assert seen(memory, with_tools(REQUEST, "run")) == NO_SESSION
    assert seen(memory, request, step_type=StepType.TITLE) == NO_SESSION
    assert memory.view("other", "s", outline_of(request), now_s=10.0) == NO_SESSION


def test_an_impossible_bill_leaves_other_sessions_nothing() -> None:
    memory = SessionMemory(10)
    request = with_tools(REQUEST, "read")
    remembered(memory, request=request, session="first")
    billed(memory, 10**9, 10**9)
    assert seen(memory, request) == NO_SESSION


def test_a_sessions_own_prefix_comes_before_what_others_left() -> None:
    memory = SessionMemory(10)
    request = with_tools(REQUEST, "read")
    remembered(memory, request=request, session="first", decision_id="d0")
    billed(memory, 5000, 4200, decision_id="d0")
    remembered(memory, request=request, card=CATALOG.models["n"], tokens=9000)
    tokens = {m: p.tokens for m, p in seen(memory, request).prefixes.items()}
    assert tokens == {"m": 4200, "n": 9000}


def test_every_call_keeps_the_shared_frame_warm() -> None:
    memory = SessionMemory(10)
    request = with_tools(REQUEST, "read")
    remembered(memory, request=request, session="first", decision_id="d0")
    billed(memory, 5000, 4200, decision_id="d0")
    remembered(memory, request=request, session="first", decision_id="d1", now_s=250.0)
    assert seen(memory, request, now_s=260.0).prefixes["m"].age_s == 10.0


def test_sets_of_tools_are_bounded() -> None:
    frames = FrameMemory()
    for number in range(MAX_FRAMES + 5):
        key = frame_of("t", outline_of(with_tools(REQUEST, f"tool{number}")))
        left = HeldPrefix(tokens=5000, used_s=0.0, ttl_s=300)
        frames.learn(key, "m", Usage(input_tokens=5000, cached_tokens=4000), left)
    assert len(frames) == MAX_FRAMES
