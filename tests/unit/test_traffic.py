from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from routers import SEEN, card, router

from router_data.request_table import read_requests
from router_data.simulator import World, simulate
from router_data.store import Store
from router_data.traffic import LogReport, log_traffic
from router_model.types import Caller, PolicyOverrides

ANN = Caller(tenant="acme", user="ann")


@pytest.fixture
def world() -> World:
    return replace(simulate(30, n_models=3, seed=5), models=tuple(reversed(SEEN)))


def test_every_decision_is_logged_with_the_worlds_outcome(world: World, tmp_path: Path) -> None:
    assert log_traffic(world, tmp_path, router=router(), caller=ANN) == LogReport(30, 30)
    with Store(tmp_path) as store:
        rows = store.query("select * from rounds order by ts_ms")
        assert [row["tenant"] for row in rows] == ["acme"] * 30
        for row in rows:
            index = int(row["decision_id"].rpartition("-")[2])
            model = world.models.index(row["model"])
            assert row["adequate"] == bool(world.adequate[index, model])
            assert row["cost_usd"] == pytest.approx(world.cost_usd[index, model])
            assert row["session"] == world.session[index]
            assert row["propensity"] > 0
        spent = store.spend("user")
    assert [row["group"] for row in spent] == ["ann"]
    assert spent[0]["cost_usd"] == pytest.approx(sum(row["cost_usd"] for row in rows))


def test_a_model_that_is_not_allowed_is_logged_as_excluded(world: World, tmp_path: Path) -> None:
    allowed = PolicyOverrides(models=("small", "medium"))
    log_traffic(world, tmp_path, router=router(), caller=ANN, overrides=allowed)
    with Store(tmp_path) as store:
        for row in store.query("select decision_id from decisions"):
            decision = store.decision(row["decision_id"])
            assert decision is not None
            assert list(decision["excluded"]) == ["large"]


def test_an_unknown_models_outcome_is_not_made_up(world: World, tmp_path: Path) -> None:
    stranger = router((card("stranger", output=1.0),))
    assert log_traffic(world, tmp_path, router=stranger, caller=ANN) == LogReport(30, 0)
    with Store(tmp_path) as store:
        assert store.query("select count(*) as n from outcomes") == [{"n": 0}]


def test_requests_without_an_admissible_model_are_left_out(world: World, tmp_path: Path) -> None:
    nothing = PolicyOverrides(models=())
    report = log_traffic(world, tmp_path, router=router(), caller=ANN, overrides=nothing)
    assert report == LogReport(0, 0, n_refused=30)


def test_a_chat_body_says_what_the_tables_say(world: World, tmp_path: Path) -> None:
    world.write_tables(tmp_path)
    rows = read_requests(tmp_path, group_by=None, problems=Counter())
    for index, row in enumerate(rows):
        body, table = msgspec.json.decode(world.chat_body(index)), msgspec.json.decode(row.body)
        assert body["messages"] == table["messages"]
        assert body.get("tools") == table.get("tools")
