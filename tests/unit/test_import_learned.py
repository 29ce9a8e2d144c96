"""What an import says it learned is what the calls add up to, and no more than they show."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gateway_samples import TITLE, payload, said, spend
from gateway_samples import lines as json_lines
from log_samples import HashEncoder

from router_data.gateway_import import GatewayImport, import_gateway_log
from router_data.imports.learned_lines import learned_lines
from router_data.imports.litellm import read_litellm
from router_data.imports.what_if import MIN_SESSIONS, WhatIf
from router_data.own_cost import ROUTER_COST_USD
from router_model.catalog import Catalog, catalog_of
from router_model.types import Capabilities, ModelCard, PriceCard

CHEAP, DEAR = "cheap-model", "dear-model"
TOKENS = {"input_tokens": 1000, "cached_tokens": 900, "output_tokens": 20}


def card(name: str, price: PriceCard | None) -> ModelCard:
    return ModelCard(
        id=name,
        provider="self",
        snapshot=name,
        is_snapshot_pinned=False,
        family=name,
        context_window=100_000,
        max_input_tokens=None,
        max_output_tokens=8_000,
        capabilities=Capabilities(),
        price=price,
        released=None,
        open_weights=False,
    )


CATALOG: Catalog = catalog_of(
    [
        card(CHEAP, PriceCard(input=1.0, output=5.0, cache_read=0.1)),
        card(DEAR, PriceCard(input=10.0, output=50.0, cache_read=1.0)),
        card("unpriced", None),
    ],
    as_of="2026-11-20",
)


def learned(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> GatewayImport:
    path = tmp_path / "log.jsonl"
    path.write_bytes(json_lines(*rows))
    chosen: dict[str, Any] = {"catalog": CATALOG, "progress": False} | options
    return import_gateway_log(
        path, tmp_path / "var", encoder=HashEncoder(), reader=read_litellm, **chosen
    )


def text(report: GatewayImport, *compared: str) -> str:
    return "\n".join(learned_lines(report.learned, state="var", compared=list(compared)))


def side_call(n: int, model: str = DEAR) -> dict[str, Any]:
    return payload(n, model=model, messages=said(TITLE), model_parameters={}, response=None)


def what_if(n_sessions: int, *, of: Callable[[int], bool] = lambda n: n % 4 == 0) -> WhatIf:
    sums = WhatIf(CATALOG)
    for n in range(4 * n_sessions):
        sums.add(DEAR, TOKENS, 0.01, is_side=of(n), session=n // 4)
    return sums


def test_calls_sessions_spend_caches_and_errors_are_added_up(tmp_path: Path) -> None:
    failed = {"status": "failure", "response": {}, "error_information": {"error_class": "Timeout"}}
    report = learned(
        tmp_path,
        *(payload(n, model=DEAR, response_cost=0.01) for n in range(5)),
        payload(5, model=CHEAP, response_cost=0.002, **failed),
        spend(6, model="other", spend=0.5),
    )
    found = report.learned
    assert (found.n_calls, found.n_with_request, found.n_errors) == (7, 6, 1)
    assert sorted(found.sessions.values()) == [1, 3, 3]
    assert found.cost_usd == pytest.approx(0.552)
    assert found.cached_share == pytest.approx(0.9)
    assert {name: sums.n_calls for name, sums in found.models.items()} == {
        DEAR: 5,
        CHEAP: 1,
        "other": 1,
    }
    assert report.unknown_models == {"other": 1}
    shown = text(report)
    assert "learned from 7 calls, 2026-11-20 to 2026-11-20" in shown
    assert "sessions: 3, of 3 calls (median), at most 3" in shown
    assert "errors: 14.3% (1)" in shown
    assert "tool calls checked 5, invalid 0" in shown


def test_calls_that_were_there_already_are_learned_from_again(tmp_path: Path) -> None:
    rows = [payload(n, model=DEAR) for n in range(3)]
    first, again = learned(tmp_path, *rows), learned(tmp_path, *rows)
    assert (again.n_decisions, again.n_known) == (0, 3)
    assert text(first) == text(again)


def test_side_calls_and_their_share_of_the_spend_are_named(tmp_path: Path) -> None:
    report = learned(tmp_path, *(payload(n, model=DEAR) for n in range(3)), side_call(3))
    assert report.learned.n_side_calls == 1
    assert "side calls: 25.0% (1) (title 1), 25.0% (0.0020) of the spend" in text(report)


def test_a_saving_on_side_calls_states_model_assumption_and_own_cost(tmp_path: Path) -> None:
    rows = [payload(n, model=DEAR, session_id=f"s{n}", response_cost=0.01) for n in range(30)]
    side = [side_call(n) | {"response_cost": 0.011} for n in range(30, 40)]
    cheap = payload(40, model=CHEAP, response_cost=0.001)
    shown = text(learned(tmp_path, *rows, *side, cheap))
    assert f"side calls to {CHEAP}:" in shown
    assert "95%" in shown
    assert "net of the router's own cost" in shown
    assert "assumed, not measured: it is adequate for them" in shown
    assert "all calls: no estimate yet: the log has no propensities" in shown
    assert (
        "`router-train evaluate --from-log --state var --policy policy.toml --within-support`"
        in shown
    )


def test_the_saving_is_the_difference_at_cold_prices_net_of_the_routers_cost() -> None:
    saving = what_if(25).side_saving([CHEAP, DEAR, "unpriced", "unknown"])
    assert saving is not None
    cold = (1000 * 1.0 + 20 * 5.0) / 1e6
    saved = 25 * (0.01 - cold) - 100 * ROUTER_COST_USD
    assert saving.share == pytest.approx(saved / (100 * 0.01))
    assert saving.usd_per_1000 == pytest.approx(1000 * saved / 100)
    assert saving.low is not None
    assert saving.high is not None
    assert saving.low <= saving.share <= saving.high


def test_the_interval_does_not_depend_on_the_order_of_the_calls() -> None:
    forward, backward = WhatIf(CATALOG), WhatIf(CATALOG)
    calls = [(0.01 + 0.001 * (n % 7), n % 3 == 0, n // 5) for n in range(200)]
    for cost, is_side, session in calls:
        forward.add(DEAR, TOKENS, cost, is_side=is_side, session=session)
    for cost, is_side, session in reversed(calls):
        backward.add(DEAR, TOKENS, cost, is_side=is_side, session=session)
    one, other = forward.side_saving([CHEAP]), backward.side_saving([CHEAP])
    assert one is not None
    assert other is not None
    assert one.low is not None
    assert one.high is not None
    assert one.low == pytest.approx(other.low)
    assert one.high == pytest.approx(other.high)
    assert one.low < one.share < one.high


def test_few_sessions_give_no_interval() -> None:
    few, enough = what_if(MIN_SESSIONS - 1), what_if(MIN_SESSIONS)
    one, other = few.side_saving([CHEAP]), enough.side_saving([CHEAP])
    assert one is not None
    assert other is not None
    assert (one.low, one.high) == (None, None)
    assert other.low is not None


@pytest.mark.statistical
def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    share_of_side, n_covered, n_runs = 0.3, 0, 100
    paid_side, cold = 0.02, (1000 * 1.0 + 20 * 5.0) / 1e6
    truth = share_of_side * (paid_side - cold) - ROUTER_COST_USD
    truth /= share_of_side * paid_side + (1 - share_of_side) * 0.01
    for run in range(n_runs):
        sums = WhatIf(CATALOG)
        for session in range(60):
            for is_side in rng.random(4) < share_of_side:
                cost = paid_side if is_side else 0.01
                sums.add(DEAR, TOKENS, cost, is_side=bool(is_side), session=1000 * run + session)
        saving = sums.side_saving([CHEAP])
        assert saving is not None
        assert saving.low is not None
        assert saving.high is not None
        n_covered += saving.low <= truth <= saving.high
    assert 0.86 <= n_covered / n_runs <= 1.0


def test_calls_without_a_cost_count_at_the_catalogs_price_and_are_said_to() -> None:
    sums = WhatIf(CATALOG)
    sums.add(DEAR, TOKENS, None, is_side=True, session=1)
    sums.add("unknown", TOKENS, None, is_side=True, session=1)
    sums.add(DEAR, {"input_tokens": 5, "output_tokens": None}, 1.0, is_side=True, session=1)
    assert (sums.n_calls, sums.n_assumed) == (1, 1)
    assert sums.paid == pytest.approx((100 * 10.0 + 900 * 1.0 + 20 * 50.0) / 1e6)
    assert sums.explained_share() is None


def test_what_was_paid_is_compared_with_the_catalog() -> None:
    sums = WhatIf(CATALOG)
    sums.add(CHEAP, TOKENS, 2 * (100 * 1.0 + 900 * 0.1 + 20 * 5.0) / 1e6, is_side=False, session=1)
    assert sums.explained_share() == pytest.approx(0.5)
    assert sums.always(DEAR) == pytest.approx(10 * (sums.always(CHEAP) or 0))
    assert sums.always("unknown") is None


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([spend(0, model=DEAR)], "no call came with its request"),
        ([payload(0, model=DEAR)], "no side call among them"),
        ([side_call(0, "other")], "no model here is in the catalog with a price"),
        ([side_call(0, CHEAP) | {"response_cost": 0.001}], "no model here would be cheaper"),
    ],
)
def test_where_no_estimate_can_be_given_the_reason_is(
    tmp_path: Path, rows: list[dict[str, Any]], reason: str
) -> None:
    assert f"side calls: no estimate: {reason}" in text(learned(tmp_path, *rows))


def test_a_model_may_be_compared_that_nobody_called(tmp_path: Path) -> None:
    rows = [side_call(n, DEAR) | {"response_cost": 0.011} for n in range(3)]
    report = learned(tmp_path, *rows)
    assert "no model here would be cheaper" not in text(report, CHEAP)
    assert f"side calls to {CHEAP}:" in text(report, CHEAP)
    assert "no interval from" in text(report, CHEAP)


def test_a_log_with_propensities_is_sent_to_the_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "drawn.jsonl"
    drawn = {"propensity": 0.5, "distribution": {CHEAP: 0.5, DEAR: 0.5}}
    call = {"ts": 1_795_168_800, "model": CHEAP, "request": {"messages": said()}} | drawn
    path.write_bytes(json_lines(call))
    report = import_gateway_log(
        path, tmp_path / "var", encoder=HashEncoder(), catalog=CATALOG, progress=False
    )
    assert "1 were drawn with known probabilities" in text(report)


def test_names_are_resolved_exactly_or_not_at_all(tmp_path: Path) -> None:
    names = [f"self/{CHEAP}", "Cheap-Model", "us.self.cheap-model", "cheap", "cheap-model-2"]
    report = learned(tmp_path, *(payload(n, model=name) for n, name in enumerate(names)))
    assert report.learned.models[CHEAP].n_calls == 3
    assert report.unknown_models == {"cheap": 1, "cheap-model-2": 1}


def test_the_second_of_two_names_is_tried_where_the_first_is_unknown(tmp_path: Path) -> None:
    row = payload(0, model="my-deployment", model_map_information={"model_map_key": DEAR})
    assert list(learned(tmp_path, row).learned.models) == [DEAR]
