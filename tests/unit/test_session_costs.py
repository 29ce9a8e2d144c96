from dataclasses import replace

import msgspec
import numpy as np
import pytest
from routers import card

from router_data.agent_outcomes import AgentTraffic, session_success
from router_data.agent_sessions import Calls
from router_data.agents import simulate_agents
from router_data.playthrough import Playthrough, played_costs
from router_data.session_costs import (
    SessionCaches,
    staying_cached_tokens,
    staying_costs,
    usage_cost,
)
from router_data.simulator import World, simulate
from router_model.types import Capabilities, ModelCard, PriceCard, StepType


def priced(name: str, *, write: float | None, caching: str = "automatic") -> ModelCard:
    return card(
        name,
        output=25.0,
        price=PriceCard(input=5.0, output=25.0, cache_read=0.5, cache_write=write),
        capabilities=Capabilities(tools=True, caching=caching),  # type: ignore[arg-type] # a literal
        min_cache_tokens=4_096,
        cache_ttl_s=300,
    )


CARDS = (priced("writer", write=6.25), priced("reader", write=None))


def calls_of(tokens: list[int], gaps_s: list[int], chains: list[int]) -> Calls:
    n = len(tokens)
    steps = np.empty(n, dtype=object)
    steps[:] = [StepType.MAIN if chain >= 0 else StepType.TITLE for chain in chains]
    whole, none = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    return Calls(
        session=whole,
        turn=np.arange(n),
        step=steps,
        input_tokens=np.array(tokens),
        result_tokens=whole,
        tool=whole - 1,
        is_error=none,
        is_repeat=none,
        n_errors=whole,
        chain_start=np.array(chains),
        gap_ms=1_000 * np.array(gaps_s),
    )


@pytest.fixture
def traffic() -> AgentTraffic:
    agents = simulate_agents(1).agents
    assert agents is not None
    calls = calls_of([10_000, 12_000, 15_000, 16_000, 900], [0, 60, 60, 400, 5], [0, 0, 0, 0, -1])
    return replace(agents, calls=calls, cards=CARDS)


def test_the_cost_of_calls_follows_the_choices_before_them(traffic: AgentTraffic) -> None:
    caches = SessionCaches(traffic)
    first = caches.take(0, 0, output_tokens=200)
    # 10,000 written at $6.25 and 200 out at $25 a million.
    assert usage_cost(CARDS[0], first) == pytest.approx(0.0625 + 0.005)
    switched = caches.take(1, 1, output_tokens=100)
    # Nothing warm at the other model, and writing costs it the input price.
    assert switched.cached_tokens == 0
    assert usage_cost(CARDS[1], switched) == pytest.approx(0.06 + 0.0025)
    back = caches.take(2, 0, output_tokens=300)
    # Warm from two minutes ago: 10,000 read at $0.50, 5,000 written, 300 out.
    assert (back.cached_tokens, back.cache_write_tokens) == (10_000, 5_000)
    assert usage_cost(CARDS[0], back) == pytest.approx(0.005 + 0.03125 + 0.0075)
    assert caches.warm_tokens(3, 0) == 0  # the cache lives for 300 s, the break was 400 s
    side = caches.take(4, 0, output_tokens=10)
    assert (side.cached_tokens, side.cache_write_tokens) == (0, 0)
    assert usage_cost(CARDS[0], side) == pytest.approx(900 * 5.0 / 1e6 + 10 * 25.0 / 1e6)


def test_staying_with_one_model_costs_the_same_by_either_view(traffic: AgentTraffic) -> None:
    cached = staying_cached_tokens(traffic.calls, CARDS)
    assert cached[:, 0].tolist() == [0.0, 10_000.0, 12_000.0, 0.0, 0.0]
    output = np.full((5, 2), 100.0)
    costs = staying_costs(traffic.calls, CARDS, cached=cached, output=output)
    for column, model in enumerate(CARDS):
        caches = SessionCaches(traffic)
        taken = [usage_cost(model, caches.take(i, column, output_tokens=100)) for i in range(5)]
        np.testing.assert_allclose(costs[:, column], taken)


def test_a_model_without_a_cache_reads_and_writes_none(traffic: AgentTraffic) -> None:
    plain = msgspec.structs.replace(CARDS[0], capabilities=Capabilities(tools=True))
    caches = SessionCaches(replace(traffic, cards=(plain,)))
    usages = [caches.take(index, 0, output_tokens=1) for index in range(3)]
    assert {(usage.cached_tokens, usage.cache_write_tokens) for usage in usages} == {(0, 0)}


def test_a_prefix_below_the_least_length_is_not_kept(traffic: AgentTraffic) -> None:
    short = replace(traffic, calls=calls_of([4_000, 5_000], [0, 5], [0, 0]))
    caches = SessionCaches(short)
    assert caches.take(0, 0, output_tokens=1).cache_write_tokens == 0
    assert caches.take(1, 0, output_tokens=1).cached_tokens == 0


def test_a_played_fixed_model_costs_what_the_world_says() -> None:
    world = simulate_agents(25, seed=7, reports="all")
    play = Playthrough(world)
    for index in range(world.n_requests):
        report = play.take(index, world.models[2], decision_id="d")
        assert report is not None
        assert report.outcome.cost_usd == pytest.approx(world.cost_usd[index, 2])


def test_switching_costs_more_than_staying_does_on_average() -> None:
    world = simulate_agents(40, seed=7)
    n, n_models = world.n_requests, len(world.models)
    for column in range(n_models):
        costs = played_costs(world, np.full(n, column))
        np.testing.assert_allclose(costs, world.cost_usd[:, column])
    drawn = np.random.default_rng(0).integers(0, n_models, n)
    assert played_costs(world, drawn).mean() > 1.5 * world.cost_usd[np.arange(n), drawn].mean()
    plain = simulate(20, n_models=2)
    np.testing.assert_array_equal(
        played_costs(plain, np.zeros(20, dtype=np.int64)), plain.cost_usd[:, 0]
    )


def test_the_last_work_call_reports_whether_the_session_succeeded() -> None:
    world: World = simulate_agents(60, seed=8, reports="all")
    assert world.agents is not None
    chosen = np.random.default_rng(0).integers(0, len(world.models), world.n_requests)
    expected = session_success(world.agents, world.adequate, chosen)
    assert 0.0 < expected.mean() < 1.0
    play, told = Playthrough(world), {}
    for index, place in enumerate(chosen.tolist()):
        report = play.take(index, world.models[place], decision_id="d")
        assert report is not None
        if "session_succeeded" in report.outcome.signals:
            told[int(world.agents.calls.session[index])] = report.outcome.signals
    assert [told[s]["session_succeeded"] for s in range(60)] == (expected == 1.0).tolist()
