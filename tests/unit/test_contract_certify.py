"""Certificates, against numbers worked out by hand."""

import numpy as np
import pytest

from router_model.errors import DatasetError
from router_training.contract import certify, laxest
from router_training.downgrades import downgrades
from router_training.evidence import cell_losses, evidence_of
from router_training.risk_tests import BETS, bet_logs, betting_p, binomial_bound, binomial_p
from router_training.threshold_plan import ThresholdPlan, plan_of


def easy(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Requests whose cheap model has p 0.9, whose dear one has 0.99."""
    return np.tile([0.9, 0.99], (n, 1)), np.tile([1.0, 10.0], (n, 1))


def test_the_cheapest_model_that_reaches_the_threshold_is_taken() -> None:
    found = downgrades([[0.9, 0.7, 0.8]], [[9.0, 1.0, 3.0]])
    assert found.choice([0.95, 0.9, 0.8, 0.7]).tolist() == [[0, 0, 2, 1]]
    assert found.top.tolist() == [0]
    assert found.is_downgraded([0.81, 0.8, 0.7]).tolist() == [[False, True, True]]


def test_a_request_whose_best_model_is_the_cheapest_is_never_downgraded() -> None:
    found = downgrades([[0.9, 0.8]], [[1.0, 2.0]])
    assert not found.is_downgraded([0.0]).any()
    assert found.choice([0.0]).tolist() == [[0]]


def test_a_tie_in_p_goes_to_the_cheaper_model_and_is_no_downgrade() -> None:
    found = downgrades([[0.9, 0.9]], [[2.0, 1.0]])
    assert found.top.tolist() == [1]
    assert not found.is_downgraded([0.5]).any()


def test_models_that_are_not_admissible_are_never_taken() -> None:
    found = downgrades([[np.nan, 0.6, 0.9]], [[0.1, 1.0, 2.0]])
    assert found.choice([0.95, 0.5, 0.0]).tolist() == [[2, 1, 1]]
    assert found.entry.tolist() == [0.6]


def test_a_model_without_a_price_counts_as_the_dearest() -> None:
    assert downgrades([[0.8, 0.9]], [[np.nan, 2.0]]).choice([0.5]).tolist() == [[1]]


def test_the_binomial_test_is_the_dual_of_the_clopper_pearson_bound() -> None:
    # P(Bin(10, 0.3) <= 1) = 0.7^10 + 10 * 0.3 * 0.7^9
    assert binomial_p(1, 10, alpha=0.3) == pytest.approx(0.7**10 + 3 * 0.7**9)
    bound = binomial_bound(1, 10, level=0.1)
    assert binomial_p(1, 10, alpha=bound) == pytest.approx(0.1)
    assert binomial_bound(10, 10, level=0.1) == 1.0
    assert binomial_p(0, 0, alpha=0.3) == 1.0


def test_the_capital_of_the_bets_is_their_mean() -> None:
    logs = bet_logs(np.array([1.0, 0.0]), np.array([2.0, 2.0]), alpha=0.25, largest=2.0)
    # X is 1 - 0.25 * 2 = 0.5 and -0.5; the largest lambda is 0.99 / 2.
    assert np.exp(logs.sum(axis=0))[0] == pytest.approx((1 - 0.2475) * (1 + 0.2475))
    assert betting_p(np.log(np.array([[4.0, 16.0]]))) == pytest.approx([0.1])
    assert betting_p(np.log(np.array([[0.5, 0.5]]))) == pytest.approx([1.0])


def test_doubly_robust_losses_have_the_right_mean_whatever_p_says() -> None:
    p, q = np.array([[0.3]]), np.array([[0.25]])
    drawn = cell_losses(p, np.array([[0.0]]), q, drawn=np.array([[True]]), floor=0.25)
    other = cell_losses(p, np.array([[np.nan]]), q, drawn=np.array([[False]]), floor=0.25)
    assert drawn.item() == pytest.approx(0.7 + (1 - 0.7) / 0.25)
    assert other.item() == pytest.approx(0.7)
    assert 0.25 * drawn.item() + 0.75 * other.item() == pytest.approx(1.0)


def test_what_was_drawn_but_not_observed_counts_as_inadequate() -> None:
    p, cost = easy(2)
    plan = ThresholdPlan(thresholds=np.array([0.5]), shares=np.ones(1), floor=0.5)
    seen = np.array([[np.nan, np.nan], [1.0, np.nan]])
    q = np.full((2, 2), 0.5)
    found = evidence_of(p, cost, seen, plan=plan, propensity=q, action=[0, 0])
    # r = 0.1: 0.1 + (1 - 0.1) / 0.5 and 0.1 + (0 - 0.1) / 0.5
    assert found.loss[:, 0].tolist() == pytest.approx([1.9, -0.1])


def test_a_choice_that_the_log_never_tried_counts_as_inadequate() -> None:
    p, cost = easy(1)
    plan = ThresholdPlan(thresholds=np.array([0.5]), shares=np.ones(1), floor=0.5)
    q = np.array([[0.0, 1.0]])
    found = evidence_of(p, cost, [[np.nan, 1.0]], plan=plan, propensity=q, action=[1])
    assert found.loss.tolist() == [[1.0]]


def test_an_outcome_missing_from_a_full_matrix_counts_as_inadequate() -> None:
    p, cost = easy(1)
    plan = ThresholdPlan(thresholds=np.array([0.5]), shares=np.ones(1))
    assert evidence_of(p, cost, [[np.nan, 1.0]], plan=plan).loss.tolist() == [[1.0]]


def test_requests_of_a_group_are_summed_and_those_beyond_the_largest_apart() -> None:
    p, cost = easy(4)
    plan = ThresholdPlan(thresholds=np.array([0.5]), shares=np.ones(1), largest_group=2)
    adequate = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = evidence_of(p, cost, adequate, plan=plan, groups=["a", "b", "a", "a"])
    assert found.loss[:, 0].tolist() == [2.0, 0.0]
    assert found.weight[:, 0].tolist() == [2.0, 1.0]
    assert found.further[:, 0].tolist() == [1.0, 0.0]
    assert (found.n, found.largest, found.is_exact) == (3, 2.0, False)


def test_a_start_passes_its_share_on_until_it_fails() -> None:
    plan = ThresholdPlan(
        thresholds=np.array([0.9, 0.8, 0.7, 0.6]), shares=np.array([0.5, 0, 0.5, 0])
    )
    p = np.array(
        [
            [0.05, 0.05, 0.10, 0.10],  # both shares arrive together at the third
            [0.05, 0.06, 0.05, 0.05],  # the first is lost at the second
            [0.05, 0.05, 0.11, 0.00],  # both are lost at the third
            [0.06, 0.00, 0.06, 0.00],  # nothing
        ]
    )
    index, level = laxest(p, plan, delta=0.1)
    assert index.tolist() == [3, 3, 1, -1]
    assert level == pytest.approx([0.1, 0.05, 0.05, 0.0])


def test_two_hundred_adequate_downgrades_certify_what_clopper_and_pearson_say() -> None:
    p, cost = easy(200)
    found = certify(p, cost, np.ones((200, 2)), alpha=0.05, delta=0.1)
    assert found.min_adequacy == 0.0
    assert (found.n, found.n_downgraded) == (200, 200)
    # All downgraded at one threshold: the whole delta is spent there.
    assert found.bound == pytest.approx(1 - 0.1 ** (1 / 200))


def test_when_nothing_qualifies_the_certificate_abstains() -> None:
    p, cost = easy(200)
    found = certify(p, cost, np.zeros((200, 2)), alpha=0.5, delta=0.1)
    assert (found.min_adequacy, found.n_downgraded, found.bound) == (None, 0, None)


def test_too_few_requests_certify_nothing() -> None:
    p, cost = easy(20)
    assert certify(p, cost, np.ones((20, 2)), alpha=0.05, delta=0.1).min_adequacy is None


def test_requests_that_can_not_be_downgraded_give_a_plan_and_no_certificate() -> None:
    p, cost = np.tile([0.99, 0.9], (50, 1)), np.tile([1.0, 10.0], (50, 1))
    assert plan_of(p, cost).thresholds.tolist() == [1.0]
    assert certify(p, cost, np.ones((50, 2)), alpha=0.2, delta=0.1).min_adequacy is None


def test_a_few_requests_that_share_a_group_leave_the_test_exact() -> None:
    p, cost = easy(100)
    group = np.arange(100)
    group[:3] = 0
    plan = plan_of(p, cost, groups=group)
    evidence = evidence_of(p, cost, np.ones((100, 2)), plan=plan, groups=group)
    assert evidence.is_exact
    assert evidence.n == 98
    assert plan_of(p, cost, groups=np.arange(100) // 2).largest_group == 2


def test_shapes_that_do_not_fit_are_named() -> None:
    p, cost = easy(3)
    with pytest.raises(DatasetError, match=r"got shapes \(3, 2\), \(3, 2\), \(2, 2\)"):
        certify(p, cost, np.ones((2, 2)), alpha=0.1, delta=0.1)
    with pytest.raises(DatasetError, match="groups: got 2 entries, expected 3"):
        certify(p, cost, np.ones((3, 2)), alpha=0.1, delta=0.1, groups=["a", "b"])


# Only the first request of a group counted: groups of many bad ones went by unseen.
def test_requests_that_are_not_looked_at_count_as_inadequate() -> None:
    size = np.where(np.arange(1_000) < 990, 1, 3)
    groups = np.repeat(np.arange(1_000), size)
    p, cost = np.tile([0.97, 0.99], (1_020, 1)), np.tile([1.0, 9.0], (1_020, 1))
    found = certify(p, cost, np.ones((1_020, 2)), alpha=0.05, delta=0.1, groups=groups)
    assert found.min_adequacy == 0.0
    assert found.bound == pytest.approx(binomial_bound(20, 1_020, level=0.1))
    strict = certify(p, cost, np.ones((1_020, 2)), alpha=0.02, delta=0.1, groups=groups)
    assert strict.min_adequacy is None


def test_a_request_beyond_the_largest_group_is_a_bet_that_is_lost() -> None:
    p, cost = np.tile([0.97, 0.99], (3, 1)), np.tile([1.0, 9.0], (3, 1))
    plan = ThresholdPlan(thresholds=np.array([0.5]), shares=np.ones(1), largest_group=2)
    evidence = evidence_of(p, cost, np.ones((3, 2)), plan=plan, groups=np.zeros(3))
    # The group of two: 1 + lambda 2 alpha / 2; the third: 1 - lambda (1 - alpha) / 2.
    capital = (1 + 0.1 * BETS) * (1 - 0.9 / 2 * BETS)
    expected = min(1.0, 1 / capital.mean())
    assert evidence.p_values(alpha=0.1)[0, 0] == pytest.approx(expected)
    assert evidence.bound(0, level=0.1) == 1.0
