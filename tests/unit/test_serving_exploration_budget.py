from router_serving.exploration_budget import ExplorationBudgets


def left(budgets: ExplorationBudgets, tenant: str = "acme", *, day: int = 1) -> float:
    return budgets.left_usd(tenant, budget_microusd=1_000_000, day=day)


def test_what_is_charged_is_not_left_and_comes_back_the_next_day() -> None:
    budgets = ExplorationBudgets()
    assert left(budgets) == 1.0
    budgets.charge("acme", 0.25, day=1)
    budgets.charge("acme", 0.0000001, day=1)
    assert left(budgets) == 0.749999
    assert left(budgets, "other") == 1.0
    budgets.charge("acme", 5.0, day=1)
    assert left(budgets) == 0.0
    assert left(budgets, day=2) == 1.0


def test_workers_share_a_budget() -> None:
    budgets = ExplorationBudgets(n_workers=4)
    assert left(budgets) == 0.25
    budgets.charge("acme", 0.2, day=1)
    assert left(budgets) == 0.05


def test_tenants_beyond_the_bound_have_no_budget_that_day() -> None:
    budgets = ExplorationBudgets(max_tenants=1)
    budgets.charge("acme", 0.1, day=1)
    assert (left(budgets), left(budgets, "other")) == (0.9, 0.0)
    assert left(budgets, "other", day=2) == 1.0


def test_a_decision_that_explored_nothing_takes_no_room() -> None:
    budgets = ExplorationBudgets(max_tenants=1)
    budgets.charge("acme", 0.0, day=1)
    assert left(budgets, "other") == 1.0
