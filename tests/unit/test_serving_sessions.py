"""What is remembered of a session: models, turns, prefixes, bills, pins."""

from typing import Any

import pytest
from serving_decisions import decision

from router_model.catalog import Catalog, catalog_of
from router_model.session_view import NO_SESSION, SessionView
from router_model.types import (
    Capabilities,
    Message,
    ModelCard,
    Outcome,
    Part,
    Request,
    StepType,
    ToolSpec,
    Usage,
)
from router_serving.frames import MAX_FRAMES, FrameMemory, frame_of
from router_serving.load import LoadGauge
from router_serving.prefixes import HeldPrefix
from router_serving.sessions import MAX_PREFIXES, SESSION_TTL_S, SessionMemory

CARD = ModelCard(
    id="m",
    provider="p",
    snapshot="m",
    family="f",
    context_window=100_000,
    max_output_tokens=1000,
    capabilities=Capabilities(caching="automatic"),
    cache_ttl_s=300,
    min_cache_tokens=1024,
)
REQUEST = Request(messages=(Message("user", (Part("text", "hi"),)),))
MARKED = Request(messages=REQUEST.messages, n_cache_markers=1)
LATER = Request(messages=(*REQUEST.messages, Message("assistant", (Part("text", "yes"),))))


def card(**changes: Any) -> ModelCard:
    return ModelCard(**{field: getattr(CARD, field) for field in CARD.__struct_fields__} | changes)


def remembered(
    memory: SessionMemory,
    *,
    card: ModelCard = CARD,
    request: Request = REQUEST,
    tokens: int = 5000,
    step_type: StepType = StepType.MAIN,
    tenant: str = "t",
    session: str = "s",
    now_s: float = 0.0,
    decision_id: str = "d1",
    **options: Any,
) -> None:
    taken = decision(
        decision_id=decision_id, model=card.id, input_tokens=tokens, step_type=step_type
    )
    memory.remember(taken, request, card, tenant=tenant, session=session, now_s=now_s, **options)


def cached(
    memory: SessionMemory, *, session: str = "s", tokens: int = 9000, now_s: float = 1.0
) -> Any:
    view = memory.view("t", session, LATER, now_s=now_s)
    return {
        model: min(prefix.tokens, tokens)
        for model, prefix in view.prefixes.items()
        if prefix.tokens and prefix.age_s < prefix.ttl_s
    }


def test_the_prefix_of_the_last_call_is_warm_for_its_model() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    assert cached(memory) == {"m": 5000}


def test_each_model_of_a_session_keeps_its_own_prefix() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    remembered(memory, card=card(id="n"), tokens=7000)
    assert cached(memory) == {"m": 5000, "n": 7000}


def test_a_prefix_is_cold_once_the_lifetime_has_passed() -> None:
    memory = SessionMemory(10)
    remembered(memory, now_s=100.0)
    assert cached(memory, now_s=399.9) == {"m": 5000}
    assert cached(memory, now_s=400.0) == {}


def test_a_call_never_reads_more_than_it_sends() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    assert cached(memory, tokens=1200) == {"m": 1200}


def test_sessions_and_tenants_are_apart() -> None:
    memory = SessionMemory(10)
    remembered(memory, session="other")
    remembered(memory, tenant="other")
    assert cached(memory) == {}


@pytest.mark.parametrize(
    ("model", "request_", "step_type", "tokens"),
    [
        (card(capabilities=Capabilities(caching="none")), REQUEST, StepType.MAIN, 5000),
        (card(capabilities=Capabilities(caching="marked")), REQUEST, StepType.MAIN, 5000),
        (CARD, REQUEST, StepType.TITLE, 5000),
        (CARD, REQUEST, StepType.MAIN, 1023),
    ],
    ids=["no caching", "nothing marked", "side call", "below the minimum"],
)
def test_what_leaves_no_prefix_is_not_remembered(
    model: ModelCard, request_: Request, step_type: StepType, tokens: int
) -> None:
    memory = SessionMemory(10)
    remembered(memory, card=model, request=request_, step_type=step_type, tokens=tokens)
    assert cached(memory) == {}


def test_a_marked_prefix_is_remembered() -> None:
    memory = SessionMemory(10)
    remembered(memory, card=card(capabilities=Capabilities(caching="marked")), request=MARKED)
    assert cached(memory) == {"m": 5000}


def test_the_session_used_longest_ago_is_forgotten_first() -> None:
    memory = SessionMemory(2)
    for session in ("a", "b", "a", "c"):
        remembered(memory, session=session)
    assert len(memory) == 2
    assert cached(memory, session="a")
    assert not cached(memory, session="b")


def test_a_memory_of_no_entries_stays_empty() -> None:
    memory = SessionMemory(0)
    remembered(memory)
    assert len(memory) == 0


CATALOG: Catalog = catalog_of(
    [
        CARD,
        card(id="n", snapshot="n-2026-01-01", aliases=("nn",)),
        card(id="marked", capabilities=Capabilities(caching="marked"), long_cache_ttl_s=3600),
        card(id="none", capabilities=Capabilities()),
    ],
    as_of="2026-11-23",
)


def served(
    memory: SessionMemory, *, decision_id: str = "d1", model: str = "m", **fields: Any
) -> None:
    outcome = Outcome(decision_id=decision_id, model=model, **fields)
    memory.observe(outcome, tenant="t", catalog=CATALOG)


def billed(memory: SessionMemory, tokens: int, read: int = 0, **fields: Any) -> None:
    served(memory, usage=Usage(input_tokens=tokens, cached_tokens=read), **fields)


def seen(
    memory: SessionMemory, request: Request = LATER, *, now_s: float = 10.0, **options: Any
) -> SessionView:
    return memory.view("t", "s", request, now_s=now_s, **options)


def test_a_new_conversation_is_no_session_and_a_history_nobody_remembers_is_lost() -> None:
    memory = SessionMemory(10)
    assert seen(memory, REQUEST) == NO_SESSION
    assert seen(memory, LATER) == SessionView(turn=1, is_lost=True)
    remembered(memory)
    assert not seen(memory, LATER).is_lost


def test_the_view_says_who_answered_last_and_how_often_and_what_each_model_holds() -> None:
    memory = SessionMemory(10)
    remembered(memory, now_s=1.0)
    remembered(memory, card=CATALOG.models["n"], tokens=6000, now_s=4.0, decision_id="d2")
    view = seen(memory)
    assert (view.model, view.turn, view.pin) == ("n", 2, None)
    held = {m: (p.tokens, p.age_s, p.ttl_s) for m, p in view.prefixes.items()}
    assert held == {"m": (5000, 9.0, 300), "n": (6000, 6.0, 300)}


def test_a_view_is_not_changed_by_what_comes_after_it() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    view = seen(memory)
    billed(memory, 5500, 100)
    remembered(memory, tokens=7000, decision_id="d2")
    assert view.turn == 1
    assert view.prefixes["m"].tokens == 5000


@pytest.mark.parametrize("step_type", [step for step in StepType if step.is_side_call])
def test_a_side_call_changes_nothing_of_the_session(step_type: StepType) -> None:
    memory = SessionMemory(10)
    remembered(memory, tokens=9000, step_type=step_type)
    assert len(memory) == 0
    remembered(memory)
    before = seen(memory)
    remembered(
        memory, card=CATALOG.models["n"], tokens=9000, step_type=step_type, decision_id="side"
    )
    billed(memory, 9000, 0, decision_id="side", model="n")
    assert seen(memory) == before


def test_a_side_call_finds_no_prefix_but_the_learned_ratio() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    billed(memory, 6000)
    prefix = seen(memory, step_type=StepType.TITLE).prefixes["m"]
    assert (prefix.tokens, prefix.token_ratio) == (0, 1.2)


def test_a_compaction_reads_the_conversation_it_continues_not_one_that_it_quotes() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    assert seen(memory, LATER, step_type=StepType.COMPACTION).prefixes["m"].tokens == 5000
    assert seen(memory, REQUEST, step_type=StepType.COMPACTION).prefixes["m"].tokens == 0


def test_the_bill_puts_the_real_size_for_the_estimated_one() -> None:
    memory = SessionMemory(10)
    remembered(memory, tokens=5000, estimated_tokens=4000)
    billed(memory, 5600)
    prefix = seen(memory).prefixes["m"]
    assert (prefix.tokens, prefix.token_ratio) == (5600, 1.4)
    assert (prefix.n_hits, prefix.n_misses) == (0, 0)  # the first call could read nothing


def test_hits_and_misses_are_those_of_the_reads_that_were_expected() -> None:
    memory = SessionMemory(10)
    for turn, read in enumerate((0, 4900, 100, 5300)):
        remembered(memory, tokens=5000 + 200 * turn, decision_id=f"d{turn}", now_s=turn)
        billed(memory, 5000 + 200 * turn, read, decision_id=f"d{turn}")
    prefix = seen(memory).prefixes["m"]
    assert (prefix.n_hits, prefix.n_misses, prefix.read_tokens) == (2, 1, 5300)


def test_a_read_after_the_lifetime_is_not_expected() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    remembered(memory, now_s=300.0, decision_id="d2")
    billed(memory, 5000, 0, decision_id="d2")
    assert seen(memory, now_s=301.0).prefixes["m"].n_misses == 0


def test_a_bill_counts_once() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    remembered(memory, decision_id="d2")
    for _ in range(3):
        billed(memory, 5000, 5000, decision_id="d2")
    assert seen(memory).prefixes["m"].n_hits == 1


@pytest.mark.parametrize("tokens", [1, 10**9])
def test_an_impossible_bill_does_not_set_the_ratio(tokens: int) -> None:
    memory = SessionMemory(10)
    remembered(memory)
    billed(memory, tokens)
    assert seen(memory).prefixes["m"].token_ratio == 1.0


def test_a_late_bill_teaches_the_newer_prefix_but_not_its_size() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    remembered(memory, tokens=8000, decision_id="d2")
    billed(memory, 6000, 0)
    prefix = seen(memory).prefixes["m"]
    assert (prefix.tokens, prefix.token_ratio) == (8000, 1.2)


def test_the_fallback_that_served_holds_the_prefix_not_the_model_that_was_chosen() -> None:
    memory = SessionMemory(10)
    remembered(memory, tokens=5000)
    remembered(memory, tokens=6000, decision_id="d2", now_s=5.0)
    served(memory, decision_id="d2", model="m", error="APIConnectionError")
    view = seen(memory)
    assert (view.model, view.turn, view.prefixes["m"].tokens) == ("m", 1, 5000)
    billed(memory, 6100, 0, decision_id="d2", model="provider/N-2026-01-01")
    view = seen(memory)
    assert (view.model, view.turn) == ("n", 2)
    assert {m: (p.tokens, p.age_s) for m, p in view.prefixes.items()} == {
        "m": (5000, 10.0),
        "n": (6100, 5.0),
    }


def test_a_fallback_is_seen_without_the_failure_and_in_any_order() -> None:
    memory = SessionMemory(10)
    remembered(memory, tokens=6000)
    billed(memory, 6100, model="nn")
    served(memory, model="m", error="APIConnectionError")
    view = seen(memory)
    assert (view.model, view.turn, set(view.prefixes)) == ("n", 1, {"n"})


def test_an_attempt_that_failed_and_was_repeated_is_one_turn() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    served(memory, error="timeout")
    served(memory, error="timeout")
    assert (seen(memory).model, seen(memory).turn) == (None, 0)
    served(memory)
    billed(memory, 5100)
    view = seen(memory)
    assert (view.model, view.turn, view.prefixes["m"].tokens) == ("m", 1, 5100)


def test_a_late_fallback_does_not_take_the_place_of_a_later_answer() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    remembered(memory, card=CATALOG.models["n"], tokens=7000, decision_id="d2", now_s=3.0)
    billed(memory, 5000, model="n")
    view = seen(memory)
    assert (view.model, view.turn, view.prefixes["n"].tokens) == ("n", 2, 7000)
    assert "m" not in view.prefixes


def test_a_model_outside_the_catalog_leaves_nothing_and_no_last_model() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    billed(memory, 5000, model="who-knows")
    view = seen(memory)
    assert (view.model, view.turn, dict(view.prefixes)) == (None, 1, {})


def test_outcomes_of_other_decisions_and_tenants_change_nothing() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    billed(memory, 9000, decision_id="other")
    bill = Outcome(decision_id="d1", model="m", usage=Usage(input_tokens=9000))
    memory.observe(bill, tenant="other", catalog=CATALOG)
    assert seen(memory).prefixes["m"].tokens == 5000


@pytest.mark.parametrize(
    ("model", "asked", "kept"),
    [
        ("m", None, 300),
        ("m", 3600, 300),  # has no long lifetime
        ("marked", 3600, 3600),
        ("marked", 7200, 3600),
        ("marked", 300, 300),
        ("marked", None, 300),
    ],
)
def test_a_prefix_is_kept_as_long_as_markers_ask_and_the_model_can(
    model: str, asked: int | None, kept: int
) -> None:
    memory = SessionMemory(10)
    request = Request(messages=REQUEST.messages, n_cache_markers=1, cache_ttl_s=asked)
    remembered(memory, card=CATALOG.models[model], request=request)
    assert seen(memory).prefixes[model].ttl_s == kept


def test_a_pin_is_the_model_of_the_call_that_asked_first_until_it_is_lifted() -> None:
    memory = SessionMemory(10)
    remembered(memory, pin_session=True)
    remembered(memory, card=CATALOG.models["n"], decision_id="d2", pin_session=True)
    remembered(memory, card=CATALOG.models["n"], decision_id="d3")
    assert seen(memory).pin == "m"
    remembered(memory, decision_id="d4", pin_session=False)
    assert seen(memory).pin is None


def test_a_session_unused_for_a_day_is_lost() -> None:
    memory = SessionMemory(10)
    remembered(memory, pin_session=True)
    assert seen(memory, now_s=SESSION_TTL_S - 1.0).pin == "m"
    assert seen(memory, now_s=SESSION_TTL_S).is_lost
    remembered(memory, session="other", now_s=SESSION_TTL_S, decision_id="d2")
    assert len(memory) == 1


def test_models_of_a_session_are_bounded() -> None:
    memory = SessionMemory(10)
    for number in range(MAX_PREFIXES + 3):
        remembered(memory, card=card(id=f"m{number}"), decision_id=f"d{number}")
    assert list(seen(memory).prefixes) == [f"m{n}" for n in range(3, MAX_PREFIXES + 3)]


def test_a_decision_forgotten_before_its_bill_comes_teaches_nothing() -> None:
    memory = SessionMemory(1)
    remembered(memory)
    remembered(memory, tokens=6000, decision_id="d2")
    billed(memory, 9000)
    assert seen(memory).prefixes["m"].tokens == 6000


def test_the_bill_of_an_evicted_session_teaches_nothing() -> None:
    memory = SessionMemory(1)
    remembered(memory)
    remembered(memory, session="other", decision_id="d2")
    billed(memory, 9000)
    assert seen(memory).is_lost


def test_the_view_holds_the_last_bill_beside_its_estimate() -> None:
    memory = SessionMemory(10)
    remembered(memory, tokens=5000, estimated_tokens=4000)
    billed(memory, 5600)
    remembered(memory, tokens=6000, estimated_tokens=4400, decision_id="d2")
    prefix = seen(memory).prefixes["m"]
    assert (prefix.billed_tokens, prefix.estimated_tokens, prefix.tokens) == (5600, 4000, 6000)


def test_a_model_that_read_more_than_was_sent_keeps_its_answers_until_it_reads_less() -> None:
    memory = SessionMemory(10)
    # (billed, read, what the next call may read): each answer has 300 tokens
    turns = ((5000, 0, 5000), (5600, 5250, 5900), (6500, 5900, 6800), (7000, 6500, 7000))
    for turn, (tokens, read, kept) in enumerate(turns):
        remembered(memory, tokens=tokens, decision_id=f"d{turn}", now_s=turn)
        usage = Usage(input_tokens=tokens, cached_tokens=read, output_tokens=300)
        served(memory, decision_id=f"d{turn}", usage=usage)
        assert seen(memory).prefixes["m"].tokens == kept, turn


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
    assert memory.view("other", "s", request, now_s=10.0) == NO_SESSION


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
        key = frame_of("t", with_tools(REQUEST, f"tool{number}"))
        left = HeldPrefix(tokens=5000, used_s=0.0, ttl_s=300)
        frames.learn(key, "m", Usage(input_tokens=5000, cached_tokens=4000), left)
    assert len(frames) == MAX_FRAMES


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
