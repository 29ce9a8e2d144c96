"""The fitted predictor against worlds in which P(adequate) is known."""

from dataclasses import replace

import numpy as np
import pytest

from router_data.logging_policy import LoggingPolicy, PolicyName
from router_data.simulator import World, simulate
from router_model.heads import Floats
from router_model.persistence import save_predictor
from router_training.fit import FittedPredictor, fit_predictor
from router_training.params import TrainingParams

pytestmark = pytest.mark.statistical

PARAMS = TrainingParams(n_estimators=150, ridges=(100.0, 1000.0), n_skills=2, num_leaves=15)
TRAINED, LATER = simulate(4_000, seed=1), simulate(4_000, seed=2)


@pytest.fixture(scope="module")
def fit() -> FittedPredictor:
    return fit_predictor(TRAINED.rounds(), params=PARAMS)


def told(fit: FittedPredictor, world: World) -> Floats:
    rounds = world.rounds()
    return fit.predict(rounds.features, rounds.embedding, world.models).p_adequate


def brier(p: Floats, world: World) -> float:
    return float(np.square(p - world.adequate).mean())


def calibration_error(p: Floats, world: World, *, n_bins: int = 15) -> float:
    """Mean distance of predicted and true probability over bins of equal size."""
    order = np.argsort(p, axis=None)
    bins = np.array_split(order, n_bins)
    gaps = [abs(p.ravel()[b].mean() - world.p_adequate.ravel()[b].mean()) for b in bins]
    return float(np.mean(gaps))


def test_probabilities_match_frequencies_on_requests_not_trained_on(fit: FittedPredictor) -> None:
    assert calibration_error(told(fit, LATER), LATER) < 0.015


def test_every_model_is_calibrated_by_itself(fit: FittedPredictor) -> None:
    gaps = np.abs(told(fit, LATER).mean(axis=0) - LATER.p_adequate.mean(axis=0))
    assert gaps.max() < 0.03


def test_it_beats_each_models_mean_and_nears_the_truth(fit: FittedPredictor) -> None:
    constant = np.broadcast_to(TRAINED.adequate.mean(axis=0), LATER.adequate.shape)
    best, found = brier(LATER.p_adequate, LATER), brier(told(fit, LATER), LATER)
    assert found < brier(constant, LATER)
    # Of the gap between the means and the truth itself, most is closed.
    assert found - best < 0.1 * (brier(constant, LATER) - best)


def test_it_knows_which_requests_suit_which_model(fit: FittedPredictor) -> None:
    # With tools the cheap models are the abler ones.
    p, tools = told(fit, LATER), LATER.features[:, 1] > 0
    gain = p[tools].mean(axis=0) - p[~tools].mean(axis=0)
    assert gain[0] > 0.05
    assert gain[-1] < -0.05


@pytest.mark.parametrize("policy", ["uniform", "biased"])
def test_a_log_of_drawn_models_is_calibrated_too(policy: PolicyName) -> None:
    rounds = simulate(12_000, seed=1).rounds(LoggingPolicy(policy, seed=3))
    p = told(fit_predictor(rounds, params=PARAMS), LATER)
    constant = np.broadcast_to(LATER.p_adequate.mean(axis=0), p.shape)
    assert calibration_error(p, LATER) < 0.03
    assert brier(p, LATER) < brier(constant, LATER)


def test_two_fits_with_one_seed_are_the_same_and_another_seed_hardly_differs(
    fit: FittedPredictor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = fit_predictor(TRAINED.rounds(), params=PARAMS)
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    save_predictor(fit.joint, one)
    save_predictor(again.joint, other)
    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes()
    seeded = fit_predictor(TRAINED.rounds(), params=PARAMS, seed=1)
    assert np.abs(told(seeded, LATER) - told(fit, LATER)).mean() < 0.02


def test_a_model_that_was_never_seen_lies_between_the_others(fit: FittedPredictor) -> None:
    rounds = LATER.rounds()
    new = fit.predict(rounds.features, rounds.embedding, ("never-seen-before",)).p_adequate[:, 0]
    means = told(fit, LATER).mean(axis=0)
    assert means.min() < new.mean() < means.max()
    # What makes a request hard for all models makes it hard for a new one.
    assert np.corrcoef(new, LATER.p_adequate.mean(axis=1))[0, 1] > 0.9


def test_new_models_are_told_apart_by_what_is_known_of_them() -> None:
    # Real names: price, size and family of these are in the catalog and the facts.
    ladder = ("gpt-4.1-nano", "gpt-4.1-mini", "gpt-4o-mini", "gpt-4o", "gpt-4.1")
    world = simulate(3_000, seed=1)
    rounds = world.rounds()
    order = np.argsort(ladder)
    names = tuple(np.array(ladder)[order].tolist())
    place = np.argsort(order)
    named = replace(rounds, models=names, model_index=place[rounds.model_index])
    fit = fit_predictor(named, params=PARAMS)
    small, large = (
        fit.predict(rounds.features, rounds.embedding, (name,)).p_adequate.mean()
        for name in ("claude-haiku-4-5", "claude-opus-4-1")
    )
    assert small < large
