import numpy as np
import pytest
from msgspec.structs import replace

from router_data.agents import simulate_agents
from router_data.simulator import simulate
from router_model.features import SCHEMA
from router_model.types import StepType
from router_training.escalation_check import Turns, failure_figures, sign_figures
from router_training.escalation_gain import Breeding, breeding, gain, simulated_escalations
from router_training.intervals import Resampling

FEW = Resampling(n_resamples=20)


def turns(*sessions: str, success: tuple[float, ...] = ()) -> Turns:
    """Sessions of calls that succeeded (.) or failed (x), seen before each call and at the end."""
    rows, numbers = [], []
    for number, signs in enumerate(sessions):
        for n in range(len(signs) + 1):
            past = signs[:n]
            row = np.zeros(SCHEMA.n, dtype=np.float32)
            row[SCHEMA.index("n_tool_calls")] = n
            row[SCHEMA.index("n_errors_in_a_row")] = n - len(past.rstrip("x"))
            row[SCHEMA.index("n_errors_last_4")] = past[-4:].count("x")
            row[SCHEMA.index("is_last_error")] = past.endswith("x")
            rows.append(row)
            numbers.append(number)
    ends = np.array(success or (1.0,) * len(sessions))
    session = np.array(numbers)
    return Turns(
        session=session,
        model=np.full(len(rows), "m"),
        step_type=(StepType.TOOL_RESULT,) * len(rows),
        values=np.stack(rows),
        is_success=ends[session],
    )


def test_chances_of_failing_are_counted_by_the_failures_before() -> None:
    # Without a failure before: 1 of 4 calls fails; after one: 1 of 1; after two: 0 of 1.
    found = failure_figures(turns("...xx."), resampling=FEW)
    assert [one.p_next for one in found] == pytest.approx([1.5 / 5, 1.5 / 2, 0.5 / 2, 0.5])
    assert [one.n_calls for one in found] == [5, 1, 1, 0]


def test_the_failures_to_expect_follow_the_recursion() -> None:
    found = failure_figures(turns("...xx.", "xxx.x"), resampling=FEW)
    q = [one.p_next for one in found]
    deepest = 1 / (1 - q[3])
    two = 1 + q[3] * deepest
    one = 1 + q[2] * two
    none = 1 + q[1] * one
    assert [figure.run for figure in found] == pytest.approx([none, one, two, deepest])
    assert [figure.factor.estimate for figure in found] == pytest.approx(
        [1.0, one / none, two / none, deepest / none]
    )


def test_the_last_call_of_a_session_is_followed_by_none_of_the_next() -> None:
    apart = failure_figures(turns(".", "xx"), resampling=FEW)
    assert apart[0].p_next == pytest.approx(1.5 / 3)


def test_a_sign_of_sessions_that_fail_has_an_odds_ratio_below_one() -> None:
    good, bad = ("......",) * 20, ("..xxx.",) * 20
    known = turns(*good, *bad, success=(1.0,) * 18 + (0.0,) * 6 + (1.0,) * 2 + (0.0,) * 14)
    (found,) = sign_figures(known, signs=("3 or more in a row",))
    assert found.n_calls == found.n_sessions == 20
    assert found.odds_ratio.estimate < 0.5


def test_a_prediction_that_has_seen_a_sign_leaves_it_nothing_to_say() -> None:
    known = turns(*("......",) * 20, *("..xxx.",) * 20, success=(1.0, 0.0) * 10 + (0.0, 1.0) * 10)
    seen = np.where(known.of("n_errors_in_a_row") >= 3, 0.2, 0.8)
    known = replace(known, is_success=(seen > 0.5).astype(float))
    signs = ("3 or more in a row",)
    (alone,) = sign_figures(known, signs=signs)
    (beyond,) = sign_figures(known, signs=signs, p_known=seen)
    assert alone.odds_ratio.estimate < beyond.odds_ratio.estimate


def test_signs_that_few_calls_show_are_left_out() -> None:
    assert sign_figures(turns("xxx")) == ()


def test_only_agents_have_trajectories() -> None:
    with pytest.raises(ValueError, match="agent sessions"):
        simulated_escalations(simulate(10))


def test_both_policies_pay_the_same_bill() -> None:
    world = simulate_agents(200, seed=3, reports="all")
    found = gain(world, world.p_adequate, failure_usd=0.05, resampling=FEW)
    work = world.task != "side"
    total = world.cost_usd + (1.0 - world.p_adequate) * found.failure_usd
    plain = total.argmin(axis=1)
    paid = world.cost_usd[np.arange(len(plain)), plain][work].mean()
    assert paid == pytest.approx(found.bill_usd, rel=0.01)
    assert found.n_calls == work.sum()


def test_sessions_that_breed_failures_are_the_same_for_the_same_seed() -> None:
    world = Breeding(n_sessions=200, n_turns=8, seed=1)
    found = breeding(world, failure_usd=0.05, resampling=FEW)
    assert found == breeding(world, failure_usd=0.05, resampling=FEW)
    assert found.n_calls == 1_600
