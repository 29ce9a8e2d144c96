"""Laws of every choice, for any candidates and settings."""

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from router_model.contract import ABSTAIN
from router_model.exploration import microusd
from router_model.policy import HIGHEST_P, MAX_EXPLORATION, CheapestAdequate, draw
from router_model.terms import Exploration
from router_model.types import Candidate

probabilities = st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.5, 1.0]))
costs = st.one_of(st.floats(0.0, 10.0), st.sampled_from([0.0, 0.001, 0.01]))


@st.composite
def candidate_lists(draw: st.DrawFn) -> list[Candidate]:
    names = draw(st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, unique=True))
    return [
        Candidate(
            model=name,
            p_adequate=draw(probabilities),
            expected_cost=draw(costs),
            input_tokens=1,
            cached_tokens=0,
            output_tokens=1.0,
            tool_call_latency_ms=1.0,
        )
        for name in names
    ]


policies = st.builds(
    CheapestAdequate,
    exploration_floor=st.just(0.0),
    min_adequacy=probabilities,
    failure_cost_usd=st.floats(0.0, 10.0),
    side_call_failure_cost_usd=st.floats(0.0, 1.0),
    exploration=st.floats(0.0, 0.5),
    n_explored=st.integers(0, 4),
    near_tie=st.floats(1.0, 5.0),
)
thresholds = st.none() | probabilities | st.just(ABSTAIN)


@st.composite
def explorations(draw: st.DrawFn) -> Exploration:
    share = draw(st.floats(0.0, MAX_EXPLORATION))
    floor = draw(st.floats(0.0, share))
    return Exploration(share=share, floor=floor, budget_left_usd=draw(st.none() | costs))


@given(policies, candidate_lists(), thresholds, st.booleans())
def test_a_distribution_sums_to_one_and_its_support_is_admissible(
    policy: CheapestAdequate, candidates: list[Candidate], tau: float | None, is_side: bool
) -> None:
    choice = policy.choose(candidates, min_adequacy=tau, is_side_call=is_side)
    assert set(choice.distribution) == {c.model for c in candidates}
    assert math.isclose(math.fsum(choice.distribution.values()), 1.0)
    assert all(0.0 <= p <= 1.0 for p in choice.distribution.values())
    assert sorted(c.model for c in choice.ranked) == sorted(c.model for c in candidates)
    assert choice.distribution[choice.ranked[0].model] == max(choice.distribution.values())


@given(policies, candidate_lists(), probabilities, probabilities)
def test_a_stricter_threshold_never_chooses_a_less_adequate_model(
    policy: CheapestAdequate, candidates: list[Candidate], one: float, other: float
) -> None:
    loose, strict = sorted((one, other))
    first = policy.choose(candidates, min_adequacy=loose).ranked[0]
    second = policy.choose(candidates, min_adequacy=strict).ranked[0]
    assert second.p_adequate >= first.p_adequate
    assert second.expected_cost >= first.expected_cost or second.p_adequate < strict


@given(
    policies,
    candidate_lists(),
    thresholds,
    st.floats(0.0, 5.0),
    st.integers(0, 100),
    explorations(),
)
def test_a_higher_price_never_makes_a_model_more_likely(
    policy: CheapestAdequate,
    candidates: list[Candidate],
    tau: float | None,
    more: float,
    index: int,
    exploration: Exploration,
) -> None:
    place = index % len(candidates)
    before = candidates[place]
    dearer = msgspec.structs.replace(before, expected_cost=before.expected_cost + more)
    changed = [*candidates[:place], dearer, *candidates[place + 1 :]]
    # A budget turns exploration off for all at once, and so may favour the first choice.
    open_ended = msgspec.structs.replace(exploration, budget_left_usd=None)
    was, now = (
        policy.choose(c, min_adequacy=tau, exploration=open_ended).distribution[before.model]
        for c in (candidates, changed)
    )
    assert now <= was + 1e-12


@given(policies, candidate_lists(), thresholds, explorations(), st.booleans())
def test_explored_models_are_adequate_near_ties_with_at_least_the_floor(
    policy: CheapestAdequate,
    candidates: list[Candidate],
    tau: float | None,
    exploration: Exploration,
    is_side: bool,
) -> None:
    choice = policy.choose(
        candidates, min_adequacy=tau, exploration=exploration, is_side_call=is_side
    )
    first, *others = choice.ranked
    explored = [c for c in others if choice.distribution[c.model] > 0.0]
    is_on = choice.exploration.off is None
    assert bool(explored) == (is_on and exploration.share > 0.0)
    if is_on:
        shares = [choice.distribution[c.model] for c in explored]
        assert math.isclose(math.fsum(shares), exploration.share, abs_tol=1e-12)
        assert min(shares) >= exploration.floor - 1e-12
        threshold = policy.min_adequacy if tau is None else tau
        assert all(c.p_adequate >= threshold for c in explored)
        assert len(explored) <= policy.n_explored
    else:
        assert choice.distribution[first.model] == 1.0
        assert choice.expected_regret_usd == 0.0


@given(policies, candidate_lists(), thresholds, explorations())
def test_no_decision_costs_more_than_the_budget_that_is_left(
    policy: CheapestAdequate,
    candidates: list[Candidate],
    tau: float | None,
    exploration: Exploration,
) -> None:
    choice = policy.choose(candidates, min_adequacy=tau, exploration=exploration)
    left = exploration.budget_left_usd
    assert choice.expected_regret_usd >= 0.0
    if left is not None:
        assert microusd(choice.expected_regret_usd) <= round(left * 1_000_000)


@given(policies, candidate_lists(), thresholds, st.randoms(use_true_random=False))
def test_the_order_of_candidates_is_irrelevant(
    policy: CheapestAdequate, candidates: list[Candidate], tau: float | None, random: object
) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis gives a random.Random
    one, other = (policy.choose(c, min_adequacy=tau) for c in (candidates, shuffled))
    assert one == other


@given(policies, candidate_lists(), st.text(max_size=20))
def test_the_same_decision_id_draws_the_same_supported_model(
    policy: CheapestAdequate, candidates: list[Candidate], decision_id: str
) -> None:
    distribution = policy.choose(candidates).distribution
    drawn = draw(distribution, decision_id=decision_id)
    assert draw(distribution, decision_id=decision_id) == drawn
    assert distribution[drawn] > 0.0


@given(policies, candidate_lists(), probabilities)
def test_with_a_threshold_the_cheapest_adequate_model_is_chosen_else_the_highest_p(
    policy: CheapestAdequate, candidates: list[Candidate], tau: float
) -> None:
    choice = policy.choose(candidates, min_adequacy=tau)
    adequate = [c for c in candidates if c.p_adequate >= tau]
    if adequate:
        assert choice.ranked[0] in adequate
        assert choice.ranked[0].expected_cost == min(c.expected_cost for c in adequate)
    else:
        assert choice.ranked[0].p_adequate == max(c.p_adequate for c in candidates)
        assert choice.reason == HIGHEST_P


@given(policies, candidate_lists())
def test_without_a_threshold_the_least_total_cost_is_chosen(
    policy: CheapestAdequate, candidates: list[Candidate]
) -> None:
    def total(candidate: Candidate) -> float:
        return candidate.expected_cost + (1 - candidate.p_adequate) * policy.failure_cost_usd

    open_policy = msgspec.structs.replace(policy, min_adequacy=0.0)
    chosen = open_policy.choose(candidates).ranked[0]
    assert total(chosen) == min(total(c) for c in candidates)
