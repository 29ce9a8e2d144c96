import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from router_training.glm import cross_fit, fit_glm, scaled


def test_the_logistic_fit_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 4))
    y = (rng.random(500) < 1 / (1 + np.exp(-rows @ [1.0, -1.0, 0.5, 0.0]))).astype(float)
    weight = rng.uniform(0.5, 2.0, 500)
    ours = fit_glm(rows, y, weight=weight, ridge=2.0)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(rows, y, sample_weight=weight)
    assert ours.coef == pytest.approx(theirs.coef_[0], abs=1e-5)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_poisson_fits_keep_the_total_and_find_the_rate() -> None:
    rng = np.random.default_rng(1)
    rows, exposure = rng.normal(size=(3_000, 2)), rng.uniform(0.5, 2.0, 3_000)
    y = exposure * np.exp(-6.0 + 0.5 * rows[:, 0]) * rng.gamma(4.0, 0.25, 3_000)
    glm = fit_glm(rows, y, family="poisson", offset=np.log(exposure), ridge=1e-3)
    fitted = glm.predict(rows, offset=np.log(exposure))
    assert fitted.sum() == pytest.approx(y.sum(), rel=1e-6)
    assert glm.coef == pytest.approx([0.5, 0.0], abs=0.05)


def test_targets_that_are_all_equal_end_in_a_finite_fit() -> None:
    rows = np.random.default_rng(2).normal(size=(50, 3))
    assert fit_glm(rows, np.ones(50)).predict(rows).min() > 0.999
    assert fit_glm(rows, np.zeros(50), family="poisson").predict(rows).max() < 1e-6


def test_amounts_are_never_extrapolated_beyond_what_was_seen() -> None:
    rows = np.linspace(0, 1, 50)[:, None]
    glm = fit_glm(rows, np.exp(3 * rows[:, 0]), family="poisson", ridge=1e-6)
    assert glm.predict(np.array([[100.0]]))[0] == pytest.approx(np.exp(3), rel=0.01)


def test_a_cross_fit_never_sees_the_fold_it_scores() -> None:
    y = np.array([0.0, 0.0, 1.0, 1.0])
    rows, folds = np.zeros((4, 1)), np.array([0, 0, 1, 1])
    predicted = cross_fit(rows, lambda train: fit_glm(rows[train], y[train]), folds=folds)
    assert predicted == pytest.approx([1, 1, 0, 0], abs=1e-5)


def test_scaling_survives_unknown_and_constant_columns() -> None:
    found = scaled(np.array([[1.0, np.nan, 3.0, np.inf], [3.0, np.nan, 3.0, 1.0]]))
    assert found.tolist() == [[-1, 0, 0, 0], [1, 0, 0, 0]]
