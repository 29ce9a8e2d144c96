import numpy as np
import pytest

from router_model.calibration import sigmoid
from router_model.descriptors import DESCRIPTOR_NAMES
from router_model.heads import Floats, ModelSpace
from router_training.bilinear import Cells, Nuisance
from router_training.space import fit_space

N, P, M = 3_000, 3, 6
D = len(DESCRIPTOR_NAMES)
PRICE = DESCRIPTOR_NAMES.index("log_output_price")
RNG = np.random.default_rng(0)
Z = RNG.normal(size=(N, P))
SKILL = np.linspace(-1.5, 1.5, M)
# Models differ in one direction of the contexts beside their ability.
TASTE = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
ETA = SKILL + np.outer(Z[:, 0], TASTE)


def described(price: Floats) -> Floats:
    """Only the price of each model is known."""
    table = np.full((len(price), D), np.nan)
    table[:, PRICE] = price
    return table


def fitted(
    n_skills: int = 2, n_components: int = 2, *, models: int = M, y: Floats | None = None
) -> ModelSpace:
    values = sigmoid(ETA[:, :models]) if y is None else y
    context, model = (index.ravel() for index in np.indices(values.shape))
    return fit_space(
        Z,
        Cells(context, model, values.ravel()),
        names=[f"m{i}" for i in range(models)],
        descriptors=described(SKILL[:models]),
        n_skills=n_skills,
        n_components=n_components,
    )


def test_abilities_rise_with_the_true_skills() -> None:
    abilities = fitted().traits[:, 0]
    assert (np.diff(abilities) > 0).all()
    assert np.corrcoef(abilities, SKILL)[0, 1] > 0.98


def test_the_first_skill_tells_apart_what_suits_different_contexts() -> None:
    skill = fitted().traits[:, 1]
    assert abs(np.corrcoef(skill, TASTE)[0, 1]) > 0.98
    assert skill[np.abs(skill).argmax()] > 0  # its sign is fixed


def test_equal_data_give_equal_traits() -> None:
    one, other = fitted(), fitted()
    assert one.traits.tolist() == other.traits.tolist()
    assert one.trait_coef.tolist() == other.trait_coef.tolist()


def test_ability_is_controlled_for_the_difficulty_of_the_contexts() -> None:
    # Equal models; the second was only asked easy things, so its raw rate is higher.
    y = sigmoid(np.repeat(2.0 * Z[:, :1], 3, axis=1))
    context, model = (index.ravel() for index in np.indices(y.shape))
    easy = Z[context, 0] > 0
    seen = (model != 1) | easy
    # The ridge is meant for many rows, so each counts as thirty.
    cells = Cells(context, model, y.ravel(), weight=np.full(y.size, 30.0)).select(seen)
    space = fit_space(
        Z,
        cells,
        names=("a", "b", "c"),
        descriptors=described(np.zeros(3)),
        n_skills=0,
        n_components=0,
    )
    raw_gap = y[Z[:, 0] > 0, 1].mean() - y[:, 0].mean()
    gap = sigmoid(space.traits[1:2, 0]).item() - sigmoid(space.traits[:1, 0]).item()
    assert abs(gap) < 0.5 * raw_gap


def test_a_new_models_ability_is_read_off_its_price() -> None:
    space = fitted()
    low, high = space.traits_of(["x", "y"], described(np.array([-1.4, 1.4])))[:, 0]
    assert space.traits[:, 0].min() < low < high < space.traits[:, 0].max()


def test_a_new_model_of_which_nothing_is_known_is_an_average_one() -> None:
    space = fitted()
    found = space.traits_of(["x"], np.full((1, D), np.nan))
    assert found[0] == pytest.approx(space.trait_mean)


@pytest.mark.parametrize(("models", "skills"), [(1, 0), (2, 0), (3, 1), (4, 2), (6, 2)])
def test_few_models_have_fewer_skills_and_components(models: int, skills: int) -> None:
    space = fitted(models=models)
    assert space.traits.shape == (models, 1 + skills)
    assert space.components.shape[1] <= max(0, models - 2)
    assert space.loadings(space.names, described(SKILL[:models])).shape[0] == models
    for array in (space.traits, space.trait_coef, space.trait_scale, space.components):
        assert np.isfinite(array).all()


def test_models_that_are_all_alike_stay_finite() -> None:
    space = fitted(y=np.full((N, M), 0.7))
    assert np.isfinite(space.traits).all()
    assert (space.trait_scale >= 0.1).all()


def test_a_model_that_was_rarely_seen_pulls_less_on_the_descriptors() -> None:
    y = np.tile(sigmoid(SKILL), (N, 1))
    context, model = (index.ravel() for index in np.indices(y.shape))
    contrary = np.where(model == M - 1, 0.02, y.ravel())  # the dearest does badly
    slopes = []
    for share in (1.0, 0.002):
        rows = (model != M - 1) | (context < share * N)
        space = fit_space(
            Z,
            Cells(context, model, contrary).select(rows),
            names=[f"m{i}" for i in range(M)],
            descriptors=described(SKILL),
            n_skills=0,
            n_components=0,
        )
        slopes.append(space.trait_coef[PRICE, 0])
    assert slopes[1] > slopes[0]


def test_a_later_release_counts_as_an_abler_model_where_data_sets_share_none() -> None:
    # Two data sets, each with a model of its own and the same success rate.
    released = described(np.zeros(2))
    released[:, DESCRIPTOR_NAMES.index("release_years")] = [0.0, 2.0]
    half = np.repeat([0, 1], N // 2)
    nuisance = Nuisance.none(N).beside(half, ridge=0.1)
    cells = Cells(np.arange(N), half, np.full(N, 0.6), nuisance=nuisance)
    space = fit_space(
        Z, cells, names=("old", "new"), descriptors=released, n_skills=0, n_components=0
    )
    assert space.traits[1, 0] > space.traits[0, 0] + 0.3
