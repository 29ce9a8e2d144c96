import numpy as np
import pytest
from scipy.optimize import approx_fprime

from router_model.calibration import sigmoid
from router_model.heads import Floats
from router_training.bilinear import Cells, Link, Nuisance, _Objective, fit_head

N, P, M = 400, 3, 4
RNG = np.random.default_rng(0)
Z = RNG.normal(size=(N, P))
LOADINGS = np.column_stack([np.ones(M), [-1.0, -0.3, 0.3, 1.0]])
SHARED = np.array([[0.8, 0.0], [0.0, 0.6], [0.0, 0.0]])
ETA = Z @ SHARED @ LOADINGS.T + 0.5 + 0.7 * LOADINGS[:, 1]


def full(y: Floats, *, weight: Floats | None = None) -> Cells:
    context, model = (index.ravel() for index in np.indices(y.shape))
    return Cells(context, model, y.ravel(), weight=weight)


def loose(cells: Cells, link: Link, **changes: float) -> Floats:
    """Fitted scores (N, M) with little held back."""
    ridges = {"ridge": 0.1, "ridge_own": 1.0} | changes
    head, _ = fit_head(Z, LOADINGS, cells, link=link, **ridges)  # type: ignore[arg-type] # floats only
    coef, intercept = head.coefficients(LOADINGS, np.arange(M))
    return Z @ coef + intercept


def test_an_identity_link_finds_the_scores_that_made_the_data() -> None:
    assert np.abs(loose(full(ETA), "identity") - ETA).max() < 0.05


def test_a_logit_link_finds_the_log_odds_that_made_the_outcomes() -> None:
    outcomes = (RNG.random(ETA.shape) < sigmoid(ETA)).astype(float)
    found = loose(full(outcomes), "logit", ridge_own=100.0)
    assert np.abs(found - ETA).mean() < 0.3


def test_targets_may_be_fractions() -> None:
    assert np.abs(loose(full(sigmoid(ETA)), "logit") - ETA).mean() < 0.05


@pytest.mark.parametrize("link", ["logit", "identity"])
@pytest.mark.parametrize("with_prior", [False, True])
def test_the_gradient_is_that_of_the_loss(link: Link, with_prior: bool) -> None:
    rng = np.random.default_rng(1)
    context, model = rng.integers(0, N, 60), rng.integers(0, M, 60)
    groups = Nuisance.none(60).beside(rng.integers(0, 2, 60), ridge=0.1)
    groups = groups.beside(rng.integers(0, 3, 60), ridge=4.0)
    cells = Cells(context, model, rng.random(60), weight=rng.random(60), nuisance=groups)
    objective = _Objective(Z, LOADINGS, cells, link, np.array([2.0, 3.0, 1.0]))
    if with_prior:
        objective.prior = rng.normal(size=M)
    at = rng.normal(0.0, 0.3, objective.size)

    def loss(flat: Floats) -> float:
        return objective(flat)[0]

    numeric = approx_fprime(at, loss)
    assert objective(at)[1] == pytest.approx(numeric, abs=1e-3)


@pytest.mark.parametrize("link", ["logit", "identity"])
def test_a_weight_of_two_is_a_row_twice(link: Link) -> None:
    y = sigmoid(ETA)
    double = np.where(np.arange(y.size) < 200, 2.0, 1.0)
    whole = full(y)
    twice = Cells(
        np.concatenate([whole.context, whole.context[:200]]),
        np.concatenate([whole.model, whole.model[:200]]),
        np.concatenate([whole.y, whole.y[:200]]),
    )
    one, other = loose(full(y, weight=double), link), loose(twice, link)
    assert np.abs(one - other).max() < 1e-2


def test_a_model_without_rows_keeps_to_the_shared_part() -> None:
    cells = full(sigmoid(ETA)).select(np.tile(np.arange(M) != 2, N))
    head, _ = fit_head(Z, LOADINGS, cells, link="logit", ridge=1.0, ridge_own=1.0)
    assert head.own[:, 2].tolist() == [0.0] * P
    assert head.offset[2] == 0.0
    coef, intercept = head.coefficients(LOADINGS[[2]], np.array([-1]))
    assert np.abs((Z @ coef + intercept)[:, 0] - ETA[:, 2]).mean() < 0.2


def test_a_prior_is_where_a_model_without_rows_stands() -> None:
    cells = full(sigmoid(ETA)).select(np.tile(np.arange(M) != 2, N))
    prior = np.array([0.0, 0.0, 0.8, 0.0])
    head, _ = fit_head(
        Z, np.ones((M, 1)), cells, link="logit", ridge=1.0, ridge_own=1.0, prior=prior
    )
    assert head.offset[2] == pytest.approx(0.8)


def test_a_high_ridge_leaves_the_mean_alone() -> None:
    y = sigmoid(ETA)
    found = loose(full(y), "logit", ridge=1e9, ridge_own=1e9, ridge_offset=1e9)
    assert sigmoid(found).mean() == pytest.approx(y.mean(), abs=0.01)
    assert found.std() < 0.01


def test_data_sets_of_different_difficulty_do_not_bias_the_models() -> None:
    # Model 0 was only seen on the hard set, model 1 only on the easy one; 2 and 3 on both.
    n = 4_000
    rng = np.random.default_rng(2)
    nuisance = np.repeat([0, 1], n // 2)
    model = np.where(nuisance == 0, rng.choice([0, 2, 3], n), rng.choice([1, 2, 3], n))
    shift = np.where(nuisance == 0, -1.0, 1.0)
    y = sigmoid(shift)
    groups = Nuisance.none(n).beside(nuisance, ridge=0.1)
    cells = Cells(rng.integers(0, N, n), model, y, nuisance=groups)
    head, _ = fit_head(Z, np.ones((M, 1)), cells, link="logit", ridge=1e3, ridge_own=1e3)
    assert np.ptp(head.offset) < 0.1
    assert head.beta[0] == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_outcomes_that_are_all_alike_give_finite_weights(value: float) -> None:
    scores = loose(full(np.full((N, M), value)), "logit")
    assert np.isfinite(scores).all()
    assert (np.sign(scores) == (1 if value else -1)).all()


def test_one_row_of_one_model_is_enough_to_fit() -> None:
    one = Cells(np.array([0]), np.array([0]), np.array([1.0]))
    head, _ = fit_head(Z[:1], np.ones((1, 1)), one, link="logit", ridge=1.0, ridge_own=1.0)
    assert np.isfinite(head.beta).all()


def test_a_context_without_numbers_has_intercepts_only() -> None:
    head, _ = fit_head(
        np.empty((N, 0)), LOADINGS, full(sigmoid(ETA)), link="logit", ridge=1.0, ridge_own=1.0
    )
    assert head.shared.shape == (0, 2)
    assert (np.diff(head.coefficients(LOADINGS, np.arange(M))[1]) > 0).all()


def test_selected_cells_keep_their_numbers_and_groups() -> None:
    cells = Cells(
        np.array([0, 1, 2]),
        np.array([0, 1, 0]),
        np.array([0.1, 0.2, 0.3]),
        nuisance=Nuisance.none(3).beside(np.array([0, 0, 1]), ridge=0.1),
    )
    part = cells.select(np.array([True, True, False]))
    assert part.context.tolist() == [0, 1]
    assert part.y.tolist() == [0.1, 0.2]
    assert part.nuisance.index.tolist() == [[0], [0]]
    assert part.nuisance.ridge.tolist() == [0.1, 0.1]


def test_kinds_of_nuisance_groups_are_numbered_one_after_the_other() -> None:
    both = (
        Nuisance.none(3)
        .beside(np.array([0, 0, 1]), ridge=0.1)
        .beside(np.array([1, 0, 0]), ridge=4.0)
    )
    assert both.index.tolist() == [[0, 3], [0, 2], [1, 2]]
    assert both.ridge.tolist() == [0.1, 0.1, 4.0, 4.0]
