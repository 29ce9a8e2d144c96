"""What every predictor keeps to, made by hand or trained."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray
from routers import CARDS, SEEN, contexts, descriptor_rows, joint_predictor
from scipy.special import logit
from synthetic_rounds import synthetic_rounds

from router_model.persistence import load_predictor, save_predictor
from router_model.predictor import Blend, JointPredictor, Prediction
from router_model.tenants import TenantOffset, TenantOffsets
from router_training.fit import fit_predictor
from router_training.params import TrainingParams
from router_training.training_table import descriptor_table

PARAMS = TrainingParams(
    n_estimators=10, ridges=(500.0,), n_skills=1, n_text_components=2, min_data_in_leaf=10
)
N = 5
Vectors = NDArray[np.float32]


class Case:
    """A predictor with contexts to ask it about."""

    def __init__(
        self, joint: JointPredictor, names: tuple[str, ...], descriptors: Vectors, inputs: int
    ) -> None:
        self.joint, self.names, self.descriptors = joint, names, descriptors
        width = len(joint.scaler.mean) - inputs
        rng = np.random.default_rng(5)
        self.features = rng.normal(size=(30, inputs)).astype(np.float32)
        self.features[rng.random(self.features.shape) < 0.2] = np.nan
        vectors = rng.normal(size=(30, width)).astype(np.float16)
        self.embedding = vectors.astype(np.float32)

    def batch(self, joint: JointPredictor | None = None) -> Prediction:
        return (joint or self.joint).predict(
            self.features, self.embedding, names=self.names, descriptors=self.descriptors
        )


@cache
def by_hand() -> Case:
    names = (*SEEN, "never-seen")
    return Case(joint_predictor(n_features=N), names, descriptor_rows((*CARDS, CARDS[1])), inputs=N)


@cache
def linear_only() -> Case:
    joint = joint_predictor(n_features=N, blend=Blend(1.0, 0.0))
    return Case(joint, SEEN, descriptor_rows(), inputs=N)


@cache
def trained() -> Case:
    rounds = synthetic_rounds(150)
    fitted = fit_predictor(rounds, params=PARAMS)
    names = (*fitted.models, "gpt-5-mini")
    return Case(fitted.joint, names, descriptor_table(names), inputs=2)


cases = pytest.mark.parametrize("make", [by_hand, linear_only, trained])
Make = Callable[[], Case]


def same(one: Prediction, other: Prediction, *, atol: float = 0.0) -> bool:
    return all(
        np.allclose(getattr(one, name), getattr(other, name), rtol=atol, atol=atol, equal_nan=True)
        for name in one.__struct_fields__
    )


@cases
def test_one_context_is_predicted_as_in_a_batch(make: Make) -> None:
    case = make()
    bound, batch = case.joint.bind(case.names, case.descriptors), case.batch()
    for i in range(len(case.features)):
        one = bound.predict(case.features[i], case.embedding[i])
        row = Prediction(*(getattr(batch, name)[i] for name in batch.__struct_fields__))
        assert same(one, row, atol=1e-9)


@cases
def test_a_tenants_shift_is_the_same_online_and_in_a_batch(make: Make) -> None:
    case = make()
    bound = case.joint.bind(case.names, case.descriptors)
    offsets = TenantOffsets(
        {"acme": TenantOffset(level=-0.7, models={case.names[0]: 0.4, case.names[1]: -0.1})}
    )
    tenants = ["acme", "new"] * 15
    table = offsets.for_contexts(tenants, case.names)
    batch = bound.predict_batch(case.features, case.embedding, shift=table).p_adequate
    for i, tenant in enumerate(tenants):
        shift = offsets.for_models(tenant, case.names)
        one = bound.predict(case.features[i], case.embedding[i], shift=shift).p_adequate
        assert one == pytest.approx(batch[i], rel=1e-9)
    plain = case.batch().p_adequate
    assert batch[1::2] == pytest.approx(plain[1::2], rel=1e-9)
    moved = logit(batch[::2]) - logit(plain[::2])
    assert moved == pytest.approx(table[::2], abs=1e-6)


@cases
def test_probabilities_are_probabilities_and_amounts_positive(make: Make) -> None:
    found = make().batch()
    assert ((found.p_adequate > 0) & (found.p_adequate < 1)).all()
    for amounts in (found.output_tokens, found.tool_call_latency_ms, found.expected_cost):
        assert (np.isnan(amounts) | (amounts > 0)).all()


@cases
def test_the_order_of_models_is_irrelevant(make: Make) -> None:
    case = make()
    order = np.arange(len(case.names))[::-1]
    turned = case.joint.predict(
        case.features,
        case.embedding,
        names=[case.names[i] for i in order],
        descriptors=case.descriptors[order],
    )
    batch = case.batch()
    back = Prediction(*(getattr(turned, name)[:, order] for name in turned.__struct_fields__))
    assert same(back, batch, atol=1e-12)


@cases
def test_other_models_do_not_change_a_models_prediction(make: Make) -> None:
    case = make()
    alone = case.joint.predict(
        case.features,
        case.embedding,
        names=case.names[1:2],
        descriptors=case.descriptors[1:2],
    )
    assert alone.p_adequate[:, 0] == pytest.approx(case.batch().p_adequate[:, 1], rel=1e-9)


@cases
def test_predicting_is_pure(make: Make) -> None:
    case = make()
    features, embedding = case.features.copy(), case.embedding.copy()
    first, second = case.batch(), case.batch()
    assert same(first, second)
    assert np.array_equal(case.features, features, equal_nan=True)
    assert np.array_equal(case.embedding, embedding)


@cases
def test_files_give_the_same_predictions_bit_for_bit(make: Make, tmp_path: Path) -> None:
    case = make()
    save_predictor(case.joint, tmp_path)
    again = load_predictor(tmp_path)
    assert same(case.batch(again), case.batch())


@cases
def test_files_of_equal_predictors_are_equal(make: Make, tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    save_predictor(make().joint, folders[0])
    save_predictor(load_predictor(folders[0]), folders[1])
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()


@cases
def test_single_rows_score_exactly_as_the_booster_does(make: Make) -> None:
    case = make()
    trees = case.joint.trees
    rows = case.joint.bind(case.names, case.descriptors).tree_rows(case.features, case.embedding)
    rows[::3, ::2] = np.nan
    booster = lightgbm.Booster(model_str=trees.text)
    expected = np.asarray(booster.predict(rows, raw_score=True))
    assert np.isnan(rows).any()
    assert trees.score(rows).tolist() == expected.tolist()
    assert trees.score_batch(rows).tolist() == expected.tolist()


def test_training_is_deterministic_under_its_seed(tmp_path: Path) -> None:
    rounds = synthetic_rounds(100)
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
        save_predictor(fit_predictor(rounds, params=PARAMS, seed=3).joint, folder)
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name


def test_contexts_with_missing_values_are_among_the_cases() -> None:
    assert np.isnan(by_hand().features).any()
    assert np.isnan(contexts(50, n_features=N, missing=0.2)[0]).any()
