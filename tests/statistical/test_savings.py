"""The comparison of routed sessions with others covers the truth as often as it says."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from savings_samples import paid_calls, with_draws

from router_data.agents import simulate_agents
from router_data.playthrough import played_costs
from router_data.simulator import World
from router_data.store import Store
from router_data.traffic import Kept, log_traffic, request_indices, router_for
from router_model.artifact import STARTER
from router_model.router import Router
from router_training.intervals import Interval
from router_training.savings import SavingsOptions, savings_of
from router_training.savings_experiment import Experiment, compared

pytestmark = pytest.mark.statistical
N_WORLDS = 400
N_SESSIONS = 120


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize(("share", "n_sessions"), [(0.5, 120), (0.2, 300)])
def test_intervals_of_a_trial_cover_the_truth_about_95_times_in_100(
    share: float, n_sessions: int
) -> None:
    """Bills of sessions are log-normal (sigma 1), calls of a session share a level."""
    hits = np.zeros(4)
    for seed in range(N_WORLDS):
        found = compared(with_draws(seed, n_sessions=n_sessions, share=share))
        assert isinstance(found, Experiment)
        assert found.adequate is not None
        hits += [
            covers(found.usd_per_session.difference, -0.06),
            covers(found.usd_per_call.difference, -0.01),
            covers(found.adequate.difference, -0.05),
            covers(found.saving_share, 0.5),
        ]
    coverage = hits / N_WORLDS
    # Two standard errors of 400 draws are .022; skewed bills cover somewhat less often.
    assert (coverage > 0.91).all(), coverage
    assert (coverage < 0.985).all(), coverage


def test_a_share_that_was_changed_meanwhile_is_no_bias() -> None:
    """Days with a larger share are dearer: pooled, routed sessions would look dear."""
    gains, hits = [], 0
    for seed in range(150):
        early = with_draws(seed, n_sessions=150, share=0.2)
        late = with_draws(1_000 + seed, n_sessions=150, share=0.8, level=3.0)
        found = compared(paid_calls(early, late))
        assert isinstance(found, Experiment)
        assert found.shares == (0.2, 0.8)
        gains.append(found.usd_per_session.difference.estimate)
        hits += covers(found.usd_per_session.difference, -0.06 * (1.0 + 3.0) / 2.0)
    assert abs(np.mean(gains) + 0.12) < 3.0 * np.std(gains) / 150**0.5
    assert hits / 150 > 0.88


class Truth(NamedTuple):
    """Simulated agents, and what all of their sessions cost with the router and without."""

    world: World
    router: Router
    routed_usd: float
    kept_usd: float

    @property
    def saving_share(self) -> float:
        return 1.0 - self.routed_usd / self.kept_usd


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    world = simulate_agents(N_SESSIONS, seed=5, reports="all")
    router, folder = router_for(world, STARTER), tmp_path_factory.mktemp("full")
    log_traffic(world, folder, router=router)
    with Store(folder) as store:
        rows = store.query("select decision_id, model from decisions")
    place = {model: column for column, model in enumerate(world.models)}
    chosen = np.zeros(world.n_requests, dtype=np.int64)
    chosen[request_indices(row["decision_id"] for row in rows)] = [
        place[row["model"]] for row in rows
    ]
    kept = np.full_like(chosen, len(world.models) - 1)
    costs = [float(played_costs(world, choice).sum()) for choice in (chosen, kept)]
    return Truth(world, router, *costs)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_report_agrees_with_the_truth_of_simulated_agents(
    tmp_path: Path, truth: Truth, share: float
) -> None:
    """Measured by a trial, and estimated while the router only observes."""
    kept = Kept(share, truth.world.models[-1], seed=2)
    log_traffic(truth.world, tmp_path, router=truth.router, kept=kept)
    report = savings_of(tmp_path, options=SavingsOptions(n_resamples=300))
    assert report.estimate is not None
    assert report.estimate.saving_share.estimate == pytest.approx(truth.saving_share, abs=0.05)
    if share == 0.0:
        assert report.experiment is None
        assert report.estimate.paid_usd == pytest.approx(truth.kept_usd)
        return
    assert report.experiment is not None
    assert covers(report.experiment.saving_share, truth.saving_share)
    a_session = (truth.routed_usd - truth.kept_usd) / N_SESSIONS
    assert covers(report.experiment.usd_per_session.difference, a_session)
