from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.utils.estimator_checks import parametrize_with_checks

from router_data.simulator import World, simulate
from router_model.persistence import load_predictor, save_predictor
from router_training.estimator import AdequacyClassifier
from router_training.fit import fit_predictor
from router_training.params import TrainingParams
from router_training.training_table import descriptor_table

Floats = NDArray[np.float64]
# Few trees and one ridge, both loose: scikit-learn's checks bring 10 to 300 rows.
QUICK = TrainingParams(n_estimators=5, ridges=(10.0,), n_skills=1, num_leaves=4, min_data_in_leaf=5)
PARAMS = TrainingParams(n_estimators=30, ridges=(100.0,), n_skills=2, num_leaves=15)
# What is known of a simulated model: its place in the order of prices, and a useless number.
N_KNOWN = 2


# Nothing is expected to fail. Only check_array_api_input skips itself: nothing here runs on
# other array libraries.
@parametrize_with_checks(  # type: ignore[untyped-decorator] # scikit-learn ships no types
    [AdequacyClassifier(params=QUICK)]
)
def test_the_classifier_is_a_scikit_learn_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


def pairs(world: World) -> tuple[Floats, Floats, NDArray[np.str_]]:
    """Rows, outcomes and sessions of all pairs; the models vary fastest."""
    n, m = world.adequate.shape
    models = np.column_stack([np.arange(m), np.ones(m)])
    X = np.column_stack([np.repeat(world.features, m, axis=0), np.tile(models, (n, 1))])
    return X, world.adequate.ravel(), np.repeat(world.session.astype(str), m)


def brier(p: Floats, y: Floats) -> float:
    return float(np.square(p - y).mean())


def classifier() -> AdequacyClassifier:
    return AdequacyClassifier(N_KNOWN, params=PARAMS)


KNOWN, LATER = pairs(simulate(600, seed=1)), pairs(simulate(600, seed=2))


@pytest.fixture(scope="module")
def fit() -> AdequacyClassifier:
    X, y, groups = KNOWN
    return classifier().fit(X, y, groups=groups)


def test_probabilities_are_of_two_classes_and_sum_to_one(fit: AdequacyClassifier) -> None:
    p = fit.predict_proba(LATER[0])
    assert p.shape == (3_000, 2)
    assert ((p >= 0) & (p <= 1)).all()
    assert p.sum(axis=1) == pytest.approx(1.0)
    assert fit.classes_.tolist() == [0.0, 1.0]


def test_the_decision_is_the_log_odds_and_the_prediction_its_sign(fit: AdequacyClassifier) -> None:
    X = LATER[0]
    odds = np.exp(fit.decision_function(X))
    assert odds / (1 + odds) == pytest.approx(fit.predict_proba(X)[:, 1])
    assert (fit.predict(X) == (odds > 1)).all()


def test_it_beats_the_base_rate_and_the_rate_of_each_model(fit: AdequacyClassifier) -> None:
    (_, y, _), (X, later, _) = KNOWN, LATER
    found = brier(fit.predict_proba(X)[:, 1], later)
    by_model = np.tile(y.reshape(-1, 5).mean(axis=0), 600)
    assert found < brier(by_model, later) - 0.02 < brier(np.full(3_000, y.mean()), later)


def test_it_is_the_predictor_that_a_log_is_fitted_with() -> None:
    # Real names, as their descriptors differ; contexts and models in the classifier's order.
    ladder = ("gpt-4.1-nano", "gpt-4.1-mini", "gpt-4o-mini", "gpt-4o", "gpt-4.1")
    table = descriptor_table(ladder)
    order = np.lexsort(np.nan_to_num(table, nan=np.inf).T[::-1])
    names, table = tuple(ladder[i] for i in order), table[order]
    rounds = simulate(300, seed=1).rounds()
    place = np.lexsort(rounds.features.T[::-1])
    session = rounds.session[place]
    rounds = replace(
        rounds, models=names, features=rounds.features[place], group=session, session=session
    )
    log_fit = fit_predictor(rounds, params=PARAMS, seed=4)
    X = np.column_stack([rounds.features[rounds.context_index], table[rounds.model_index]])
    fit = AdequacyClassifier(table.shape[1], params=PARAMS, seed=4)
    fit.fit(X, rounds.adequate, groups=rounds.group[rounds.context_index])
    assert fit.joint_.trees.text == log_fit.joint.trees.text
    expected = log_fit.predict(rounds.features, rounds.embedding, names).p_adequate
    assert fit.predict_proba(X)[:, 1] == pytest.approx(expected.ravel(), abs=1e-12)


def test_a_model_that_was_never_seen_is_placed_by_its_columns() -> None:
    (X, y, groups), (later, truth, _) = KNOWN, LATER
    middle, unknown = X[:, -2] == 2, later[:, -2] == 2
    fit = classifier().fit(X[~middle], y[~middle], groups=groups[~middle])
    p = fit.predict_proba(later)[:, 1]
    means = p.reshape(-1, 5).mean(axis=0)
    assert means[0] < means[2] < means[4]
    assert brier(p[unknown], truth[unknown]) < brier(y.mean(), truth[unknown])


def test_what_is_unknown_of_a_model_may_be_missing_and_of_a_context_not() -> None:
    X, y, groups = KNOWN
    models, contexts = X.copy(), X.copy()
    models[X[:, -2] == 1, -1] = np.nan
    fit = classifier().fit(models, y, groups=groups)
    assert len(fit.joint_.space.names) == 5
    assert np.isfinite(fit.predict_proba(models)).all()
    contexts[0, 0] = np.nan
    with pytest.raises(ValueError, match="X contains NaN"):
        classifier().fit(contexts, y)
    with pytest.raises(ValueError, match="X contains NaN"):
        fit.predict(contexts)


def test_a_weight_of_two_is_a_row_given_twice_and_none_a_row_left_out() -> None:
    X, y, groups = KNOWN
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    weighted = classifier().fit(X, y, sample_weight=weight, groups=groups)
    again = np.repeat(np.arange(len(y)), weight)
    given = classifier().fit(X[again], y[again], groups=groups[again])
    assert weighted.predict_proba(X) == pytest.approx(given.predict_proba(X), abs=1e-9)


def test_rows_may_come_in_any_order(fit: AdequacyClassifier) -> None:
    X, y, groups = KNOWN
    order = np.random.default_rng(0).permutation(len(y))
    shuffled = classifier().fit(X[order], y[order], groups=groups[order])
    assert shuffled.predict_proba(X) == pytest.approx(fit.predict_proba(X), abs=1e-9)


def test_contexts_and_models_are_kept_once_and_equal_contexts_of_two_groups_apart() -> None:
    X, y, _ = KNOWN
    X = X.copy()
    X[-5:, :-2] = X[:5, :-2]
    one = classifier().fit(X, y)
    assert len(one.joint_.space.names) == 5
    other = classifier().fit(X, y, groups=np.arange(len(y)) // 5)
    assert not np.array_equal(one.joint_.scaler.mean, other.joint_.scaler.mean)
    assert other.joint_.scaler.mean[:4] == pytest.approx(X[:, :4].mean(axis=0), rel=1e-5)


def test_zero_of_either_sign_is_one_model(fit: AdequacyClassifier) -> None:
    X = LATER[0][::5].copy()
    expected = fit.predict_proba(X)
    X[:, -2] = -0.0
    assert (fit.predict_proba(X) == expected).all()


def test_all_weight_on_one_class_leaves_probabilities_inside_zero_and_one() -> None:
    X, y, _ = KNOWN
    p = classifier().fit(X, y, sample_weight=y).predict_proba(X)
    assert ((p > 0) & (p < 1)).all()
    assert p[:, 1].min() > 0.5


def test_it_is_cross_validated_by_scikit_learn() -> None:
    X, y, groups = KNOWN
    p = cross_val_predict(
        classifier(), X, y, groups=groups, cv=GroupKFold(2), method="predict_proba"
    )
    assert brier(p[:, 1], y) < brier(np.full(len(y), y.mean()), y)


def test_what_was_learned_is_saved_like_any_predictor(
    fit: AdequacyClassifier, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("saved")
    save_predictor(fit.joint_, folder)
    assert load_predictor(folder).space.names == fit.joint_.space.names


@pytest.mark.parametrize("n_model_columns", [-1, 6])
def test_a_context_needs_a_column(n_model_columns: int) -> None:
    with pytest.raises(ValueError, match=f"n_model_columns: got {n_model_columns}, expected 0 to"):
        AdequacyClassifier(n_model_columns, params=PARAMS).fit(KNOWN[0], KNOWN[1])


def test_every_row_needs_a_group() -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier().fit(KNOWN[0], KNOWN[1], groups=KNOWN[2][1:])
