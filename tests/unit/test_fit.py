from dataclasses import replace

import msgspec
import numpy as np
import pytest
from synthetic_rounds import synthetic_rounds, texts, true_p

from router_data.rounds import Rounds
from router_data.simulator import simulate
from router_model.calibration import Calibration
from router_model.embedding import N_MATCH
from router_model.errors import DatasetError
from router_model.predictor import Prediction
from router_training.fit import (
    FittedPredictor,
    fit_predictor,
    fit_scaler,
    raw_log_odds,
    recalibrated,
    text_components,
)
from router_training.params import TrainingParams
from router_training.training_table import (
    adequacy_targets,
    cross_folds,
    descriptor_table,
    observed_cells,
    table_of,
)

PARAMS = TrainingParams(
    n_estimators=10, ridges=(100.0,), n_skills=1, n_text_components=2, min_data_in_leaf=10
)


def fitted(rounds: Rounds, **changes: object) -> FittedPredictor:
    return fit_predictor(rounds, params=msgspec.structs.replace(PARAMS, **changes))


def predictions(fit: FittedPredictor, rounds: Rounds) -> Prediction:
    return fit.predict(rounds.features, rounds.embedding, rounds.models)


@pytest.fixture(scope="module")
def rounds() -> Rounds:
    return synthetic_rounds(400)


@pytest.fixture(scope="module")
def fit(rounds: Rounds) -> FittedPredictor:
    return fitted(rounds)


def test_predictions_are_by_context_and_model_and_know_the_difficulty(
    fit: FittedPredictor, rounds: Rounds
) -> None:
    p = predictions(fit, rounds).p_adequate
    assert p.shape == (400, 3)
    hard = rounds.features[:, 0] > 0.5
    assert (p[~hard].mean(axis=0) > p[hard].mean(axis=0)).all()
    cheap, middle, strong = p.mean(axis=0)
    assert cheap < middle < strong


def test_some_of_the_models_may_be_asked_for_in_any_order(
    fit: FittedPredictor, rounds: Rounds
) -> None:
    some = fit.predict(rounds.features, rounds.embedding, ("strong", "cheap")).p_adequate
    assert some == pytest.approx(predictions(fit, rounds).p_adequate[:, [2, 0]])


def test_what_happened_on_other_data_comes_out_about_right(fit: FittedPredictor) -> None:
    later = synthetic_rounds(1_000, seed=9)
    truth = np.stack(
        [true_p(later.features[:, 0].astype(float), skill) for skill in (0.2, 1.0, 2.4)], axis=1
    )
    assert np.abs(predictions(fit, later).p_adequate - truth).mean() < 0.12


def test_the_target_is_the_reward_and_else_the_adequacy() -> None:
    known = synthetic_rounds(2)
    reward = np.array([0.25, np.nan, np.nan, 1.0, 0.0, np.nan])
    adequate = np.array([1.0, 1.0, np.nan, np.nan, 1.0, 0.0])
    found = adequacy_targets(replace(known, reward=reward, adequate=adequate))
    assert found.tolist()[:2] == [0.25, 1.0]
    assert np.isnan(found[2])
    assert found.tolist()[3:] == [1.0, 0.0, 0.0]


def test_rows_without_an_outcome_are_left_out_and_data_sets_are_groups() -> None:
    known = synthetic_rounds(4)
    unknown = np.where(np.arange(12) < 3, np.nan, known.adequate)
    cells = observed_cells(
        replace(known, reward=unknown, adequate=unknown, dataset=texts(["b", "a", "a", "b"])),
        PARAMS,
    )
    assert cells.context.min() == 1
    assert len(cells.y) == 9
    assert cells.nuisance.index.tolist() == [[0], [0], [0], [0], [0], [0], [1], [1], [1]]


def test_tenants_and_their_models_are_groups_where_there_are_several() -> None:
    known = replace(synthetic_rounds(3), tenant=texts(["a", "b", "a"]))
    nuisance = observed_cells(known, PARAMS).nuisance
    # One data set; tenants a, b; then each tenant's three models.
    a, b = [[0, 1, 3], [0, 1, 4], [0, 1, 5]], [[0, 2, 6], [0, 2, 7], [0, 2, 8]]
    assert nuisance.index.tolist() == a + b + a
    assert nuisance.ridge == pytest.approx([0.1, 1, 1, *[2] * 6])


def test_without_any_outcome_there_is_nothing_to_learn() -> None:
    nothing = np.full(30, np.nan)
    with pytest.raises(DatasetError, match="no row has an observed outcome"):
        fitted(replace(synthetic_rounds(10), adequate=nothing, reward=nothing))


def test_without_models_or_ridges_there_is_nothing_to_fit() -> None:
    with pytest.raises(DatasetError, match="models: got none"):
        descriptor_table(())
    with pytest.raises(DatasetError, match="ridges: got none"):
        fitted(synthetic_rounds(30), ridges=())


def test_a_constant_input_says_nothing_when_it_varies_later() -> None:
    scaler = fit_scaler(np.array([[1.0, 7.0], [3.0, 7.0]], np.float32))
    assert scaler.transform(np.array([[2.0, 900.0]])).tolist() == [[0.0, 0.0]]
    flat = synthetic_rounds(60)
    flat.features[:] = 1.0
    p = predictions(fitted(flat), flat).p_adequate
    assert np.isfinite(p).all()


def test_groups_stay_whole_in_the_cross_fit() -> None:
    folds = cross_folds(table_of(synthetic_rounds(60, n_groups=10), PARAMS), seed=0)
    assert set(folds) == {0, 1, 2}
    assert all(len(set(folds[group::10])) == 1 for group in range(10))


def test_groups_that_share_a_session_stay_whole_together() -> None:
    rounds = synthetic_rounds(60, n_groups=20)
    # Groups 0 to 9 meet in one session each with groups 10 to 19.
    linked = replace(rounds, session=texts([f"s{i % 10}" for i in range(60)]))
    folds = cross_folds(table_of(linked, PARAMS), seed=0)
    assert all(len(set(folds[unit::10])) == 1 for unit in range(10))


def test_a_request_that_was_logged_again_is_one_context_in_its_session() -> None:
    known = synthetic_rounds(3, models=("cheap", "strong"))
    known.features[:], known.embedding[:] = known.features[0], known.embedding[0]
    again = replace(known, session=texts(["s", "s", "t"]), group=texts(["s", "s", "t"]))
    table = table_of(again, PARAMS)
    assert table.features.shape == (2, 2)
    assert table.group.tolist() == ["s", "t"]
    assert table.cells.context.tolist() == [0, 0, 1, 1]
    assert table.row_cell.tolist() == [0, 1, 0, 1, 2, 3]
    assert table.cells.weight.tolist() == [2.0, 2.0, 1.0, 1.0]
    assert table.cells.y[0] == again.reward[[0, 2]].mean()


@pytest.mark.parametrize("n_groups", [1, 2, 3])
def test_few_groups_still_cross_fit(n_groups: int) -> None:
    few = synthetic_rounds(60, n_groups=n_groups)
    assert len(set(cross_folds(table_of(few, PARAMS), seed=0))) >= 2
    assert np.isfinite(predictions(fitted(few), few).p_adequate).all()


@pytest.mark.parametrize("models", [("cheap",), ("cheap", "strong")])
def test_one_or_two_models_are_enough(models: tuple[str, ...]) -> None:
    few = synthetic_rounds(80, models=models)
    p = predictions(fitted(few), few).p_adequate
    assert p.shape == (80, len(models))
    assert np.isfinite(p).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_outcomes_that_are_all_alike_leave_probabilities_inside_zero_and_one(
    value: float,
) -> None:
    same = np.full(240, value)
    known = replace(synthetic_rounds(80), adequate=same, reward=same)
    p = predictions(fitted(known), known).p_adequate
    assert ((p > 0) & (p < 1)).all()
    assert abs(p.mean() - value) < 0.1


def test_certain_predictions_can_be_calibrated_again() -> None:
    # log(p) of exactly 0 or 1 is infinite, which no calibration accepts.
    known = synthetic_rounds(90)
    sure = fitted(known)
    sure.joint.calibration = Calibration((-1.0, 1.0), (-900.0, 900.0))
    assert set(predictions(sure, known).p_adequate.ravel()) >= {1.0}
    cells = observed_cells(known, PARAMS)
    recalibrated(raw_log_odds(sure.joint, known, cells), cells, PARAMS).check()


def test_later_rounds_recalibrate(rounds: Rounds, fit: FittedPredictor) -> None:
    # The later world is harder than the scores say.
    worse = synthetic_rounds(600, seed=5)
    rng = np.random.default_rng(0)
    adequate = worse.adequate * (rng.random(worse.n_rows) < 0.5)
    later = replace(worse, adequate=adequate, reward=adequate)
    again = fit_predictor(rounds, params=PARAMS, calibration_rounds=later)
    assert predictions(again, worse).p_adequate.mean() == pytest.approx(adequate.mean(), abs=0.03)
    assert predictions(fit, worse).p_adequate.mean() > adequate.mean() + 0.1


def test_a_single_outcome_can_not_recalibrate(rounds: Rounds) -> None:
    one = synthetic_rounds(1, models=("cheap",))
    with pytest.raises(DatasetError, match="fewer than 2 observed outcomes"):
        fit_predictor(rounds, params=PARAMS, calibration_rounds=one)


def test_a_log_of_drawn_models_only_is_enough(rounds: Rounds) -> None:
    rng = np.random.default_rng(0)
    drawn = np.where(rng.integers(0, 3, 400).repeat(3) == rounds.model_index, 1.0, np.nan)
    partial = replace(rounds, adequate=rounds.adequate * drawn, reward=rounds.reward * drawn)
    p = predictions(fitted(partial), rounds).p_adequate
    cheap, middle, strong = p.mean(axis=0)
    assert cheap < middle < strong


def test_a_log_without_text_vectors_is_enough() -> None:
    world = simulate(80, n_models=2).rounds()
    assert world.embedding.shape[1] == N_MATCH
    assert np.isfinite(predictions(fitted(world), world).p_adequate).all()


def test_the_ridge_of_least_held_out_loss_is_chosen(rounds: Rounds) -> None:
    one, other = (
        predictions(fitted(rounds, ridges=ridges), rounds).p_adequate
        for ridges in ((100.0,), (1e8, 100.0))
    )
    assert one == pytest.approx(other)


def test_text_components_are_orthonormal_directions_with_a_fixed_sign() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(200, 6)) * [5, 3, 1, 0.1, 0.1, 0.1]).astype(np.float32)
    kept = text_components(vectors, 3)
    assert kept.shape == (6, 3)
    assert np.allclose(kept.T @ kept, np.eye(3), atol=1e-9)
    assert kept[0, 0] > 0.9
    assert text_components(-vectors, 3) == pytest.approx(kept)


@pytest.mark.parametrize("n_dimensions", [0, 4])
def test_texts_that_are_all_alike_have_no_components(n_dimensions: int) -> None:
    assert text_components(np.ones((5, n_dimensions), np.float32), 3).shape == (n_dimensions, 0)
