"""Evaluation on rounds with a known truth, and on folders of tables."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_rounds import (
    COSTS,
    SKILLS,
    BinnedMeans,
    Prediction,
    fit_binned_means,
    synthetic_rounds,
    true_p,
)

from router_data.rounds import Rounds, Texts
from router_model.errors import DatasetError
from router_training.crossval import cross_validate
from router_training.evaluate import Options, evaluate_rounds, sampled
from router_training.matrix import matrix_of
from router_training.metrics import apgr_score
from router_training.params import TrainingParams
from router_training.plots import write_plots
from router_training.render import render
from router_training.report import Report, headline_metrics, write_json
from router_training.splits import grouped_folds

PARAMS = TrainingParams(n_resamples=200, n_folds=3, n_inner_folds=2)


def report_on(rounds: Rounds, params: TrainingParams = PARAMS) -> Report:
    return evaluate_rounds(rounds, name="synthetic", params=params, fit=fit_binned_means)


class Truth:
    """The predictor that knows the simulation."""

    def predict(
        self,
        features: NDArray[np.float32],
        embedding: NDArray[np.float32],
        models: Sequence[str],
        *,
        tenant: Sequence[str] | Texts | None = None,
    ) -> Prediction:
        difficulty = features[:, 0].astype(np.float64)
        p = np.stack([true_p(difficulty, SKILLS[m]) for m in models], axis=1)
        return Prediction(p, np.tile([COSTS[m] for m in models], (len(features), 1)))


@pytest.fixture(scope="module")
def several() -> Report:
    return report_on(synthetic_rounds(600))


def test_a_report_has_every_baseline(several: Report) -> None:
    assert [row.name for row in several.baselines] == [
        "always-best",
        "best fixed at equal cost",
        "always-cheapest",
        "random half cheapest, half best",
        "static hull at equal cost",
        "random uniform",
        "oracle, cheapest adequate",
        "oracle, highest score",
    ]
    assert [row.note for row in several.baselines][-2:] == ["counts luck", "counts luck"]
    assert [row.model for row in several.fixed] == ["cheap", "middle", "strong"]


def test_sizes_and_method_are_stated(several: Report) -> None:
    assert (several.size.n, several.size.n_models) == (600, 3)
    assert (several.method.n_groups, several.method.n_folds) == (600, 3)
    assert several.method.cost_unit == "usd"
    assert len(several.router.policies) == 3
    assert sum(several.router.shares.values()) == pytest.approx(1.0)


def test_estimates_lie_in_their_intervals(several: Report) -> None:
    rows = [(row.score, row.cost) for row in (*several.baselines, *several.fixed)]
    for score, cost in [*rows, (several.router.score, several.router.cost)]:
        assert score.low <= score.estimate <= score.high
        assert cost.low <= cost.estimate <= cost.high


def test_tasks_add_up_to_the_whole(several: Report) -> None:
    total = sum(task.n * task.router.estimate for task in several.tasks)
    assert sum(task.n for task in several.tasks) == 600
    assert total / 600 == pytest.approx(several.router.score.estimate)


def test_routing_beats_the_hull_where_difficulty_is_known() -> None:
    rounds = synthetic_rounds(3000, seed=5)
    found = evaluate_rounds(rounds, name="truth", params=PARAMS, predictor=Truth())
    assert found.router_above_hull.minus_hull.low > 0
    assert found.headline.area_above_hull.low > 0
    assert found.headline.aiq_minus_hull.low > 0
    assert found.calibration.calibration_loss.estimate < 0.03


def test_two_models_without_costs_give_the_pair_metrics() -> None:
    rounds = synthetic_rounds(600, models=("cheap", "strong"), has_cost=False)
    found = evaluate_rounds(rounds, name="pair", params=PARAMS, predictor=Truth())
    assert found.pair is not None
    assert (found.pair.weak, found.pair.strong) == ("cheap", "strong")
    assert found.method.cost_unit == "strong_calls"
    difficulty = rounds.features[:, 0].astype(np.float64)
    gain = true_p(difficulty, SKILLS["strong"]) - true_p(difficulty, SKILLS["cheap"])
    scores = rounds.matrix("reward")
    expected = apgr_score(gain, weak=scores[:, 0], strong=scores[:, 1])
    assert found.pair.apgr.estimate == pytest.approx(expected)
    assert found.pair.cpt50.estimate < found.pair.cpt80.estimate
    assert any("results in dollars are impossible" in note for note in found.notes)


def test_several_models_without_costs_give_quality_only() -> None:
    found = report_on(synthetic_rounds(200, has_cost=False))
    assert found.hull == ()
    assert found.pair is None
    assert math.isnan(found.router.minus_hull.estimate)
    assert math.isfinite(found.router.score.low)
    assert any("only quality is reported" in note for note in found.notes)
    assert "cost" not in headline_metrics(found)


def test_fractional_scores_are_reported_as_they_are() -> None:
    rounds = synthetic_rounds(200)
    rounds.reward[:] = np.where(rounds.adequate > 0, 0.9, 0.25)
    found = report_on(rounds)
    best = found.baselines[0].score.estimate
    assert 0.25 < best < 0.9
    assert found.baselines[-1].score.estimate <= 0.9


def test_few_groups_and_wide_intervals_are_pointed_out() -> None:
    found = report_on(synthetic_rounds(60, n_groups=6))
    assert found.method.n_groups == 6
    assert any(note.startswith("only 6 groups") for note in found.notes)
    assert any(note.startswith("underpowered") for note in found.notes)


def test_requests_without_text_are_counted() -> None:
    rounds = synthetic_rounds(60)
    counted = {"request: neither messages nor prompt": 12}
    found = report_on(replace(rounds, skipped=counted))
    assert found.size.n_without_text == 12
    assert any(note.startswith("12 requests have neither") for note in found.notes)


def test_a_given_predictor_is_marked_as_possibly_trained_on_the_data() -> None:
    rounds = synthetic_rounds(100)
    found = evaluate_rounds(rounds, name="given", params=PARAMS, predictor=BinnedMeans(rounds))
    assert any("may have been trained on this data" in note for note in found.notes)
    assert found.method.held_out.startswith("given artifact")


def test_the_same_seed_gives_the_same_report() -> None:
    rounds = synthetic_rounds(120)
    first, again = (msgspec.json.encode(report_on(rounds)) for _ in range(2))
    assert first == again


def test_no_outcome_of_a_held_out_group_reaches_its_prediction() -> None:
    """Turning a fold's outcomes upside down must not change what was predicted for it."""
    rounds = synthetic_rounds(120, n_groups=12)
    folds = grouped_folds(rounds.group.astype(str), n_folds=3)
    matrix, _ = matrix_of(rounds)
    before = cross_validate(
        rounds, matrix, folds=folds, params=PARAMS, fit=fit_binned_means, on_step=lambda _: None
    )
    held = folds[rounds.context_index] == 0
    rounds.reward[held] = 1 - rounds.reward[held]
    rounds.adequate[held] = 1 - rounds.adequate[held]
    matrix, _ = matrix_of(rounds)
    after = cross_validate(
        rounds, matrix, folds=folds, params=PARAMS, fit=fit_binned_means, on_step=lambda _: None
    )
    assert (before.p_all[folds == 0] == after.p_all[folds == 0]).all()
    for first, second in zip(before.points, after.points, strict=True):
        assert first.policies[0] == second.policies[0]
        assert (first.choice[folds == 0] == second.choice[folds == 0]).all()
    assert not (before.p_all[folds == 1] == after.p_all[folds == 1]).all()


def test_progress_is_told_after_each_fit() -> None:
    seen: list[tuple[int, int]] = []
    evaluate_rounds(
        synthetic_rounds(60),
        name="progress",
        params=PARAMS,
        fit=fit_binned_means,
        progress=lambda step, done, total: seen.append((done, total)),
    )
    assert seen == [(i + 1, 9) for i in range(9)]


def test_a_part_of_the_contexts_is_drawn_by_seed() -> None:
    rounds = synthetic_rounds(100)
    part = sampled(rounds, 30, seed=1)
    assert part.n_contexts == 30
    assert part.decision_id.tolist() == sampled(rounds, 30, seed=1).decision_id.tolist()
    assert sampled(rounds, 500, seed=1) is rounds
    with pytest.raises(DatasetError, match="max_contexts: got 1"):
        sampled(rounds, 1, seed=1)
    found = evaluate_rounds(
        rounds,
        name="part",
        params=PARAMS,
        options=Options(max_contexts=30),
        fit=fit_binned_means,
    )
    assert found.size.n == 30


def test_one_model_is_an_error() -> None:
    with pytest.raises(DatasetError, match="at least 2 models"):
        report_on(synthetic_rounds(20, models=("cheap",)))


def test_the_json_has_a_version_and_no_number_that_is_not_one(
    several: Report, tmp_path: Path
) -> None:
    write_json(several, tmp_path / "new" / "report.json")
    text = (tmp_path / "new" / "report.json").read_text()
    found = msgspec.json.decode(text)
    assert found["schema_version"] == 2
    assert "NaN" not in text
    assert found["router"]["minus_hull"].keys() == {"estimate", "low", "high"}


def test_the_text_names_what_a_reader_looks_for(several: Report) -> None:
    text = render(several)
    for word in ("always-best", "always-cheapest", "hull", "oracle", "ECE", "AUC", "easy", "luck"):
        assert word in text
    assert "nan" not in text


def test_the_text_of_a_pair_shows_its_metrics() -> None:
    text = render(report_on(synthetic_rounds(200, models=("cheap", "strong"), has_cost=False)))
    assert "APGR" in text
    assert "CPT(80%)" in text


def test_plots_are_png_files(several: Report, tmp_path: Path) -> None:
    paths = write_plots(several, tmp_path / "plots")
    assert [path.name for path in paths] == ["cost_quality.png", "reliability.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_without_costs_there_is_no_cost_plot(tmp_path: Path) -> None:
    found = report_on(synthetic_rounds(100, has_cost=False))
    assert [path.name for path in write_plots(found, tmp_path)] == ["reliability.png"]
