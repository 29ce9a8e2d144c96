"""Every rule appears in the explanation of a logged decision, with its dollars."""

from typing import Any

import pytest
from decided_rows import logged_row
from routers import CARDS, TOOL, ask, card, router

from router_model.behaviour import Behaviour, ModelWindow
from router_model.router import Router
from router_model.session_view import NO_SESSION, Prefix, SessionView
from router_model.types import Caller, Capabilities, PolicyOverrides, PriceCard, PriceTier, Request

TIER = PriceTier(above_input_tokens=20_000, input=8.0, output=40.0, cache_read=0.8)
DEAR = PriceCard(
    input=4.0, output=20.0, cache_read=0.4, cache_write=5.0, cache_write_1h=8.0, tiers=(TIER,)
)
ROUTER = router(
    (
        card("large", output=20.0, price=DEAR),
        card("medium", output=5.0),
        card("small", output=0.5, context_window=20_000),
        card("blind", output=0.1, capabilities=Capabilities(tools=False, caching="automatic")),
    )
)
LONG = ask("fix the test " * 8_000, tools=(TOOL,))


def rules(
    request: Request = LONG,
    session: SessionView = NO_SESSION,
    *,
    asked: Router = ROUTER,
    **overrides: Any,
) -> list[dict[str, Any]]:
    """The rules of a decision, logged and read back as JSON."""
    row = logged_row(asked, request, session=session, **overrides)
    found: list[dict[str, Any]] = asked.explain(row)["rules"]
    return found


def named(found: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [rule for rule in found if rule["rule"] == name]


def warm(model: str) -> SessionView:
    return SessionView(
        model=model, turn=3, prefixes={model: Prefix(tokens=28_000, age_s=3.0, ttl_s=300)}
    )


def test_the_parts_of_the_price_sum_to_the_expected_cost() -> None:
    found = rules(LONG, warm("large"), models=("large",))
    parts = [rule["usd"] for rule in found if rule["rule"].startswith("price.")]
    assert named(found, "price.surcharge")[0]["usd"] > 0
    (cache,) = named(found, "cache")
    assert cache["usd"] < 0
    (asked,) = {rule["model"] for rule in found if rule["rule"].startswith("price.")}
    assert asked == "large"
    decision = ROUTER.decide(
        LONG,
        caller=Caller(),
        overrides=PolicyOverrides(models=("large",)),
        decision_id="d",
        session=warm("large"),
    )
    assert sum(parts) == pytest.approx(decision.expected.cost_usd, rel=1e-3)


def test_keeping_and_switching_are_told_for_every_candidate() -> None:
    found = rules(LONG, warm("large"))
    later = named(found, "later_session")
    assert {rule["model"] for rule in later} == {"large", "medium"}
    assert min(rule["usd"] for rule in later) == 0.0
    assert all("95% interval" in rule["detail"] for rule in later)
    assert any(rule["detail"].startswith("keeping") for rule in later if rule["model"] == "large")


def test_leaving_the_sessions_model_is_told_with_what_it_saves() -> None:
    found = rules(ask(tools=(TOOL,)), SessionView(model="large", turn=1))
    switches = named(found, "switch")
    assert all(rule["usd"] <= 0 for rule in switches)


def test_a_lost_session_is_told() -> None:
    assert named(rules(session=SessionView(is_lost=True)), "session_lost")


def test_every_exclusion_has_the_price_of_the_call_there() -> None:
    found = rules()
    reasons = {rule["model"]: rule for rule in found if rule["rule"].startswith("excluded.")}
    assert reasons["small"]["rule"] == "excluded.context_window"
    assert reasons["blind"]["rule"] == "excluded.no_tools"
    assert all(rule["usd"] > 0 for rule in reasons.values())


def test_the_objective_latency_is_told_with_what_speed_costs() -> None:
    (rule,) = named(rules(objective="latency"), "latency_objective")
    assert rule["usd"] >= 0
    assert "95th percentile" in rule["detail"]
    (limit,) = named(rules(max_tool_call_latency_ms=1e9), "latency_limit")
    assert limit["usd"] == 0.0


def test_a_side_call_is_told() -> None:
    title = ask("Task: fix the test", system="Generate a short title for this conversation.")
    (rule,) = named(rules(title, SessionView(model="large", turn=2)), "side_call")
    assert rule["usd"] <= 0


def test_rows_of_older_schemas_have_no_rules() -> None:
    assert ROUTER.explain({"decision_id": "d", "schema": 2, "candidates": []})["rules"] == []


def test_a_model_beyond_its_effective_window_is_told_where_no_other_is_left() -> None:
    short = Behaviour(
        windows={
            name: ModelWindow(tokens=8_000, loss=0.3, bound=0.2, n=900)
            for name in ("large", "medium")
        }
    )
    asked = router((*CARDS[:2],), behaviour=short)
    told = named(rules(asked=asked), "effective_window")
    assert {rule["model"] for rule in told} == {"large", "medium"}
    assert "effective window of 8000" in told[0]["detail"]
    assert not named(rules(ask(tools=(TOOL,)), asked=asked), "effective_window")
