from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed
from synthetic_rounds import synthetic_rounds, texts

from router_data.rounds import ROW_COLUMNS, Rounds
from router_training.params import TrainingParams
from router_training.weights import (
    Seen,
    capped,
    is_drawn,
    p_observed,
    stabilised,
    training_weights,
    uncapped_weights,
)

PARAMS = TrainingParams(propensity_power=1.0, max_weight=100.0)


def bandit(
    propensity: list[float], model: list[int], *, request: list[str] | None = None
) -> Rounds:
    """One row a context, of models "cheap" and "strong"."""
    full = synthetic_rounds(len(model), models=("cheap", "strong"))
    rows = np.arange(len(model)) * 2 + np.array(model)
    columns = [name for name in ROW_COLUMNS if name != "propensity"]
    values = {name: getattr(full, name)[rows] for name in columns}
    group = full.group if request is None else texts(request)
    return replace(
        full,
        context_index=np.arange(len(model)),
        model_index=np.array(model),
        propensity=np.array(propensity),
        group=group,
        request_hash=group,
        **values,
    )


def observed(rounds: Rounds) -> np.ndarray:
    return np.isfinite(rounds.reward)


def test_a_full_outcome_matrix_has_weights_of_one() -> None:
    rounds = synthetic_rounds(20)
    assert not is_drawn(rounds).any()
    assert training_weights(rounds, observed(rounds), PARAMS).tolist() == [1.0] * 60


def test_inverse_propensities_average_one_for_each_model() -> None:
    rounds = bandit([0.2, 0.8, 0.5, 0.1, 0.3], [0, 0, 0, 1, 1])
    weight = uncapped_weights(rounds, observed(rounds), PARAMS)
    # 1/p of 5, 1.25, 2 over their mean 2.75; of 10, 10/3 over 6.667.
    assert weight == pytest.approx([5 / 2.75, 1.25 / 2.75, 2 / 2.75, 1.5, 0.5])


def test_a_power_of_a_half_takes_the_root() -> None:
    rounds = bandit([0.25, 1.0], [0, 0])
    weight = uncapped_weights(rounds, observed(rounds), changed(PARAMS, propensity_power=0.5))
    assert weight == pytest.approx([2 / 1.5, 1 / 1.5])


def test_constant_propensities_change_nothing() -> None:
    rounds = bandit([0.05, 0.05, 0.95, 0.95], [0, 0, 1, 1])
    assert uncapped_weights(rounds, observed(rounds), PARAMS) == pytest.approx(np.ones(4))


def test_without_weighting_only_the_evidence_counts() -> None:
    rounds = replace(bandit([0.2, 0.9], [0, 0]), weight=np.array([0.4, np.nan]))
    plain = changed(PARAMS, weighting="none")
    assert uncapped_weights(rounds, observed(rounds), plain).tolist() == [0.4, 1.0]


def test_rows_that_no_policy_drew_have_the_mean_weight() -> None:
    rounds = bandit([0.2, np.nan, 0.8], [0, 0, 0])
    weight = uncapped_weights(rounds, observed(rounds), PARAMS)
    assert weight == pytest.approx([1.6, 1.0, 0.4])
    assert is_drawn(rounds).tolist() == [True, False, True]


def test_a_request_that_was_logged_again_counts_once_for_each_model() -> None:
    rounds = bandit([0.5, 0.5, 0.5, 0.5], [0, 0, 1, 0], request=["r", "r", "r", "s"])
    seen = Seen.of(rounds, is_drawn(rounds))
    assert seen.n_times.tolist() == [2, 2, 1, 1]
    # Seen at least once in three draws of a half, and in one.
    assert seen.p.tolist() == [0.875, 0.875, 0.875, 0.5]
    plain = changed(PARAMS, weighting="none")
    assert uncapped_weights(rounds, observed(rounds), plain).tolist() == [0.5, 0.5, 1.0, 1.0]


def test_requests_without_a_hash_are_all_different() -> None:
    rounds = replace(bandit([0.5, 0.5], [0, 0]), request_hash=texts(["", ""]))
    assert Seen.of(rounds, is_drawn(rounds)).n_times.tolist() == [1, 1]


def test_large_weights_are_clipped_and_the_mean_kept() -> None:
    raw = np.array([1.0] * 9 + [991.0])
    weight = stabilised(raw, np.zeros(10, dtype=np.int64), base=np.ones(10), largest=2.0)
    assert weight.mean() == pytest.approx(1.0)
    assert weight.max() / weight.min() < 991


def test_what_was_seldom_observed_counts_for_what_was_not() -> None:
    rng = np.random.default_rng(0)
    n = 2_000
    rounds = bandit([0.5] * n, rng.integers(0, 2, n).tolist())
    hard = rounds.features[:, 0] > 0.5
    missing = hard & (rng.random(n) < 0.75)
    reward = np.where(missing, np.nan, rounds.reward)
    seen = replace(rounds, reward=reward, adequate=reward)
    weight = uncapped_weights(seen, observed(seen), PARAMS)
    assert (weight[missing] == 0).all()
    # Logistic in one number, so about right: hard rows count for four.
    ratio = weight[hard & ~missing].mean() / weight[~hard].mean()
    assert 2.5 < ratio < 5.0
    p = p_observed(seen, is_drawn(seen), observed(seen), seed=0)
    assert 0.2 < p[hard].mean() < 0.4


def test_a_tenant_is_cut_to_its_share() -> None:
    # 40 of 100, and six of 10: a fifth of 75 is 15.
    owner = np.repeat(np.arange(7), [40, 10, 10, 10, 10, 10, 10])
    weight = capped(np.ones(100), owner, share=0.2)
    assert weight.sum() == pytest.approx(75)
    assert weight[:40].sum() == pytest.approx(15)
    assert (weight[40:] == 1).all()


@pytest.mark.parametrize(
    ("totals", "left"),
    [
        ([50], [50]),  # alone: nobody to protect
        ([50, 50], [50, 50]),  # equal already
        ([60, 40], [40, 40]),  # two can't be a fifth each
        ([10_000, 50], [4_975, 50]),  # half of all weight stays
    ],
)
def test_too_few_tenants_are_cut_as_far_as_makes_sense(
    totals: list[int], left: list[float]
) -> None:
    owner = np.repeat(np.arange(len(totals)), totals)
    weight = capped(np.ones(len(owner)), owner, share=0.2)
    assert np.bincount(owner, weight) == pytest.approx(left)


@given(
    st.lists(st.floats(0.01, 1e4), min_size=1, max_size=30),
    st.floats(0.01, 1.0),
)
def test_capping_never_raises_a_weight_nor_loses_more_than_half(
    totals: list[float], share: float
) -> None:
    weight = np.array(totals)
    left = capped(weight, np.arange(len(totals)), share=share)
    assert (left <= weight * (1 + 1e-12)).all()
    assert left.sum() >= 0.5 * weight.sum() * (1 - 1e-9)
    # Order is kept, and the greatest has its share, or could not be cut further.
    assert (np.diff(left[np.argsort(weight)]) >= -1e-9 * weight.max()).all()
    assert (
        left.max() <= share * left.sum() * (1 + 1e-9)
        or left.max() <= weight.min() * (1 + 1e-9)
        or left.sum() <= 0.5 * weight.sum() * (1 + 1e-9)
    )


def test_a_key_is_cut_within_its_tenant_and_requests_without_one_are_not() -> None:
    n = 200
    rounds = synthetic_rounds(n, models=("cheap",))
    key = ["bot"] * 100 + [f"k{i % 20}" for i in range(60)] + [""] * 40
    weight = training_weights(
        replace(rounds, key=texts(key)), observed(rounds), changed(PARAMS, max_key_share=0.1)
    )
    assert weight[:100].sum() == pytest.approx(0.1 * weight.sum())
    assert (weight[100:] == 1).all()
