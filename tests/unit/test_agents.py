from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

from router_data.abilities import PUBLISHED, abilities_of, shipped_cards
from router_data.agent_sessions import MAX_CALLS, MAX_PREFIX_TOKENS, MIN_CALLS
from router_data.agents import AGENT_FEATURES, REFERENCE, simulate_agents
from router_data.logging_policy import LoggingPolicy
from router_data.request_table import read_requests
from router_data.simulator import World
from router_model.errors import DatasetError


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_agents(120, n_tenants=3, seed=4)


def assert_same(one: object, other: object) -> None:
    if is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert_same(value, other[name])
    else:
        np.testing.assert_array_equal(one, other)


def test_the_same_arguments_give_the_same_sessions_and_bodies() -> None:
    first, second = simulate_agents(20, seed=3), simulate_agents(20, seed=3)
    assert_same(first, second)
    assert [first.chat_body(i) for i in range(60)] == [second.chat_body(i) for i in range(60)]
    other = simulate_agents(20, seed=5)
    assert other.n_requests != first.n_requests or (other.p_adequate != first.p_adequate).any()


def test_sessions_have_5_to_40_calls_and_prefixes_of_5k_to_100k_tokens(world: World) -> None:
    assert world.agents is not None
    calls = world.agents.calls
    lengths = np.bincount(calls.session)
    assert (lengths.min() >= MIN_CALLS, lengths.max() <= MAX_CALLS) == (True, True)
    prefixes = calls.input_tokens[calls.chain_start >= 0]
    assert prefixes.min() >= 5_000
    assert 50_000 < prefixes.max() <= MAX_PREFIX_TOKENS
    kinds = Counter(world.step_type.tolist())
    assert kinds["tool_result"] > kinds["main"] > kinds["commit_message"] > 0
    assert kinds["title"] > 0
    assert kinds["summary"] > 0


def test_prefixes_grow_within_a_conversation_and_time_goes_on(world: World) -> None:
    assert world.agents is not None
    calls = world.agents.calls
    later = np.flatnonzero(calls.previous >= 0)
    before = calls.previous[later]
    assert (calls.input_tokens[later] >= calls.input_tokens[before]).all()
    assert (world.ts_ms[later] > world.ts_ms[before]).all()
    assert (world.session[later] == world.session[before]).all()


def test_a_model_with_better_published_figures_is_abler() -> None:
    abilities = abilities_of(("gpt-oss-120b", "qwen3-max", "glm-5", "claude-opus-4-6"))
    for ability in (abilities.work, abilities.tools, abilities.side, abilities.valid_tool_call):
        assert (np.diff(ability) > 0).all()
    # 2 (logit .808 - logit .624), and a tenth of it for side calls.
    assert float(np.ptp(abilities.work)) == pytest.approx(1.861, abs=1e-3)
    assert float(np.ptp(abilities.side)) == pytest.approx(0.1861, abs=1e-4)


def test_every_model_with_figures_is_in_the_shipped_catalog_with_a_price() -> None:
    cards = shipped_cards()
    assert all(cards[name].price is not None for name in PUBLISHED)
    assert REFERENCE in PUBLISHED


def test_side_calls_hardly_differ_by_model_and_work_does(world: World) -> None:
    by_model = {
        task: world.p_adequate[world.task == task].mean(axis=0) for task in ("side", "main")
    }
    assert np.ptp(by_model["side"]) < 0.05
    assert np.ptp(by_model["main"]) > 0.15


def gap_on_titles(world: World, tenant: str) -> set[float]:
    """Differences in log-odds between the cheapest and the dearest model, on a tenant's titles."""
    rows = (world.step_type == "title") & (world.tenant == tenant)
    log_odds = np.log(world.p_adequate[rows] / (1.0 - world.p_adequate[rows]))
    return set(np.round(log_odds[:, -1] - log_odds[:, 0], 6).tolist())


def test_a_tenant_among_others_has_an_offset_of_its_own_and_a_single_one_has_none() -> None:
    one, several = simulate_agents(40, seed=1), simulate_agents(40, n_tenants=3, seed=1)
    side = abilities_of(one.models).side
    assert gap_on_titles(one, "simulated-1") == {round(float(side[-1] - side[0]), 6)}
    gaps = [gap_on_titles(several, f"simulated-{number}") for number in (1, 2, 3)]
    assert [len(gap) for gap in gaps] == [1, 1, 1]
    assert len(set.union(*gaps)) == 3


def test_each_tenant_has_keys_of_its_own(world: World) -> None:
    pairs = set(zip(world.tenant.tolist(), world.key.tolist(), strict=True))
    assert len(pairs) == 9
    assert all(key.startswith(f"{tenant}-key-") for tenant, key in pairs)


def test_features_are_named_and_say_what_the_calls_are(world: World) -> None:
    assert world.features.shape == (world.n_requests, len(AGENT_FEATURES))
    assert world.feature_schema == "simulated-agents"
    is_side = world.features[:, AGENT_FEATURES.index("is_side")] == 1
    np.testing.assert_array_equal(is_side, world.task == "side")


def test_missing_reports_show_as_missing_in_the_rounds(world: World) -> None:
    assert world.agents is not None
    rounds = world.rounds(LoggingPolicy("uniform"))
    seen = world.agents.has_outcome & world.agents.has_verdict
    np.testing.assert_array_equal(~np.isnan(rounds.adequate), seen)
    np.testing.assert_array_equal(~np.isnan(rounds.cost_usd), world.agents.has_outcome)
    assert set(rounds.key) == set(world.key)
    assert not all(np.isnan(values).all() for values in world.agents.signals.values())
    bare = simulate_agents(10, reports="verdicts").agents
    assert bare is not None
    assert not bare.signals
    assert np.isnan(bare.tool_call_valid).all()
    assert not bare.has_verdict.all()
    complete = simulate_agents(10, reports="all").rounds(LoggingPolicy("uniform"))
    assert not np.isnan(complete.adequate).any()


def test_falsified_reports_are_the_opposite_and_come_from_the_named_tenant() -> None:
    world = simulate_agents(200, n_tenants=2, seed=2, poisoned={"simulated-2": 0.25}, reports="all")
    assert world.agents is not None
    falsified = world.agents.is_falsified
    assert set(world.tenant[falsified]) == {"simulated-2"}
    assert falsified[world.tenant == "simulated-2"].mean() == pytest.approx(0.25, abs=0.05)
    index, chosen = np.arange(world.n_requests), np.zeros(world.n_requests, dtype=np.int64)
    told = world.reported(index, chosen)
    np.testing.assert_array_equal(told != world.adequate[:, 0], falsified)


def test_the_interchange_tables_hold_the_bodies(tmp_path: Path) -> None:
    world = simulate_agents(3, seed=6)
    world.write_tables(tmp_path)
    problems: Counter[str] = Counter()
    rows = read_requests(tmp_path, group_by=None, problems=problems)
    assert not problems
    assert len(rows) == world.n_requests
    for index, row in enumerate(rows):
        body, table = msgspec.json.decode(world.chat_body(index)), msgspec.json.decode(row.body)
        assert body["messages"] == table["messages"]
        assert body.get("tools") == table.get("tools")


def test_what_can_t_be_simulated_is_refused() -> None:
    with pytest.raises(DatasetError, match="0 sessions"):
        simulate_agents(0)
    with pytest.raises(DatasetError, match=r"gpt-9.*expected different ones of gpt-oss-120b"):
        simulate_agents(1, models=("gpt-9",))
    with pytest.raises(DatasetError, match="expected different ones"):
        simulate_agents(1, models=("glm-5", "glm-5"))
    with pytest.raises(DatasetError, match=r"poisoned: got 'acme': 0.5"):
        simulate_agents(1, poisoned={"acme": 0.5})
    with pytest.raises(DatasetError, match="reports: got 'none', expected partial, verdicts, all"):
        simulate_agents(1, reports="none")  # type: ignore[arg-type] # the point of the test
    with pytest.raises(DatasetError, match="expected a share from 0 to 1"):
        simulate_agents(1, poisoned={"simulated-1": 1.5})
