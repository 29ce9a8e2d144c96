import msgspec
import numpy as np
import pytest
from routers import (
    CARDS,
    N_DESCRIPTORS,
    SEEN,
    contexts,
    descriptor_rows,
    joint_predictor,
)

from router_model.calibration import Calibration
from router_model.errors import PredictionError
from router_model.predictor import COST, Blend, JointPredictor, LogHead

N = 5


def changed(joint: JointPredictor, **changes: object) -> JointPredictor:
    parts = {
        name: getattr(joint, name)
        for name in (
            "n_features",
            "scaler",
            "space",
            "adequacy",
            "log_heads",
            "trees",
            "text_components",
            "blend",
            "calibration",
        )
    }
    return JointPredictor(**(parts | changes))


PREDICTOR = joint_predictor(n_features=N)
BOUND = PREDICTOR.bind(SEEN, descriptor_rows())


def test_shapes_are_contexts_by_models() -> None:
    features, embedding = contexts(7, n_features=N)
    one, many = BOUND.predict(features[0], embedding[0]), BOUND.predict_batch(features, embedding)
    for name in one.__struct_fields__:
        assert getattr(one, name).shape == (3,)
        assert getattr(many, name).shape == (7, 3)


def test_no_contexts_give_empty_predictions() -> None:
    # An empty array can't be reshaped to (0, -1).
    features, embedding = contexts(0, n_features=N)
    assert BOUND.predict_batch(features, embedding).p_adequate.shape == (0, 3)


def test_a_predictor_of_no_models_predicts_nothing() -> None:
    features, embedding = contexts(2, n_features=N)
    none = PREDICTOR.bind((), np.empty((0, N_DESCRIPTORS), np.float32))
    assert none.predict(features[0], embedding[0]).p_adequate.shape == (0,)
    assert none.predict_batch(features, embedding).p_adequate.shape == (2, 0)


def test_the_log_odds_are_the_calibrated_blend_of_linear_score_and_trees() -> None:
    features, embedding = contexts(1, n_features=N)
    joint = changed(PREDICTOR, blend=Blend(0.7, 0.4))
    bound = joint.bind(SEEN, descriptor_rows())
    z = joint.scaler.transform(np.concatenate([features, embedding], axis=1))
    linear = z[0] @ bound.coef + bound.intercept
    trees = joint.trees.score(bound.tree_rows(features, embedding))
    expected = joint.calibration.probability(0.7 * linear + 0.4 * trees)
    assert bound.predict(features[0], embedding[0]).p_adequate == pytest.approx(expected)


def test_linear_contributions_and_the_intercept_add_up_to_the_linear_score() -> None:
    features, embedding = contexts(1, n_features=N)
    joint = changed(PREDICTOR, blend=Blend(1.0, 0.0), calibration=Calibration.identity())
    bound = joint.bind(SEEN, descriptor_rows())
    total = bound.linear_contributions(features[0], embedding[0]).sum(axis=1) + bound.intercept
    p = bound.predict(features[0], embedding[0]).p_adequate
    assert np.log(p / (1 - p)) == pytest.approx(total)


def test_some_models_only_are_predicted_as_among_all() -> None:
    features, embedding = contexts(1, n_features=N)
    everything = BOUND.predict(features[0], embedding[0])
    for places in ([2], [0, 2], [2, 1, 0], []):
        some = BOUND.predict(features[0], embedding[0], only=np.array(places, dtype=np.intp))
        assert some.p_adequate == pytest.approx(everything.p_adequate[places], rel=1e-12)
        assert some.output_tokens.tolist() == everything.output_tokens[places].tolist()
        assert some.tool_call_latency_ms.tolist() == (
            everything.tool_call_latency_ms[places].tolist()
        )


def test_abilities_are_learned_ones_and_estimates_for_new_models() -> None:
    names = ("small", "never-seen")
    bound = PREDICTOR.bind(names, descriptor_rows(CARDS[:2]))
    assert bound.abilities[0] == 0.0
    space = PREDICTOR.space
    expected = space.trait_mean[0] + space.standardise(descriptor_rows()[1]) @ space.trait_coef
    assert bound.abilities[1] == pytest.approx(expected[0])


def test_targets_that_were_never_observed_are_not_known() -> None:
    features, embedding = contexts(3, n_features=N)
    bound = changed(PREDICTOR, log_heads={}).bind(SEEN, descriptor_rows())
    found = bound.predict_batch(features, embedding)
    for array in (found.output_tokens, found.tool_call_latency_ms, found.expected_cost):
        assert array.shape == (3, 3)
        assert np.isnan(array).all()


def test_past_bills_are_only_told_of_models_that_had_some() -> None:
    features, embedding = contexts(3, n_features=N)
    output = PREDICTOR.log_heads["output_tokens"]
    bills = LogHead(output.head, 1.0, np.array([True, False, True]))
    joint = changed(PREDICTOR, log_heads={COST: bills})
    bound = joint.bind((*SEEN, "new"), descriptor_rows((*CARDS, CARDS[0])))
    cost = bound.predict_batch(features, embedding).expected_cost
    assert np.isfinite(cost).all(axis=0).tolist() == [True, False, True, False]


def test_the_smearing_factor_multiplies_the_median() -> None:
    features, embedding = contexts(1, n_features=N)
    head = PREDICTOR.log_heads["output_tokens"]
    plain, twice = (
        changed(
            PREDICTOR,
            log_heads={"output_tokens": msgspec.structs.replace(head, smearing=smearing)},
        )
        .bind(SEEN, descriptor_rows())
        .predict(features[0], embedding[0])
        .output_tokens
        for smearing in (1.0, 2.0)
    )
    assert twice == pytest.approx(2 * plain)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_extreme_inputs_give_finite_predictions(value: float) -> None:
    features, embedding = np.full(N, value, np.float32), contexts(1, n_features=N)[1][0]
    found = BOUND.predict(features, embedding)
    assert np.isfinite(found.p_adequate).all()
    assert np.isfinite(found.output_tokens).all()


def test_weights_that_are_no_numbers_are_a_prediction_error() -> None:
    features, embedding = contexts(1, n_features=N)
    bad = msgspec.structs.replace(PREDICTOR.adequacy, beta=np.full(4, np.nan))
    bound = changed(PREDICTOR, adequacy=bad).bind(SEEN, descriptor_rows())
    with pytest.raises(PredictionError, match="not a finite number"):
        bound.predict(features[0], embedding[0])
    with pytest.raises(PredictionError, match="not a finite number"):
        bound.predict_batch(features, embedding)


def test_the_widths_it_reads_are_told() -> None:
    assert PREDICTOR.n_features == N
    assert PREDICTOR.n_descriptors == N_DESCRIPTORS
    assert PREDICTOR.n_tree_columns == PREDICTOR.trees.n_columns
