import msgspec
import pytest
from routers import card

from router_model.catalog import Catalog, catalog_of
from router_model.locks import (
    OWNER_UNKNOWN,
    PROVIDER_STATE,
    SIGNED,
    TOOL_IDS,
    Lock,
    lock_of,
    locked_out,
)
from router_model.outline import Outline, in_tool_loop, open_turn, outline_of
from router_model.session_view import NO_SESSION, SessionView
from router_model.types import Capabilities, Message, ModelCard, Part, Request


def sold(name: str, provider: str, *flags: str) -> ModelCard:
    can = msgspec.structs.replace(Capabilities(tools=True), **dict.fromkeys(flags, True))
    return card(name, output=1.0, provider=provider, capabilities=can)


CARDS = (
    sold("a-large", "acme"),
    sold("a-small", "acme", "shares_thinking"),
    sold("b-large", "beta"),
    sold("b-open", "beta", "ignores_foreign_thinking"),
    sold("c-ids", "corp", "own_tool_ids_only"),
)
CATALOG = catalog_of(CARDS, as_of="2026-11-23")

USER = Message("user", (Part("text", "go on"),))
CALL = Part("tool_call", "{}", "ls", "call_1")
RESULT = Message("tool", (Part("tool_result", "a.py", "ls", "call_1"),))
THOUGHT = Part("thinking", "hm", is_signed=True)
SAID = Message("assistant", (Part("text", "done"),))
CLOSED = (USER, Message("assistant", (THOUGHT, Part("text", "so"))), USER)
OPEN = (USER, Message("assistant", (THOUGHT, CALL)), RESULT)
BY_A_LARGE = SessionView(model="a-large", turn=1)


def request(*messages: Message, **fields: object) -> Outline:
    return outline_of(msgspec.structs.replace(Request(messages=messages), **fields))


def able(lock: Lock | None, catalog: Catalog = CATALOG) -> set[str]:
    return {c.id for c in catalog.models.values() if locked_out(c, lock) is None}


EVERY = {c.id for c in CARDS}


def test_a_plain_conversation_is_free() -> None:
    talk = Message("assistant", (Part("thinking", "hm"), Part("text", "so")))
    for session in (NO_SESSION, BY_A_LARGE):
        assert lock_of(request(USER, talk, USER), session, CATALOG) is None
    assert locked_out(CARDS[0], None) is None


def test_a_side_call_without_the_signed_parts_is_free_in_a_session_that_has_them() -> None:
    assert lock_of(request(USER), BY_A_LARGE, CATALOG) is None


def test_kept_state_ties_a_call_to_its_provider_and_in_a_tool_loop_to_its_model() -> None:
    lock = lock_of(request(USER, has_provider_state=True), BY_A_LARGE, CATALOG)
    assert lock is not None
    assert (lock.kind, lock.provider, lock.model) == (PROVIDER_STATE, "acme", "")
    assert able(lock) == {"a-large", "a-small"}
    assert locked_out(CARDS[2], lock) == "locked: state that the provider keeps, of acme"
    open_ = lock_of(request(RESULT, has_provider_state=True), BY_A_LARGE, CATALOG)
    assert open_ is not None
    assert (open_.kind, open_.model) == (PROVIDER_STATE, "a-large")
    assert able(open_) == {"a-large"}
    assert locked_out(CARDS[1], open_) == (
        "locked: state that the provider keeps in an open tool loop, of a-large"
    )


def test_cached_content_of_gemini_is_kept_for_one_model() -> None:
    cards = [sold("g-large", "google"), sold("g-small", "google", "shares_thinking"), CARDS[0]]
    catalog = catalog_of(cards, as_of="2026-11-23")
    call = request(USER, has_provider_state=True, tied_to=("google",))
    lock = lock_of(call, SessionView(model="g-large"), catalog)
    assert lock is not None
    assert (lock.model, able(lock, catalog)) == ("g-large", {"g-large"})
    asked = msgspec.structs.replace(call, requested_model="g-small")
    assert able(lock_of(asked, NO_SESSION, catalog), catalog) == {"g-small"}
    unsaid = lock_of(call, NO_SESSION, catalog)
    assert unsaid is not None
    assert (unsaid.kind, able(unsaid, catalog)) == (OWNER_UNKNOWN, {"g-large", "g-small"})


def test_a_model_that_passes_over_thinking_may_have_answered_after_another_signer() -> None:
    by_open = SessionView(model="b-open", turn=2)
    assert able(lock_of(request(*CLOSED), by_open, CATALOG)) == {"b-open"}
    own = request(*CLOSED, tied_to=("beta",))
    assert able(lock_of(own, by_open, CATALOG)) == {"b-large", "b-open"}
    asked = request(*CLOSED, requested_model="b-open")
    assert able(lock_of(asked, NO_SESSION, CATALOG)) == {"b-open"}


def test_thinking_of_closed_turns_ties_to_the_provider_or_to_who_passes_over_it() -> None:
    lock = lock_of(request(*CLOSED), BY_A_LARGE, CATALOG)
    assert lock is not None
    assert (lock.kind, lock.provider, lock.model, lock.is_tied) == (SIGNED, "acme", "", True)
    assert lock.reason == "signed: signed thinking, of acme"
    assert able(lock) == {"a-large", "a-small", "b-open"}


def test_thinking_of_an_open_tool_loop_ties_to_the_model_or_to_who_shares_it() -> None:
    lock = lock_of(request(*OPEN), BY_A_LARGE, CATALOG)
    assert lock is not None
    assert (lock.kind, lock.model) == (SIGNED, "a-large")
    assert able(lock) == {"a-large", "a-small"}
    by_b = lock_of(request(*OPEN), SessionView(model="b-large"), CATALOG)
    assert able(by_b) == {"b-large"}


def test_a_tool_loop_after_closed_thinking_is_held_by_the_closed_thinking_only() -> None:
    later = (*CLOSED, Message("assistant", (Part("tool_call", "{}"),)), RESULT)
    lock = lock_of(request(*later), BY_A_LARGE, CATALOG)
    assert able(lock) == {"a-large", "a-small", "b-open"}


@pytest.mark.parametrize(
    ("messages", "is_open"),
    [
        ((), False),
        ((USER,), False),
        ((RESULT,), True),
        (OPEN, True),
        ((*OPEN, USER), True),
        ((*OPEN, Message("system", (Part("text", "remember"),)), USER), True),
        ((*OPEN, SAID), False),
        ((*OPEN, SAID, USER), False),
    ],
)
def test_a_tool_loop_is_open_until_the_assistant_speaks(
    messages: tuple[Message, ...], is_open: bool
) -> None:
    assert in_tool_loop(messages) == is_open


def test_a_turn_begins_after_the_users_own_message() -> None:
    assert open_turn(OPEN) == OPEN[1:]
    assert open_turn((*CLOSED, *OPEN[1:])) == OPEN[1:]
    reminded = (*OPEN, USER, *OPEN[1:])
    assert open_turn(reminded) == reminded[1:]
    assert open_turn((RESULT,)) == (RESULT,)


def test_without_memory_the_requested_model_is_the_owner() -> None:
    lock = lock_of(request(*OPEN, requested_model="acme/a-large"), NO_SESSION, CATALOG)
    assert lock is not None
    assert (lock.model, able(lock)) == ("a-large", {"a-large", "a-small"})


def test_without_either_the_shape_tells_the_provider() -> None:
    closed = lock_of(request(*CLOSED, tied_to=("beta",)), NO_SESSION, CATALOG)
    assert able(closed) == {"b-large", "b-open"}
    opened = lock_of(request(*OPEN, tied_to=("acme",)), NO_SESSION, CATALOG)
    assert able(opened) == {"a-small"}
    nobody_shares = lock_of(request(*OPEN, tied_to=("beta",)), NO_SESSION, CATALOG)
    assert nobody_shares is not None
    assert nobody_shares.kind == OWNER_UNKNOWN
    assert able(nobody_shares) == {"b-large", "b-open"}


def test_memory_wins_over_the_requested_model() -> None:
    lock = lock_of(request(*CLOSED, requested_model="b-large"), BY_A_LARGE, CATALOG)
    assert able(lock) == {"a-large", "a-small", "b-open"}


def test_with_two_signers_only_who_answered_last_or_passes_over_thinking_is_safe() -> None:
    mixed = request(*CLOSED, tied_to=("acme", "beta"))
    assert able(lock_of(mixed, BY_A_LARGE, CATALOG)) == {"a-large", "b-open"}
    assert able(lock_of(mixed, NO_SESSION, CATALOG)) == {"b-open"}
    opened = request(*OPEN, tied_to=("acme", "beta"))
    assert able(lock_of(opened, BY_A_LARGE, CATALOG)) == {"a-large"}


def test_where_shape_and_requested_model_disagree_the_owner_is_unknown() -> None:
    strict = catalog_of([CARDS[0], CARDS[2], CARDS[4]], as_of="2026-11-23")
    call = request(*CLOSED, requested_model="a-large", tied_to=("beta",))
    lock = lock_of(call, NO_SESSION, strict)
    assert lock is not None
    assert lock.kind == OWNER_UNKNOWN
    assert lock.detail == "signed thinking, whose owner is not known, of acme or beta"
    assert able(lock, strict) == {"a-large", "b-large"}


def test_an_unknown_owner_keeps_what_passes_over_thinking_else_everything() -> None:
    kept = lock_of(request(*CLOSED), NO_SESSION, CATALOG)
    assert kept is not None
    assert (kept.kind, able(kept)) == (SIGNED, {"b-open"})
    lock = lock_of(request(*OPEN), NO_SESSION, CATALOG)
    assert lock is not None
    assert (lock.kind, lock.is_tied) == (OWNER_UNKNOWN, True)
    assert able(lock) == EVERY - {"c-ids"}
    assert lock.reason == (
        "lock_owner_unknown: signed thinking in an open tool loop, whose owner is not known"
    )
    state = lock_of(request(USER, has_provider_state=True), NO_SESSION, CATALOG)
    assert state is not None
    assert (state.kind, able(state)) == (OWNER_UNKNOWN, EVERY - {"c-ids"})


def test_a_model_that_left_the_catalog_is_not_replaced_by_the_requested_one() -> None:
    gone = SessionView(model="gone", turn=2)
    lock = lock_of(request(*OPEN, requested_model="b-large"), gone, CATALOG)
    assert lock is not None
    assert lock.kind == OWNER_UNKNOWN
    shown = lock_of(request(*OPEN, tied_to=("acme",)), gone, CATALOG)
    assert able(shown) == {"a-small"}


def test_where_the_owner_cannot_be_chosen_its_provider_goes_on() -> None:
    off = catalog_of(
        [msgspec.structs.replace(CARDS[2], enabled=False), CARDS[3], CARDS[0]], as_of="2026-11-23"
    )
    lock = lock_of(request(*OPEN), SessionView(model="b-large"), off)
    assert lock is not None
    assert lock.kind == OWNER_UNKNOWN
    assert lock.detail == (
        "signed thinking in an open tool loop, whose owner b-large can't be chosen, of beta"
    )
    assert lock.models == {"b-open"}


CALLED = request(USER, Message("assistant", (CALL,)), RESULT)


def test_foreign_ids_of_tool_calls_keep_out_only_who_refuses_them() -> None:
    lock = lock_of(CALLED, BY_A_LARGE, CATALOG)
    assert lock is not None
    assert (lock.kind, lock.is_tied) == (TOOL_IDS, False)
    assert able(lock) == EVERY - {"c-ids"}
    assert locked_out(CARDS[4], lock) == (
        "locked: refuses ids of tool calls that another provider may have made"
    )
    unknown = lock_of(CALLED, NO_SESSION, CATALOG)
    assert able(unknown) == EVERY - {"c-ids"}


def test_ids_that_a_provider_passed_on_may_be_of_another() -> None:
    """Its other models, which refuse foreign ids, are not sure to take them."""
    lenient = sold("c-any", "corp")
    catalog = catalog_of([*CARDS, lenient], as_of="2026-11-23")
    lock = lock_of(CALLED, SessionView(model="c-any"), catalog)
    assert able(lock, catalog) == {*EVERY, "c-any"} - {"c-ids"}


def test_who_made_the_ids_takes_them() -> None:
    assert lock_of(CALLED, SessionView(model="c-ids"), CATALOG) is None
    asked = msgspec.structs.replace(CALLED, requested_model="c-ids")
    assert lock_of(asked, NO_SESSION, CATALOG) is None


def test_ids_of_an_unknown_provider_do_not_shut_out_every_model() -> None:
    only = catalog_of([CARDS[4]], as_of="2026-11-23")
    lock = lock_of(CALLED, NO_SESSION, only)
    assert lock is not None
    assert lock.reason == "lock_owner_unknown: ids of tool calls, whose owner is not known"
    assert able(lock, only) == {"c-ids"}
    known = catalog_of(
        [CARDS[4], msgspec.structs.replace(CARDS[0], enabled=False)], as_of="2026-11-23"
    )
    assert able(lock_of(CALLED, BY_A_LARGE, known), known) == {"a-large"}


def test_ids_and_thinking_hold_together() -> None:
    refusing = catalog_of(
        [*CARDS[:4], sold("d", "dyne", "own_tool_ids_only", "ignores_foreign_thinking")],
        as_of="2026-11-23",
    )
    called = request(*CLOSED, Message("assistant", (CALL,)), RESULT)
    lock = lock_of(called, BY_A_LARGE, refusing)
    assert lock is not None
    assert lock.kind == SIGNED
    assert able(lock, refusing) == {"a-large", "a-small", "b-open"}
