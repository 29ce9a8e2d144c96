import numpy as np
import pytest
from scipy.special import expit

from router_model.errors import DatasetError
from router_training.missingness import observation_model, observation_weights


def test_everything_observed_gives_weights_of_exactly_one() -> None:
    seen = np.ones(5, dtype=bool)
    assert (observation_weights(np.zeros((5, 2)), np.zeros(5, int), seen, np.arange(5)) == 1).all()


def test_what_was_not_observed_weighs_nothing() -> None:
    seen = np.arange(40) % 4 > 0
    weight = observation_weights(np.zeros((40, 1)), np.zeros(40, int), seen, np.arange(40))
    assert (weight[~seen] == 0).all()
    assert (weight[seen] > 1).all()


def test_nothing_observed_is_an_error() -> None:
    with pytest.raises(DatasetError, match="none of 3 was observed"):
        observation_weights(np.zeros((3, 1)), np.zeros(3, int), np.zeros(3, bool), np.arange(3))


def test_one_group_falls_back_to_the_share_observed() -> None:
    seen = np.array([True, True, False, False])
    weight = observation_weights(np.zeros((4, 1)), np.zeros(4, int), seen, ["a"] * 4)
    assert weight == pytest.approx([2, 2, 0, 0])


def test_weights_restore_the_mean_that_missing_rows_distort() -> None:
    rng = np.random.default_rng(0)
    n = 8_000
    x, action = rng.normal(size=(n, 3)), rng.integers(0, 3, n)
    y = 2 * x[:, 0] + action
    seen = rng.random(n) < expit(0.5 + x[:, 0] - (action == 2))
    weight = observation_weights(x, action, seen, np.arange(n) // 2)
    # By what is observed alone the mean is off by about 0.6.
    assert abs(y[seen].mean() - y.mean()) > 0.4
    assert (weight * y).sum() / n == pytest.approx(y.mean(), abs=0.06)
    assert weight.sum() / n == pytest.approx(1.0, abs=0.02)


def test_tiny_probabilities_are_raised_and_counted() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4_000, 1))
    seen = rng.random(4_000) < expit(-3 + 2 * x[:, 0])
    found = observation_model(x, np.zeros(4_000, int), seen, np.arange(4_000), min_p_observed=0.1)
    assert found.weight.max() <= 10
    assert found.n_clipped > 0
    assert found.n_observed == seen.sum()
    assert found.share == pytest.approx(seen.mean())


def test_a_row_never_weighs_by_its_own_groups_luck() -> None:
    # Whole groups are observed or not; a model that saw the row's own group would know which.
    group = np.repeat(np.arange(30), 10)
    x = np.eye(30)[group]
    seen = group % 2 == 0
    found = observation_model(x, np.zeros(300, int), seen, group)
    assert found.p_observed == pytest.approx(0.5, abs=0.2)
