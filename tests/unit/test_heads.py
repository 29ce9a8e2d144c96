import numpy as np
import pytest

from router_model.heads import ContextScaler, LinearHead, ModelSpace

SPACE = ModelSpace(
    names=("a", "b"),
    traits=np.array([[2.0, 0.5], [0.0, -0.5]]),
    trait_mean=np.array([1.0, 0.0]),
    trait_scale=np.array([2.0, 1.0]),
    trait_coef=np.array([[0.5, 0.0], [0.0, 1.0]]),
    descriptor_mean=np.array([10.0, 0.0]),
    descriptor_scale=np.array([5.0, 1.0]),
    components=np.array([[1.0], [0.0]]),
)
HEAD = LinearHead(
    shared=np.array([[1.0, 0.0], [0.0, 2.0]]),
    own=np.array([[0.1, 0.2], [0.3, 0.4]]),
    beta=np.array([0.5, 1.0]),
    offset=np.array([0.01, 0.02]),
)


def test_contexts_are_centred_scaled_and_clipped() -> None:
    scaler = ContextScaler(np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    assert scaler.transform(np.array([[3.0, -9.0]])).tolist() == [[1.0, -5.0]]


def test_unknown_values_and_constant_columns_are_in_the_middle() -> None:
    scaler = ContextScaler(np.array([1.0, 7.0]), np.array([2.0, np.inf]))
    assert scaler.transform(np.array([[np.nan, 7.0], [1.0, 1e9]])).tolist() == [[0, 0], [0, 0]]


def test_an_infinite_value_is_an_extreme_one_and_warns_of_nothing() -> None:
    # Infinity over the infinite scale of a constant column raised a warning.
    scaler = ContextScaler(np.zeros(2), np.array([1.0, np.inf]))
    assert scaler.transform(np.array([[np.inf, np.inf]])).tolist() == [[5.0, 0.0]]


def test_descriptors_that_are_unknown_stand_at_the_mean() -> None:
    assert SPACE.standardise(np.array([[np.nan, 1.0], [20.0, 99.0]])).tolist() == [
        [0.0, 1.0],
        [2.0, 5.0],
    ]


def test_positions_are_those_of_the_names_and_minus_one_for_others() -> None:
    assert SPACE.positions(["b", "new", "a"]).tolist() == [1, -1, 0]
    assert SPACE.positions([]).tolist() == []


def test_a_seen_model_has_its_learned_traits_whatever_its_descriptors() -> None:
    found = SPACE.traits_of(["b", "a"], np.array([[99.0, 3.0], [0.0, 0.0]]))
    assert found.tolist() == [[0.0, -0.5], [2.0, 0.5]]


def test_a_new_models_traits_are_estimated_from_its_descriptors() -> None:
    # standard units: (15 - 10) / 5 = 1 and -2; traits 1 + 0.5 x 1 and 0 + 1 x -2
    assert SPACE.traits_of(["new"], np.array([[15.0, -2.0]])).tolist() == [[1.5, -2.0]]


def test_a_new_model_of_which_nothing_is_known_is_an_average_one() -> None:
    unknown = np.full((1, 2), np.nan)
    assert SPACE.traits_of(["new"], unknown).tolist() == [SPACE.trait_mean.tolist()]
    assert SPACE.loadings(["new"], unknown).tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_a_space_without_seen_models_estimates_all() -> None:
    # Indexing an empty table of traits raised an IndexError.
    empty = ModelSpace(
        names=(),
        traits=np.empty((0, 2)),
        trait_mean=SPACE.trait_mean,
        trait_scale=SPACE.trait_scale,
        trait_coef=SPACE.trait_coef,
        descriptor_mean=SPACE.descriptor_mean,
        descriptor_scale=SPACE.descriptor_scale,
        components=SPACE.components,
    )
    assert empty.traits_of(["new"], np.array([[15.0, -2.0]])).tolist() == [[1.5, -2.0]]


def test_loadings_are_a_constant_standard_traits_and_components() -> None:
    found = SPACE.loadings(["a"], np.array([[15.0, 0.0]]))
    assert found.tolist() == [[1.0, 0.5, 0.5, 1.0]]


def test_coefficients_of_a_seen_model_are_the_shared_ones_and_its_own() -> None:
    coef, intercept = HEAD.coefficients(np.array([[1.0, 3.0]]), np.array([1]))
    assert coef[:, 0].tolist() == pytest.approx([1.0 + 0.2, 6.0 + 0.4])
    assert intercept.tolist() == pytest.approx([0.5 + 3.0 + 0.02])


def test_a_new_model_has_the_shared_coefficients_only() -> None:
    loadings = np.array([[1.0, 3.0], [1.0, 3.0]])
    coef, intercept = HEAD.coefficients(loadings, np.array([-1, 0]))
    assert coef[:, 0].tolist() == pytest.approx([1.0, 6.0])
    assert intercept[0] == pytest.approx(3.5)
    assert coef[0, 1] == pytest.approx(1.1)
