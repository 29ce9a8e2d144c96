from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from routers import SEEN, card, router

from router_data.agents import simulate_agents
from router_data.request_table import read_requests
from router_data.simulator import World, simulate
from router_data.store import Store
from router_data.traffic import LogReport, log_traffic, request_indices, router_for
from router_model.errors import DatasetError
from router_model.terms import Exploration, Terms
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
        spent = store.query('select "user", sum(cost_usd) as cost_usd from spending group by all')
    assert [row["user"] for row in spent] == ["ann"]
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


def test_agents_are_logged_by_tenant_with_what_came_back_and_when(tmp_path: Path) -> None:
    agents = simulate_agents(12, n_tenants=2, seed=5)
    assert agents.agents is not None
    report = log_traffic(agents, tmp_path, router=router(agents.agents.cards))
    n_expected = int(agents.agents.has_outcome.sum())
    assert report == LogReport(agents.n_requests, n_expected)
    with Store(tmp_path) as store:
        decisions = store.query("select * from decisions")
        outcomes = {row["decision_id"]: row for row in store.query("select * from outcomes")}
    assert {row["tenant"] for row in decisions} == set(agents.tenant)
    indices = request_indices(row["decision_id"] for row in decisions).tolist()
    for index, row in zip(indices, decisions, strict=True):
        assert row["step_type"] == agents.step_type[index]
        assert (row["key"], row["session"]) == (agents.key[index], agents.session[index])
        assert row["input_tokens"] == agents.input_tokens[index]
        assert row["dataset"] is None
        outcome = outcomes.get(row["decision_id"])
        assert (outcome is not None) == bool(agents.agents.has_outcome[index])
        if outcome is None:
            continue
        model = agents.models.index(row["model"])
        latency_ms = int(agents.latency_ms[index, model])
        assert outcome["ts_ms"] == row["ts_ms"] + latency_ms + agents.agents.delay_ms[index]
        has_verdict = bool(agents.agents.has_verdict[index])
        truth = bool(agents.adequate[index, model])
        assert outcome["adequate"] == (truth if has_verdict else None)


def test_the_router_is_told_what_agents_have_warm_and_pays_for_switching(tmp_path: Path) -> None:
    agents = simulate_agents(12, seed=5, reports="all")
    assert agents.agents is not None
    explored = Terms(exploration=Exploration(share=0.4, floor=0.1))
    log_traffic(agents, tmp_path, router=router(agents.agents.cards), terms=explored)
    with Store(tmp_path) as store:
        rows = store.query("select * from rounds")
        decisions = store.query("select decision_id, candidates, exploration from decisions")
    logged = {row["decision_id"]: row for row in decisions}
    n_warm = n_switched = 0
    for row in rows:
        candidates = msgspec.json.decode(logged[row["decision_id"]]["candidates"])
        taken = next(c for c in candidates if c["model"] == row["model"])
        # Whole blocks of what the simulated cache has.
        assert 0 <= row["cached_tokens"] - taken["cached_tokens"] < 4_096
        n_warm += row["cached_tokens"] > 0
        index = request_indices([row["decision_id"]])[0]
        staying = agents.cost_usd[index, agents.models.index(row["model"])]
        n_switched += row["cost_usd"] > staying + 1e-12
    assert n_warm > 0
    assert n_switched > 0
    assert {row["exploration"]["share"] for row in decisions} == {0.4}


def test_a_world_without_model_cards_has_no_router_of_its_own(world: World, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected one of agents"):
        router_for(world, tmp_path)
