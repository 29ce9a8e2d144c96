import pytest

from router_model.contract import ABSTAIN
from router_model.errors import ArtifactError
from router_model.policy import (
    ABSTAINED,
    CHEAPEST_ADEQUATE,
    HIGHEST_P,
    LEAST_TOTAL_COST,
    CheapestAdequate,
    Choice,
    draw,
)
from router_model.terms import Exploration
from router_model.types import Candidate


def candidate(model: str, p: float, cost: float) -> Candidate:
    return Candidate(
        model=model,
        p_adequate=p,
        expected_cost=cost,
        input_tokens=100,
        cached_tokens=0,
        output_tokens=10.0,
        tool_call_latency_ms=500.0,
    )


CHEAP = candidate("cheap", 0.60, 0.001)
MIDDLE = candidate("middle", 0.80, 0.004)
STRONG = candidate("strong", 0.90, 0.020)
ALL = (STRONG, CHEAP, MIDDLE)


def ranked(choice: Choice) -> list[str]:
    return [c.model for c in choice.ranked]


def test_the_least_total_cost_counts_what_an_inadequate_answer_costs() -> None:
    # cheap 0.001 + 0.4 x 0.05 = 0.021, middle 0.004 + 0.2 x 0.05 = 0.014, strong 0.025
    choice = CheapestAdequate(failure_cost_usd=0.05).choose(ALL)
    assert ranked(choice) == ["middle", "cheap", "strong"]
    assert choice.reason == LEAST_TOTAL_COST


def test_a_side_call_that_fails_costs_less_so_a_cheaper_model_takes_it() -> None:
    policy = CheapestAdequate(failure_cost_usd=0.05, side_call_failure_cost_usd=0.001)
    assert ranked(policy.choose(ALL, is_side_call=True))[0] == "cheap"


def test_the_policys_own_threshold_leaves_the_failure_cost_out() -> None:
    # It once counted there and not for a request's own threshold: two meanings of one name.
    policy = CheapestAdequate(min_adequacy=0.5, failure_cost_usd=0.05)
    choice = policy.choose(ALL)
    assert ranked(choice)[0] == "cheap"
    assert ranked(choice) == ranked(policy.choose(ALL, min_adequacy=0.5))
    assert choice.reason == CHEAPEST_ADEQUATE


@pytest.mark.parametrize(
    ("threshold", "order"),
    [
        (0.0, ["cheap", "middle", "strong"]),
        (0.6, ["cheap", "middle", "strong"]),
        (0.7, ["middle", "strong", "cheap"]),
        (0.9, ["strong", "middle", "cheap"]),
    ],
)
def test_a_requests_own_threshold_is_taken_literally(threshold: float, order: list[str]) -> None:
    policy = CheapestAdequate(min_adequacy=0.85, failure_cost_usd=1.0)
    assert ranked(policy.choose(ALL, min_adequacy=threshold)) == order


def test_without_an_adequate_model_the_highest_p_is_taken_and_said() -> None:
    choice = CheapestAdequate().choose(ALL, min_adequacy=0.99)
    assert ranked(choice) == ["strong", "middle", "cheap"]
    assert choice.reason == HIGHEST_P
    assert choice.distribution == {"strong": 1.0, "middle": 0.0, "cheap": 0.0}


def test_ties_go_to_the_higher_p_then_to_the_name() -> None:
    same_cost = [candidate("b", 0.8, 0.01), candidate("a", 0.8, 0.01), candidate("c", 0.9, 0.01)]
    assert ranked(CheapestAdequate().choose(same_cost, min_adequacy=0.5)) == ["c", "a", "b"]
    assert ranked(CheapestAdequate().choose(same_cost, min_adequacy=0.95)) == ["c", "a", "b"]


def test_a_single_candidate_is_certain_whatever_the_settings() -> None:
    policy = CheapestAdequate(exploration=0.3, min_adequacy=0.99)
    assert policy.choose([CHEAP]).distribution == {"cheap": 1.0}


def test_exploration_is_shared_by_runners_up_that_cost_nearly_as_little() -> None:
    # totals at failure cost 0.05: middle 0.014, cheap 0.021, strong 0.025
    policy = CheapestAdequate(failure_cost_usd=0.05, exploration=0.1, near_tie=1.6)
    assert policy.choose(ALL).distribution == {"middle": 0.9, "cheap": 0.1, "strong": 0.0}
    # cheap 0.1 (1 / 0.021) / (1 / 0.021 + 1 / 0.025) = 0.1 x 25 / 46
    wider = CheapestAdequate(failure_cost_usd=0.05, exploration=0.1, near_tie=2.0)
    choice = wider.choose(ALL)
    assert choice.distribution == pytest.approx(
        {"middle": 0.9, "cheap": 2.5 / 46, "strong": 2.1 / 46}
    )
    # probabilities times 0.021 - 0.014 and 0.025 - 0.014
    assert choice.expected_regret_usd == pytest.approx((2.5 * 0.007 + 2.1 * 0.011) / 46)
    assert choice.exploration == Exploration(share=0.1)
    fewer = CheapestAdequate(failure_cost_usd=0.05, exploration=0.1, n_explored=1, near_tie=2.0)
    assert fewer.choose(ALL).distribution == {"middle": 0.9, "cheap": 0.1, "strong": 0.0}


def test_every_explored_model_gets_the_floor_and_the_nearest_come_first() -> None:
    policy = CheapestAdequate(
        failure_cost_usd=0.05, exploration=0.1, exploration_floor=0.04, near_tie=2.0
    )
    # 0.04 + (0.1 - 2 x 0.04) x 25 / 46
    assert policy.choose(ALL).distribution == pytest.approx(
        {"middle": 0.9, "cheap": 0.04 + 0.5 / 46, "strong": 0.04 + 0.42 / 46}
    )
    one = Exploration(share=0.1, floor=0.06)
    assert policy.choose(ALL, exploration=one).distribution == {
        "middle": 0.9,
        "cheap": 0.1,
        "strong": 0.0,
    }


def test_a_tenants_exploration_replaces_the_policys() -> None:
    policy = CheapestAdequate(failure_cost_usd=0.05, exploration=0.1, near_tie=1.6)
    choice = policy.choose(ALL, exploration=Exploration())
    assert choice.distribution == {"middle": 1.0, "cheap": 0.0, "strong": 0.0}
    assert choice.exploration.off == "not_set"
    assert policy.choose(ALL, exploration=Exploration(share=0.2)).distribution["cheap"] == 0.2


def test_a_threshold_above_one_abstains_and_says_so() -> None:
    choice = CheapestAdequate(exploration=0.1, near_tie=1e6).choose(ALL, min_adequacy=ABSTAIN)
    assert ranked(choice) == ["strong", "middle", "cheap"]
    assert choice.reason == ABSTAINED
    assert choice.distribution["strong"] == 1.0
    assert choice.exploration.off == "no_near_tie"


def test_a_floor_above_the_share_is_refused() -> None:
    with pytest.raises(
        ArtifactError, match=r"policy\.exploration_floor: got 0\.2, expected at most"
    ):
        CheapestAdequate(exploration=0.1, exploration_floor=0.2)
    assert CheapestAdequate(exploration_floor=0.2).exploring == Exploration(floor=0.2)


def test_exploration_keeps_to_adequate_models() -> None:
    policy = CheapestAdequate(exploration=0.2, near_tie=1e6)
    choice = policy.choose(ALL, min_adequacy=0.7)
    assert choice.distribution == {"middle": 0.8, "strong": 0.2, "cheap": 0.0}


def test_free_models_tie_only_with_each_other() -> None:
    free = [candidate("a", 0.8, 0.0), candidate("b", 0.7, 0.0), CHEAP]
    policy = CheapestAdequate(exploration=0.2)
    choice = policy.choose(free, min_adequacy=0.5)
    assert choice.distribution == {"a": 0.8, "b": 0.2, "cheap": 0.0}


def test_probabilities_of_exactly_zero_and_one_are_decided_on() -> None:
    certain = [candidate("never", 0.0, 0.001), candidate("always", 1.0, 0.002)]
    assert ranked(CheapestAdequate().choose(certain))[0] == "always"
    assert ranked(CheapestAdequate().choose(certain, min_adequacy=1.0))[0] == "always"


def test_equal_settings_have_equal_versions_and_others_have_not() -> None:
    assert CheapestAdequate().version == CheapestAdequate().version
    assert CheapestAdequate().version != CheapestAdequate(near_tie=1.6).version
    assert CheapestAdequate().version.startswith("cheapest_adequate-")


@pytest.mark.parametrize(
    "setting",
    [
        {"min_adequacy": 1.1},
        {"min_adequacy": float("nan")},
        {"failure_cost_usd": -0.1},
        # With more than half the runner-up was likelier than the first choice, and a model
        # could become likelier by getting dearer.
        {"exploration": 0.9},
        {"exploration": -0.1},
        {"n_explored": -1},
        {"near_tie": 0.5},
    ],
)
def test_settings_out_of_range_are_named(setting: dict[str, float]) -> None:
    (name, value), *_ = setting.items()
    with pytest.raises(ArtifactError, match=rf"policy\.{name}: got {value}, expected"):
        CheapestAdequate(**setting)  # type: ignore[arg-type] # n_explored is the only int


def test_a_draw_is_the_same_for_the_same_decision_id_and_differs_between_ids() -> None:
    distribution = {"a": 0.5, "b": 0.3, "c": 0.2}
    first = [draw(distribution, decision_id=f"d{i}") for i in range(200)]
    assert first == [draw(distribution, decision_id=f"d{i}") for i in range(200)]
    assert set(first) == {"a", "b", "c"}


def test_draws_follow_the_distribution() -> None:
    distribution = {"a": 0.7, "b": 0.3, "c": 0.0}
    n = 2_000
    drawn = [draw(distribution, decision_id=f"decision-{i}") for i in range(n)]
    assert drawn.count("c") == 0
    assert abs(drawn.count("a") / n - 0.7) < 4 * (0.7 * 0.3 / n) ** 0.5


def test_a_draw_does_not_depend_on_the_order_of_the_models() -> None:
    forwards = {"a": 0.5, "b": 0.3, "c": 0.2}
    backwards = dict(reversed(forwards.items()))
    for i in range(50):
        assert draw(forwards, decision_id=f"d{i}") == draw(backwards, decision_id=f"d{i}")
