from dataclasses import replace

import numpy as np
import pytest
from logged_samples import logged_world, texts, uniform_log

from router_data.simulator import simulate
from router_model.errors import DatasetError
from router_training.reward_model import cross_fitted, groups_of

WORLD = simulate(4_000, n_models=4, seed=3)
LOG = logged_world(WORLD, np.full((4_000, 4), 0.25), seed=4, error=0.8)


def test_it_corrects_what_the_router_predicted() -> None:
    found = cross_fitted(LOG)
    before = np.square(LOG.p_adequate - WORLD.p_adequate).mean()
    assert np.square(found.adequate - WORLD.p_adequate).mean() < 0.4 * before
    # The logged costs are wrong by a factor for each model.
    ratio = found.cost_usd.sum(axis=0) / WORLD.cost_usd.sum(axis=0)
    assert ratio == pytest.approx(np.ones(4), abs=0.05)


def test_no_row_is_scored_by_a_model_that_saw_its_outcome() -> None:
    # Turn all outcomes of one session around: its own predictions must not move.
    session = WORLD.session == WORLD.session[0]
    turned = replace(LOG, adequate=np.where(session, 1.0 - LOG.adequate, LOG.adequate))
    before, after = cross_fitted(LOG), cross_fitted(turned)
    assert (before.adequate[session] == after.adequate[session]).all()
    assert (before.adequate[~session] != after.adequate[~session]).any()


def test_a_model_that_was_no_candidate_yields_nothing() -> None:
    candidates = np.ones((4_000, 4), dtype=bool)
    candidates[::2, 3] = False
    distribution = candidates / candidates.sum(axis=1, keepdims=True)
    found = cross_fitted(logged_world(WORLD, distribution, candidates=candidates))
    assert (found.adequate[::2, 3] == 0).all()
    assert (found.adequate[1::2] > 0).all()


def test_predictions_that_were_never_logged_are_done_without() -> None:
    blind = np.full((4_000, 4), np.nan)
    found = cross_fitted(replace(LOG, p_adequate=blind, expected_cost=blind))
    assert np.isfinite(found.adequate).all()
    means = found.adequate.mean(axis=0)
    assert means == pytest.approx(WORLD.p_adequate.mean(axis=0), abs=0.05)
    assert found.cost_usd.mean(axis=0) == pytest.approx(WORLD.cost_usd.mean(axis=0), rel=0.15)


def test_unsure_labels_count_less() -> None:
    # Wrong labels that are hardly believed hardly matter.
    wrong = np.arange(4_000) % 2 == 0
    log = replace(
        LOG,
        adequate=np.where(wrong, 0.0, LOG.adequate),
        weight=np.where(wrong, 0.01, 1.0),
    )
    assert cross_fitted(log).adequate.mean() == pytest.approx(WORLD.p_adequate.mean(), abs=0.03)


def test_utility_is_cost_and_the_price_of_failures() -> None:
    found = cross_fitted(uniform_log(300))
    utility = found.utility_usd(np.full(300, 0.5))
    expected = -(found.cost_usd[7, 2] + (1 - found.adequate[7, 2]) * 0.5)
    assert utility[7, 2] == pytest.approx(expected)


def test_sessions_are_groups_and_a_decision_without_one_stands_alone() -> None:
    log = replace(
        uniform_log(5),
        session=texts(["s", "s", "", "", "s"]),
        tenant=texts(["a", "a", "a", "a", "b"]),
    )
    groups = groups_of(log)
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 4


def test_logs_that_cannot_be_learned_from_are_refused() -> None:
    log = uniform_log(50)
    with pytest.raises(DatasetError, match="at least 2"):
        cross_fitted(replace(log, session=texts(["one"] * 50), tenant=texts(["a"] * 50)))
    with pytest.raises(DatasetError, match="all are in one session"):
        cross_fitted(replace(log, adequate=np.full(50, np.nan)))
    with pytest.raises(DatasetError, match="cost_usd: none of 50 was observed"):
        cross_fitted(replace(log, cost_usd=np.full(50, np.nan)))
