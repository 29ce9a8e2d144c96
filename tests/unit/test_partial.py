from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic_rounds import COSTS, fit_binned_means, synthetic_rounds

from router_data.logging_policy import LoggingPolicy
from router_model.errors import DatasetError
from router_training.params import TrainingParams
from router_training.partial import Study, point_on_log, simulate_log
from router_training.partial_report import (
    PartialReport,
    compare,
    complete,
    render,
    some_models,
    write_report,
)

PARAMS = TrainingParams(n_resamples=60)
STUDY = Study(rounds=(1, 4), n_seeds=2, policies=("uniform", "biased"))


@cache
def report() -> PartialReport:
    return compare(
        synthetic_rounds(600), name="made up", study=STUDY, params=PARAMS, fit=fit_binned_means
    )


def test_a_simulated_log_shows_one_outcome_a_decision_as_the_matrix_has_it() -> None:
    full = synthetic_rounds(50)
    log = simulate_log(full, LoggingPolicy("uniform"), n_rounds=3, rng=np.random.default_rng(0))
    assert log.rounds.n_contexts == log.rounds.n_rows == 150
    assert log.rounds.propensity == pytest.approx(np.full(150, 1 / 3))
    reward = full.matrix("reward")[np.repeat(np.arange(50), 3), log.rounds.model_index]
    assert log.rounds.reward.tolist() == reward.tolist()
    assert len(set(log.rounds.decision_id)) == 150
    pairs = set(zip(log.rounds.group, log.rounds.model_index, strict=True))
    assert log.n_pairs == len(pairs)


@pytest.mark.parametrize("name", ["epsilon-greedy", "biased"])
def test_models_are_drawn_as_often_as_their_propensity_says(name: str) -> None:
    full = synthetic_rounds(4_000)
    policy = LoggingPolicy(name)  # type: ignore[arg-type] # one of the names
    log = simulate_log(full, policy, n_rounds=1, rng=np.random.default_rng(1)).rounds
    for task in ("easy", "hard"):
        of = full.task == task
        for model in range(3):
            drawn = of & (log.model_index == model)
            expected = log.propensity[drawn][0]
            assert drawn.sum() / of.sum() == pytest.approx(expected, abs=0.03)


def test_the_point_chosen_on_a_log_is_near_the_best_of_the_matrix() -> None:
    full = synthetic_rounds(4_000)
    log = simulate_log(full, LoggingPolicy("uniform"), n_rounds=1, rng=np.random.default_rng(2))
    router = fit_binned_means(full, params=PARAMS)
    told = router.predict(full.features, full.embedding, full.models)
    policy = point_on_log(log.rounds, told.p_adequate, told.expected_cost)
    assert policy.kind == "failure_cost"
    # Neither end of the sweep, where it is a fixed model.
    assert 0.1 * COSTS["cheap"] < policy.threshold < 100 * COSTS["strong"]


def test_more_outcomes_keep_more_of_the_gain_of_full_feedback() -> None:
    full, *logs = report().results
    assert (full.policy, full.share_seen) == ("full", 1.0)
    assert full.kept.estimate == 1.0
    assert full.area.low > 0
    few, many = (r for r in logs if r.policy == "uniform")
    assert few.n_logged == 400
    assert many.n_logged == 1_600
    assert few.share_seen < many.share_seen < 1.0
    assert 0.5 < many.kept.estimate < 1.3
    assert many.above_hull.estimate > 0
    assert np.mean(many.seed_areas) == pytest.approx(many.area.estimate, rel=1e-6)


def test_the_report_is_a_table_and_a_file(tmp_path: Path) -> None:
    lines = render(report()).splitlines()
    assert lines[0].startswith("made up: 600 requests, 3 models, 2 seeds")
    assert sum(line.startswith("| uniform") for line in lines) == 2
    write_report(report(), tmp_path / "out.json")
    again = msgspec.json.decode((tmp_path / "out.json").read_bytes(), type=PartialReport)
    assert again == report()


def test_a_few_models_span_the_prices() -> None:
    assert some_models(synthetic_rounds(40), 2).models == ("cheap", "strong")
    assert some_models(synthetic_rounds(40), None).models == ("cheap", "middle", "strong")
    with pytest.raises(DatasetError, match="models: got 1"):
        some_models(synthetic_rounds(40), 1)


def test_without_costs_two_models_are_compared_by_calls_and_three_not_at_all() -> None:
    _, matrix = complete(synthetic_rounds(40, models=("cheap", "strong"), has_cost=False))
    assert matrix.cost_unit == "strong_calls"
    with pytest.raises(DatasetError, match="cost_usd: no costs"):
        complete(synthetic_rounds(40, has_cost=False))


def test_the_progress_counts_every_router() -> None:
    steps: list[str] = []
    study = Study(rounds=(1,), n_seeds=1, n_folds=2, policies=("uniform",))
    compare(
        synthetic_rounds(60),
        name="x",
        study=study,
        params=PARAMS,
        fit=fit_binned_means,
        on_step=steps.append,
    )
    assert len(steps) == study.n_steps == 4
