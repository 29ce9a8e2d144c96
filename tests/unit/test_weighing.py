"""The choice with the rest of the session, the trajectory, and the objective considered."""

from collections.abc import Mapping

import msgspec
import pytest
from routers import CARDS, TOOL, ask, card, router

from router_model.errors import NoAdmissibleModelError
from router_model.policy import FASTEST_ADEQUATE
from router_model.router import Router
from router_model.session_view import NO_SESSION, Prefix, SessionView
from router_model.types import Caller, Decision, Message, Part, PolicyOverrides, PriceCard, Request

CACHED = tuple(
    msgspec.structs.replace(
        each,
        price=PriceCard(
            input=each.price.input,
            output=each.price.output,
            cache_read=each.price.input / 10,
            cache_write=each.price.input * 1.25,
        ),
    )
    for each in CARDS
    if each.price is not None
)
ROUTER = router(CACHED)


def decide(
    request: Request,
    session: SessionView = NO_SESSION,
    *,
    asked: Router = ROUTER,
    load: Mapping[str, int] | None = None,
    **overrides: object,
) -> Decision:
    return asked.decide(
        request,
        caller=Caller(),
        overrides=PolicyOverrides(**overrides),  # type: ignore[arg-type] # each test names its own
        decision_id="d",
        session=session,
        load=load or {},
    )


def long_request() -> Request:
    """A conversation of about 30,000 tokens in a tool loop."""
    return ask("fix the test " * 8_000, tools=(TOOL,))


def in_session(model: str, *, tokens: int = 30_000, turn: int = 5) -> SessionView:
    return SessionView(
        model=model, turn=turn, prefixes={model: Prefix(tokens=tokens, age_s=5.0, ttl_s=300)}
    )


def test_a_warm_prefix_makes_a_model_cheaper_now_and_later() -> None:
    cold = {c.model: c for c in decide(long_request()).candidates}
    warm = {c.model: c for c in decide(long_request(), in_session("medium")).candidates}
    assert warm["medium"].expected_cost < cold["medium"].expected_cost / 2
    assert warm["large"].expected_cost == pytest.approx(cold["large"].expected_cost)
    assert 0.0 < warm["medium"].p_warm < 1.0
    assert min(c.later_cost for c in warm.values()) == 0.0


def test_a_side_call_costs_the_session_nothing_later() -> None:
    title = ask(
        "Task of the session: fix the test",
        system="Generate a short title for this conversation.",
    )
    found = decide(title, in_session("large"))
    assert found.step_type.is_side_call
    assert {c.later_cost for c in found.candidates} == {0.0}
    assert found.model != "large"


def test_a_pinned_session_stays_but_its_side_calls_do_not() -> None:
    pinned = msgspec.structs.replace(in_session("large"), pin="small")
    found = decide(long_request(), pinned)
    assert found.model == "small"
    assert all("pin" in reason for reason in found.excluded.values())
    title = ask("Task: fix the test", system="Generate a short title for this conversation.")
    assert not decide(title, pinned).excluded


def test_signed_thinking_keeps_the_model_of_the_session() -> None:
    thought = Message(
        "assistant",
        (
            Part("thinking", "hm", is_signed=True),
            Part("tool_call", "{}", tool_name="list_file", call_id="c1"),
        ),
    )
    result = Message("tool", (Part("tool_result", "a.py", call_id="c1"),))
    request = msgspec.structs.replace(long_request(), system="Be brief.")
    request = msgspec.structs.replace(request, messages=(*request.messages, thought, result))
    found = decide(request, in_session("small"))
    assert (found.model, found.lock is not None) == ("small", True)
    assert set(found.excluded) == {"large", "medium"}
    assert all(reason.startswith("locked: ") for reason in found.excluded.values())


def test_the_objective_latency_takes_the_fastest_that_is_adequate() -> None:
    found = decide(long_request(), objective="latency", min_adequacy=0.3)
    adequate = [c for c in found.candidates if c.p_adequate >= 0.3]
    assert found.reason == FASTEST_ADEQUATE
    assert found.expected.tool_call_latency_ms == min(c.tool_call_latency_ms for c in adequate)


def test_deterministic_asks_for_seed_and_a_pinned_snapshot() -> None:
    seeded = card(
        "seeded",
        output=5.0,
        is_snapshot_pinned=True,
        capabilities=msgspec.structs.replace(CARDS[0].capabilities, seed=True),
    )
    asked = router((*CARDS, seeded))
    assert decide(ask(seed=1), asked=asked, deterministic=True).model == "seeded"
    with pytest.raises(NoAdmissibleModelError) as caught:
        decide(ask(seed=1), deterministic=True)
    assert all(reason.startswith("not_deterministic") for reason in caught.value.excluded.values())
