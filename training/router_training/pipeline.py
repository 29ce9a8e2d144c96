"""One training run, from the log to a registered challenger."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from msgspec import Struct

from router_data.dataset import load_rounds
from router_data.logged import LoggedDecisions, load_logged
from router_data.rounds import Rounds
from router_model.artifact import read_manifest
from router_model.contract import Certified
from router_model.errors import DatasetError
from router_training.catalog_in_use import current_catalog
from router_training.crossval import Predictor
from router_training.empty_log import require_log
from router_training.evaluate import evaluate_rounds
from router_training.gate import GateReport, gate_metrics, write_gate
from router_training.held_out import HeldOut, held_out_keys, held_out_of, write_keys
from router_training.intervals import Resampling
from router_training.learned import learned_beside
from router_training.matrix import matrix_of
from router_training.params import TrainingParams, as_dict
from router_training.plots import write_plots
from router_training.registry import Registry, Version
from router_training.reliability import calibration_of
from router_training.report import Report, headline_metrics, write_json
from router_training.revision import code_revision
from router_training.splits import TimeSplit, time_split

STEPS = (
    "dataset",
    "split",
    "train and calibrate",
    "evaluate",
    "certify",
    "artifact",
    "gate",
    "register",
)

OnStep = Callable[[str], None]
P = TypeVar("P", bound=Predictor)


class Tools(Struct, Generic[P], frozen=True, kw_only=True):
    """What a run is done with: fitting, certifying, writing an artifact folder, judging it.

    `certify` takes the predictor, the test part, and the live decisions with their propensities.
    `write` takes the predictor, an empty folder, and a mapping of metrics, lineage, contracts.
    `judge` takes that folder, the champion's (None without one) and the champion's number.
    `require_encoder` raises when the text encoder with a hash is not at hand: it has to go into
    the artifact, because new requests must be embedded as the log was.
    """

    fit: Callable[..., P]
    certify: Callable[[P, Rounds, LoggedDecisions | None], tuple[Certified, ...]]
    write: Callable[[P, Path, Mapping[str, Any]], None]
    judge: Callable[[Path, Path | None, str, HeldOut], GateReport]
    require_encoder: Callable[[str], object]


class RunResult(Struct, frozen=True, kw_only=True):
    """What a run made and found; `gate` says what speaks against the challenger.

    `n_observed` contexts had an outcome; `skipped` counts what was left out, by reason.
    """

    version: Version
    reports: Mapping[str, Report]
    metrics: Mapping[str, float]
    gate: GateReport
    n_observed: int
    skipped: Mapping[str, int]
    n_train: int
    n_calibrate: int
    n_test: int

    @property
    def against(self) -> tuple[str, ...]:
        """Why the challenger should not be promoted, in words; empty when nothing objects."""
        return tuple(reason.text for reason in self.gate.reasons)


def run(
    state: Path,
    *,
    params: TrainingParams,
    registry: Registry,
    tools: Tools[P],
    work: Path,
    note: str = "",
    on_step: OnStep = lambda step: None,
) -> RunResult:
    """Train on the log of a state folder, evaluate on its latest part, register a challenger.

    `work` is an empty folder for the artifact and the reports. Raises DatasetError when the log
    is empty or too small. `note` is Markdown that goes into the model card.
    """
    on_step("dataset")
    require_log(state)
    rounds = load_rounds(state, rule=params.adequacy)
    tools.require_encoder(rounds.encoder)
    check_size(rounds, params)
    on_step("split")
    split = split_by_time(rounds, params)
    train, later, test = (
        rounds.select(part) for part in (split.train, split.calibrate, split.test)
    )
    require_observed(test)
    on_step("train and calibrate")
    predictor = tools.fit(train, params=params, seed=params.seed, calibration_rounds=later)
    on_step("evaluate")
    reports = reports_on(test, predictor, params=params)
    metrics = metrics_on(test, predictor, reports, params=params)
    on_step("certify")
    live = live_decisions(state, rounds, params)
    contracts = tools.certify(predictor, test, live)
    on_step("artifact")
    tags = lineage(rounds, split)
    artifact = work / "artifact"
    artifact.mkdir()
    about = {"metrics": metrics, "lineage": tags, "contracts": contracts, "note": note}
    about |= learned_beside(state, params=params, tags=tags)
    tools.write(predictor, artifact, about)
    on_step("gate")
    keys = held_out_keys(rounds, split.test)
    gate = judged(artifact, held_out_of(rounds, live, keys), registry, tools=tools, work=work)
    on_step("register")
    version = registry.register(
        artifact,
        params=as_dict(params),
        metrics=metrics | gate_metrics(gate),
        tags=tags | {"gate": gate.verdict, "artifact_version": read_manifest(artifact).version},
        files=[
            *write_reports(reports, work / "report"),
            write_keys(keys, work),
            write_gate(gate, work),
        ],
    )
    return RunResult(
        version=version,
        reports=reports,
        metrics=metrics,
        gate=gate,
        n_observed=rounds.n_observed,
        skipped=rounds.skipped,
        n_train=train.n_contexts,
        n_calibrate=later.n_contexts,
        n_test=test.n_contexts,
    )


def check_size(rounds: Rounds, params: TrainingParams) -> None:
    """DatasetError unless there are enough contexts and two models with observed outcomes."""
    if rounds.n_observed < params.min_contexts:
        raise DatasetError(
            f"log: got {rounds.n_observed} decisions with outcomes, expected at least "
            f"{params.min_contexts} (min_contexts)"
        )
    observed = np.isfinite(rounds.reward)
    models = sorted(set(rounds.model[observed].tolist()))
    if len(models) < 2:
        raise DatasetError(
            f"log: outcomes of {models or 'no model'} only, expected at least 2 models; a router "
            "can't learn to choose from one"
        )


def require_observed(test: Rounds) -> None:
    """DatasetError unless some of the latest contexts has an outcome, to be judged by."""
    if not test.n_observed:
        raise DatasetError(
            f"log: none of the latest {test.n_contexts} decisions has an outcome, expected some to "
            "judge the challenger by; report outcomes to POST /outcomes, or wait for them"
        )


def live_decisions(state: Path, rounds: Rounds, params: TrainingParams) -> LoggedDecisions | None:
    """Decisions whose model was drawn with a known propensity; None when there is none.

    Contracts are certified on those in the test part, which fitted and calibrated nothing.
    """
    try:
        catalog, encoder = current_catalog(state), rounds.encoder
        return load_logged(state, rule=params.adequacy, encoder=encoder, catalog=catalog)
    except DatasetError:
        return None


def split_by_time(rounds: Rounds, params: TrainingParams) -> TimeSplit:
    """Oldest to train, later to calibrate, latest to test; no session or group on two sides."""
    return time_split(
        rounds.ts_ms,
        session=rounds.session.astype(str),
        group=rounds.group.astype(str),
        calibration_share=params.calibration_share,
        test_share=params.test_share,
        seed=params.seed,
    )


def reports_on(test: Rounds, predictor: Predictor, *, params: TrainingParams) -> dict[str, Report]:
    """A report for each data set in which several models answered the same requests.

    Live traffic, where only the chosen model's outcome is known, gives none: policies can't be
    compared on it without off-policy estimates.
    """
    reports = {}
    for dataset in sorted(set(test.dataset.astype(str).tolist())):
        part = test.select(test.dataset.astype(str) == dataset)
        part = part.select_models(sorted(set(part.model.tolist())))
        try:
            matrix_of(part)
        except DatasetError:
            continue
        if len(set(part.group.tolist())) < 2:
            continue
        reports[dataset or "log"] = evaluate_rounds(
            part, name=dataset or "log", params=params, predictor=predictor
        )
    return reports


def metrics_on(
    test: Rounds, predictor: Predictor, reports: Mapping[str, Report], *, params: TrainingParams
) -> dict[str, float]:
    """Calibration over the whole test part, and each report's headline under `dataset.name`.

    With one report its headline also stands without a prefix, which is what the gate compares.
    """
    predicted = predictor.predict(
        test.features, test.embedding, list(test.models), tenant=test.tenant
    )
    p = np.asarray(predicted.p_adequate)
    found = calibration_of(test, p, resampling=Resampling(n_resamples=1, seed=params.seed))
    metrics: dict[str, float] = {}
    for dataset, report in reports.items():
        headline = headline_metrics(report)
        prefix = "".join(c if c.isalnum() or c in "_-. /" else "_" for c in dataset)
        metrics |= {f"{prefix}.{name}": value for name, value in headline.items()}
        if len(reports) == 1:
            metrics |= headline
    metrics |= {
        "n_test": float(test.n_contexts),
        "expected_calibration_loss": found.calibration_loss.estimate,
        "brier_loss": found.brier_loss.estimate,
        "log_loss": found.log_loss,
    }
    if np.isfinite(found.auc.estimate):
        metrics["auc_score"] = found.auc.estimate
    return metrics


def judged(
    artifact: Path, held_out: HeldOut, registry: Registry, *, tools: Tools[P], work: Path
) -> GateReport:
    """What the gate says of an artifact beside the champion, if there is one."""
    champion = registry.find("champion")
    if champion is None:
        return tools.judge(artifact, None, "", held_out)
    folder = work / "champion"
    folder.mkdir()
    return tools.judge(artifact, registry.download(champion, folder), champion.number, held_out)


def lineage(rounds: Rounds, split: TimeSplit) -> dict[str, str]:
    """What a version came from, as tags; it learned from nothing after `trained_until_ms`."""
    learned = split.train | split.calibrate
    names, counts = np.unique(rounds.dataset.astype(str), return_counts=True)
    return {
        "datasets": ", ".join(
            f"{name or 'live traffic'} ({count})" for name, count in zip(names, counts, strict=True)
        ),
        "data_snapshot": rounds.snapshot_hash,
        "code_revision": code_revision(Path(__file__).parent),
        "feature_schema": rounds.feature_schema,
        "encoder_hash": rounds.encoder,
        "n_train": str(int(split.train.sum())),
        "n_calibrate": str(int(split.calibrate.sum())),
        "n_test": str(int(split.test.sum())),
        "n_observed": str(rounds.n_observed),
        "trained_until_ms": str(int(rounds.ts_ms[learned].max()) + 1),
    }


def write_reports(reports: Mapping[str, Report], folder: Path) -> list[Path]:
    """JSON and plots of every report, in a folder for each data set."""
    files: list[Path] = []
    for dataset, report in reports.items():
        name = "".join(c if c.isalnum() or c in "_-" else "_" for c in dataset)
        path = folder / f"{name}.json"
        write_json(report, path)
        pictures = write_plots(report, folder / name)
        renamed = [picture.rename(folder / f"{name}.{picture.name}") for picture in pictures]
        files += [path, *renamed]
    return files
