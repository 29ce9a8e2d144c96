"""What is remembered of a session: models, turns, prefixes, side calls."""

import pytest
from session_memories import (
    CARD,
    CATALOG,
    LATER,
    MARKED,
    REQUEST,
    billed,
    cached,
    card,
    remembered,
    seen,
    served,
)

from router_model.session_view import NO_SESSION, SessionView
from router_model.types import (
    Capabilities,
    ModelCard,
    Request,
    StepType,
)
from router_serving.sessions import SessionMemory


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


def test_outcomes_of_calls_before_a_session_was_forgotten_change_nothing_of_it() -> None:
    memory = SessionMemory(2)
    remembered(memory, decision_id="old")
    remembered(memory, decision_id="new", now_s=24 * 3600.0 + 0.2)
    as_it_was = seen(memory, now_s=24 * 3600.0 + 1.0)
    assert as_it_was.turn == 1
    served(memory, decision_id="old", error="overloaded")
    billed(memory, 9000, decision_id="old")
    assert seen(memory, now_s=24 * 3600.0 + 1.0) == as_it_was
