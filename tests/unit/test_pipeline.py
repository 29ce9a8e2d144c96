"""A training run from a real log to a registered, exported, loadable artifact."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_rounds import synthetic_rounds, write_tables

from router_data.importer import import_tables
from router_data.logging_policy import LoggingPolicy
from router_model.artifact import MANIFEST, verify
from router_model.contract import Contracts
from router_model.embedding import N_MATCH
from router_model.encoder import StaticEncoder
from router_model.errors import ArtifactError, DatasetError
from router_training.artifacts import EncoderFinder, load_artifact, tools
from router_training.params import TrainingParams
from router_training.pipeline import (
    STEPS,
    RunResult,
    check_size,
    metrics_on,
    reports_on,
    require_observed,
    run,
    split_by_time,
)
from router_training.registry import Registry

PARAMS = TrainingParams(
    n_resamples=50, n_folds=2, n_estimators=20, ridges=(500.0,), embedding_dim=16
)


@dataclass(frozen=True)
class Done:
    state: Path
    registry: Registry
    result: RunResult
    steps: list[str]
    encoder: StaticEncoder


@pytest.fixture(scope="module")
def encoder() -> StaticEncoder:
    return StaticEncoder.from_sentence_transformer("wordllama", dimension=16)


@pytest.fixture(scope="module")
def done(encoder: StaticEncoder, tmp_path_factory: pytest.TempPathFactory) -> Done:
    root = tmp_path_factory.mktemp("run")
    state = root / "state"
    import_tables(write_tables(root / "data", n=120), state, encoder=encoder, progress=False)
    registry = Registry(state, tracking_uri=f"sqlite:///{root / 'mlflow.db'}")
    steps: list[str] = []
    work = root / "work"
    work.mkdir()
    result = run(
        state,
        params=PARAMS,
        registry=registry,
        tools=tools(PARAMS, state),
        work=work,
        on_step=steps.append,
    )
    return Done(state, registry, result, steps, encoder)


def test_a_run_goes_through_every_step_in_order(done: Done) -> None:
    assert done.steps == list(STEPS)


def test_a_run_registers_a_challenger_with_its_lineage(done: Done) -> None:
    challenger = done.registry.get("challenger")
    assert challenger.number == done.result.version.number
    assert len(challenger.tags["data_snapshot"]) == 64
    assert challenger.tags["encoder_hash"] == done.encoder.hash
    assert challenger.tags["gate"] == done.result.gate.verdict
    assert challenger.metrics["gate.n_reasons"] == len(done.result.gate.reasons)
    assert int(challenger.tags["trained_until_ms"]) > 0
    files = {f.path for f in done.registry.client.list_artifacts(challenger.run_id, "report")}
    assert {"report/gate.json", "report/held_out.json"} <= files
    params = done.registry.client.get_run(challenger.run_id).data.params
    assert params["embedding_dim"] == "16"
    assert challenger.metrics["brier_loss"] == pytest.approx(done.result.metrics["brier_loss"])


def test_parts_are_whole_and_about_as_large_as_asked(done: Done) -> None:
    result = done.result
    assert result.n_train + result.n_calibrate + result.n_test == 120
    assert result.n_test == pytest.approx(0.2 * 120, abs=2)


def test_the_report_of_the_data_set_is_registered_with_its_plots(done: Done) -> None:
    assert list(done.result.reports) == ["data"]
    version = done.result.version
    names = {f.path for f in done.registry.client.list_artifacts(version.run_id, "report")}
    assert {"report/data.json", "report/data.cost_quality.png"} <= names


def test_an_exported_artifact_predicts_as_the_trained_one_did(done: Done, tmp_path: Path) -> None:
    dest = tmp_path / "artifact"
    done.registry.export("challenger", dest, check=verify)
    predictor = load_artifact(dest)
    assert StaticEncoder.load(dest).hash == done.encoder.hash
    assert (dest / "MODEL_CARD.md").read_text().startswith("# Model card")
    rng = np.random.default_rng(0)
    features = rng.random((3, predictor.joint.n_features)).astype(np.float32)
    embedding = rng.random((3, 16 + N_MATCH)).astype(np.float32)
    p = predictor.predict(features, embedding, ["cheap", "strong"]).p_adequate
    assert p.shape == (3, 2)
    assert ((p > 0) & (p < 1)).all()


def test_an_artifact_says_what_was_certified_for_every_alpha(done: Done, tmp_path: Path) -> None:
    done.registry.export("challenger", tmp_path / "artifact", check=verify)
    assert "contracts.json" in verify(tmp_path / "artifact").files
    contracts = Contracts.load(tmp_path / "artifact")
    assert [entry.alpha for entry in contracts.by_tenant["*"]] == list(PARAMS.contract_alphas)
    # Two dozen held-out requests are too few for a promise of 1%.
    assert contracts.min_adequacy_for("any", 0.01, 0.1).is_abstaining


def test_an_altered_artifact_is_not_exported(done: Done, tmp_path: Path) -> None:
    def alter_then_verify(folder: Path) -> None:
        path = folder / "predictor.json"
        path.write_bytes(path.read_bytes().replace(b"cheap", b"dear_"))
        verify(folder)

    with pytest.raises(ArtifactError, match="altered"):
        done.registry.export("challenger", tmp_path / "artifact", check=alter_then_verify)
    assert not (tmp_path / "artifact").exists()


def test_an_artifact_of_other_features_is_refused(done: Done, tmp_path: Path) -> None:
    done.registry.export("challenger", tmp_path / "artifact")
    path = tmp_path / "artifact" / MANIFEST
    text = path.read_text()
    schema = verify(tmp_path / "artifact").feature_schema
    path.write_text(text.replace(schema, "0" * len(schema)))
    with pytest.raises(ArtifactError, match="train again"):
        load_artifact(tmp_path / "artifact")


def test_a_second_run_is_compared_with_the_champion(done: Done, tmp_path: Path) -> None:
    champion = done.registry.promote()
    result = run(
        done.state,
        params=PARAMS,
        registry=done.registry,
        tools=tools(PARAMS, done.state),
        work=tmp_path,
    )
    assert result.gate.champion == champion.number
    found = {finding.code: finding for finding in result.gate.findings}
    # the same data, seed and parameters: exactly as good
    assert found["utility.data"].is_ok
    assert found["utility.data"].figures["estimate"] == 0.0
    assert found["latency"].figures["ratio"] == pytest.approx(1.0, abs=0.5)
    assert result.version.number != champion.number
    assert result.version.metrics["gate.utility.data.estimate"] == 0.0


def test_an_unknown_encoder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="embedded with 0123, but 'wordllama' with 16"):
        EncoderFinder(PARAMS, tmp_path)("0123")


def test_outcomes_of_the_chosen_model_alone_give_probabilities_but_no_policies(
    encoder: StaticEncoder, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    import_tables(
        write_tables(tmp_path / "data", n=120),
        state,
        encoder=encoder,
        policy=LoggingPolicy("uniform"),
        progress=False,
    )
    work = tmp_path / "work"
    work.mkdir()
    result = run(
        state,
        params=PARAMS,
        registry=Registry(state, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"),
        tools=tools(PARAMS, state),
        work=work,
    )
    assert result.reports == {}
    assert 0 <= result.metrics["brier_loss"] <= 1
    assert "score" not in result.metrics


def test_an_empty_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no decision to learn from"):
        run(
            tmp_path,
            params=PARAMS,
            registry=Registry(tmp_path),
            tools=tools(PARAMS, tmp_path),
            work=tmp_path,
        )


def test_too_few_decisions_are_an_error_that_counts_them() -> None:
    with pytest.raises(DatasetError, match="got 20 decisions with outcomes, expected at least 50"):
        check_size(synthetic_rounds(20), PARAMS)


def test_one_model_is_an_error_that_names_it() -> None:
    with pytest.raises(DatasetError, match=r"outcomes of \['cheap'\] only"):
        check_size(synthetic_rounds(60, models=("cheap",)), PARAMS)


def test_a_latest_part_without_outcomes_is_an_error_that_says_what_is_missing() -> None:
    rounds = synthetic_rounds(60)
    require_observed(rounds)
    rounds.reward[:], rounds.adequate[:] = np.nan, np.nan
    with pytest.raises(DatasetError, match="none of the latest 60 decisions has an outcome"):
        require_observed(rounds)


def test_the_split_of_a_run_is_by_time_and_by_group() -> None:
    rounds = synthetic_rounds(200, n_groups=20)
    split = split_by_time(rounds, PARAMS)
    for group in set(rounds.group.tolist()):
        parts = [part[rounds.group == group].any() for part in split_parts(split)]
        assert sum(parts) == 1


def test_each_data_set_gets_its_own_report_and_prefix() -> None:
    from synthetic_rounds import BinnedMeans

    rounds = synthetic_rounds(200)
    rounds.dataset[100:] = "other"
    predictor = BinnedMeans(rounds)
    reports = reports_on(rounds, predictor, params=PARAMS)
    metrics: Mapping[str, float] = metrics_on(rounds, predictor, reports, params=PARAMS)
    assert list(reports) == ["other", "synthetic"]
    assert {"other.score", "synthetic.score"} <= metrics.keys()
    assert "score" not in metrics


def split_parts(split: Any) -> tuple[Any, Any, Any]:
    return split.train, split.calibrate, split.test
