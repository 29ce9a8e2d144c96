"""What bills, fallbacks and failures correct in the memory of a session; pins and bounds."""

import pytest
from session_memories import (
    CATALOG,
    REQUEST,
    billed,
    card,
    remembered,
    seen,
    served,
)

from router_model.types import (
    Outcome,
    Request,
    Usage,
)
from router_serving.sessions import MAX_PREFIXES, SESSION_TTL_S, SessionMemory


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


@pytest.mark.parametrize("tokens", [1, 10**9])
def test_an_impossible_bill_teaches_nothing(tokens: int) -> None:
    memory = SessionMemory(10)
    remembered(memory)
    before = seen(memory, now_s=1.0)
    billed(memory, tokens, tokens)
    assert seen(memory, now_s=1.0) == before


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
