import json

import pytest
from routers import router
from served_engine import Served

from router_model.policy import CheapestAdequate
from router_model.terms import Exploration, Terms
from router_model.types import Outcome
from router_serving.canary import CANARY, CHAMPION, CanaryMonitor
from router_serving.exploration_budget import ExplorationBudgets
from router_serving.rollout import Rollout
from router_serving.rollout_file import RolloutFile
from router_serving.tenants import Tenants, TenantSettings

NEAR = CheapestAdequate(near_tie=1e6)


def rollout(mode: str, *, share: float = 0.5, shadow: bool = False) -> Rollout:
    file = RolloutFile(mode=mode, share=share, artifact="c", shadow=shadow, min_outcomes=5)  # type: ignore[arg-type] # a Literal
    other = router(policy=CheapestAdequate(failure_cost_usd=0.0), version="new")
    return Rollout(file, other, CanaryMonitor(file.promise))


def test_a_budget_is_charged_for_every_decision_until_it_is_spent() -> None:
    served = Served(router(policy=NEAR))
    exploring = Terms(exploration=Exploration(share=0.4, floor=0.1))
    served.engine.use_tenants(
        Tenants(TenantSettings(Terms()), {"acme": TenantSettings(exploring, 500_000)})
    )
    for _ in range(60):
        served.ask()
    served.ask(tenant="other")
    *mine, other = served.rows()
    assert other["exploration"]["off"] == "not_set"
    states = [row["exploration"]["off"] for row in mine]
    n_on = states.index("budget_spent")
    assert 1 < n_on < 60
    assert states == [None] * n_on + ["budget_spent"] * (60 - n_on)
    left = [row["exploration"]["budget_left_usd"] for row in mine]
    assert left[0] == 0.5
    assert left == sorted(left, reverse=True)
    assert left[-1] >= 0.0
    assert all(row["propensity"] == 1.0 for row in mine[n_on:])


def test_tenants_without_a_budget_leave_room_for_those_with_one() -> None:
    # Each took a place among the counted tenants, without bound, and the others found none.
    served = Served(router(policy=NEAR))
    served.engine._budgets = ExplorationBudgets(max_tenants=1)
    exploring = Terms(exploration=Exploration(share=0.4))
    served.engine.use_tenants(
        Tenants(TenantSettings(exploring), {"acme": TenantSettings(exploring, 500_000)})
    )
    for tenant in ("one", "two", "acme"):
        served.ask(tenant=tenant)
    assert [row["exploration"]["off"] for row in served.rows()] == [None, None, None]


def test_the_policys_own_exploration_keeps_to_a_tenants_budget() -> None:
    served = Served(router(policy=CheapestAdequate(near_tie=1e6, exploration=0.4)))
    served.engine.use_tenants(Tenants(TenantSettings(Terms(), 0)))
    served.ask()
    (row,) = served.rows()
    assert row["exploration"] == {
        "share": 0.4,
        "floor": 0.0,
        "budget_left_usd": 0.0,
        "off": "budget_spent",
    }


def test_a_shadow_watches_and_the_champion_answers() -> None:
    served = Served(router())
    served.engine.use_rollout(rollout("shadow"))
    served.ask()
    (row,) = served.rows()
    assert (row["rollout"], row["versions"]["artifact"]) == (CHAMPION, "by-hand")
    shadow = row["shadow"]
    assert shadow["artifact"] == "new"
    assert shadow["model"] == "small"
    assert row["model"] == "large"
    assert shadow["distribution"]["small"] == 1.0


def test_a_canary_decides_for_its_sessions_and_is_explained_by_itself() -> None:
    served = Served(router())
    trial = rollout("canary", shadow=True)
    served.engine.use_rollout(trial)
    sessions = [f"s{i}" for i in range(40)]
    for session in sessions:
        served.ask(session)
    rows = served.rows()
    assert {row["rollout"] for row in rows} == {CHAMPION, CANARY}
    for row in rows:
        is_canary = trial.side("acme", row["session"]) == CANARY
        assert (row["rollout"] == CANARY) == is_canary
        assert row["versions"]["artifact"] == ("new" if is_canary else "by-hand")
        assert row["shadow"]["artifact"] == ("by-hand" if is_canary else "new")
    assert served.engine.router_of("new") is trial.router
    assert served.engine.router_of("by-hand") is served.engine.router
    assert served.engine.router_of("unknown") is served.engine.router


def test_a_promoted_challenger_is_no_rollout_any_more() -> None:
    served = Served(router())
    trial = rollout("canary", share=1.0)
    served.engine.use_rollout(trial)
    served.engine.swap(trial.router)
    served.ask()
    (row,) = served.rows()
    assert (row["rollout"], row["versions"]["artifact"]) == (None, "new")


def test_outcomes_of_both_sides_are_compared_until_the_promise_is_broken() -> None:
    served = Served(router())
    trial = rollout("canary")
    served.engine.use_rollout(trial)
    broken = None
    for i in range(100):
        is_canary = trial.side("acme", f"s{i}") == CANARY
        found = served.engine.observe(outcome(served.ask(f"s{i}"), not is_canary), tenant="acme")
        broken = broken or found
    assert broken is not None
    assert broken[0] is trial
    assert broken[1].startswith("inadequate: ")


@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_outcomes_that_say_nothing_about_the_rollout_are_not_compared(mode: str) -> None:
    served = Served(router())
    before = served.ask("s1")
    trial = rollout(mode, share=1.0)
    served.engine.use_rollout(trial)
    for _ in range(40):
        assert served.engine.observe(outcome(before, False), tenant="acme") is None
        assert served.engine.observe(outcome("unknown", False), tenant="acme") is None
        assert served.engine.observe(outcome(served.ask("s2"), False), tenant="other") is None
    served.engine.use_rollout(None)
    assert served.engine.observe(outcome(before, False), tenant="acme") is None


def outcome(decision_id: str, adequate: bool) -> Outcome:
    return Outcome(decision_id=decision_id, model="m", adequate=adequate)


SECRET = "rk_ab12cd34_" + 43 * "x"


@pytest.mark.parametrize("name", ["s" * 100_000, SECRET, f"session/{SECRET}"])
def test_no_name_in_a_body_is_kept_that_is_long_or_holds_a_key(name: str) -> None:
    # A session's name of megabytes stayed in memory with each of thousands of sessions.
    served = Served(router())
    body = {"messages": [{"role": "user", "content": "fix it"}], "prompt_cache_key": name}
    for _ in range(2):
        served.sent(json.dumps({**body, "model": name, "service_tier": name}).encode())
    served.sent(json.dumps({**body, "prompt_cache_key": f"{name}x"}).encode())
    ((_, kept), _) = served.engine.sessions._sessions
    first, second, other = served.rows()
    assert first["session"] == second["session"] == kept != other["session"]
    for row in (first, other):
        assert len(row["session"]) <= 64
        assert len(row["requested_model"]) <= 64
        assert len(str(row)) < 20_000
        assert SECRET not in str(row)


def test_a_session_that_a_header_names_holds_no_key_either() -> None:
    served = Served(router())
    body = json.dumps({"messages": [{"role": "user", "content": "fix it"}]}).encode()
    served.sent(body, {"x-session-id": SECRET})
    served.sent(body, {"x-session-id": "session-7"})
    held, plain = served.rows()
    assert SECRET not in str(held)
    assert plain["session"] == "session-7"
