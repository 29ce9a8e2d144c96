from typing import Any

import pytest
from decided_rows import logged_row
from routers import TOOL, ask, card, router

from router_model.catalog import Catalog, catalog_of
from router_model.economics import CacheFacts, Economics
from router_model.logged_candidates import candidate_of
from router_model.logged_decision import own_of, read
from router_model.policy import CheapestAdequate
from router_model.session_view import Prefix, SessionView
from router_model.types import Capabilities, ModelCard, PriceCard
from router_training.savings_walk import OwnChoice, WalkedCall, walk

ROUTER = router(policy=CheapestAdequate(near_tie=1e6))
ECONOMICS = Economics(any_cache=CacheFacts(p_hit=0.8, n=100))


def cached(name: str, *, price: float) -> ModelCard:
    return card(
        name,
        output=5.0 * price,
        capabilities=Capabilities(tools=True, caching="automatic"),
        price=PriceCard(input=price, output=5.0 * price, cache_read=price / 10),
        cache_ttl_s=300,
        min_cache_tokens=1,
        cache_block_tokens=1,
    )


def models() -> Catalog:
    cards = [cached("large", price=10.0), cached("small", price=1.0)]
    return catalog_of(cards, as_of="2026-01-01")


def calls(*ts_s: float, session: int = 0, tokens: int = 10_000, **changes: Any) -> list[WalkedCall]:
    """Calls of `large` that another model could have answered; answers of 100 tokens."""
    row = logged_row(ROUTER, ask(tools=(TOOL,)), incumbent="large")
    options = {entry["model"]: candidate_of(entry) for entry in row["candidates"]}
    logged = read(own_of(row))
    usual: dict[str, Any] = {
        "is_side_call": False,
        "asking": logged.situation.asking,
        "used": "large",
        "logged": logged,
        "encoder": ROUTER.encoder.hash,
        "options": options,
        "tokens": dict.fromkeys(options, tokens),
        "output": dict.fromkeys(options, 100.0),
    }
    return [
        WalkedCall(session=session, ts_ms=round(1_000 * ts), **{**usual, **changes}) for ts in ts_s
    ]


def costs(choices: list[str], made: list[WalkedCall]) -> list[float]:
    left = iter(choices)
    found = walk(made, lambda call, view: next(left), catalog=models(), economics=ECONOMICS)
    assert found.models == tuple(choices)
    return [round(1e6 * usd) for usd in found.usd.tolist()]


COLD, WARM = 10_000 * 10 + 100 * 50, 10_000 * (0.8 * 1 + 0.2 * 10) + 100 * 50


def test_a_model_finds_what_it_saw_of_the_session_while_it_is_kept() -> None:
    assert costs(["large"] * 3, calls(0, 60, 1_000)) == [COLD, WARM, COLD]


def test_a_change_of_model_finds_nothing_and_the_way_back_what_is_left() -> None:
    small = 10_000 * 1 + 100 * 5
    assert costs(["large", "small", "large"], calls(0, 60, 120)) == [COLD, small, WARM]


def test_another_session_and_a_side_call_find_nothing() -> None:
    made = [*calls(0), *calls(60, is_side_call=True), *calls(90, session=1)]
    assert costs(["large"] * 3, made) == [COLD] * 3


def test_a_choice_is_given_the_session_as_its_own_calls_left_it() -> None:
    seen: list[SessionView] = []

    def choose(_: WalkedCall, view: SessionView) -> str:
        seen.append(view)
        return "small"

    walk([*calls(0, 60), *calls(70, session=1)], choose, catalog=models(), economics=ECONOMICS)
    assert [(view.model, view.turn) for view in seen] == [(None, 0), ("small", 1), (None, 0)]
    assert seen[1].prefixes == {"small": Prefix(tokens=10_000, age_s=60.0, ttl_s=300)}


def test_a_router_decides_a_logged_call_as_it_did_where_the_session_is_the_same() -> None:
    (call,) = calls(0)
    assert call.logged is not None
    assert OwnChoice(ROUTER)(call, SessionView()) == call.logged.model


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"logged": None}, "large"), ({"encoder": "another"}, None)],
)
def test_what_can_not_be_decided_again_is_as_it_was_logged(
    changes: dict[str, Any], expected: str | None
) -> None:
    (call,) = calls(0, **changes)
    (whole,) = calls(0)
    assert whole.logged is not None
    assert OwnChoice(ROUTER)(call, SessionView()) == (expected or whole.logged.model)
