"""Judges the registered challenger once more, on the log as it is now."""

import tempfile
from pathlib import Path

from router_model.artifact import verify
from router_training.artifacts import load_artifact
from router_training.gate import GateReport, Limits, gate_metrics, write_gate
from router_training.gate_run import judge
from router_training.held_out import FILE, load_held_out, read_keys
from router_training.intervals import Resampling
from router_training.params import TrainingParams
from router_training.registry import Registry, RegistryError


def judge_again(
    state: Path, registry: Registry, *, params: TrainingParams, limits: Limits | None = None
) -> GateReport:
    """The gate's report on the challenger; its figures and verdict replace those in MLflow.

    Judged on the test part of its run and on everything that was decided since.
    """
    challenger, champion = registry.get("challenger"), registry.find("champion")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for name in ("challenger", "champion", "report"):
            (work / name).mkdir()
        keys = registry.download_report(challenger, FILE, work / "report")
        if keys is None:
            raise RegistryError(
                f"version {challenger.number}: its run kept no {FILE}, so that nobody knows what "
                "it was not trained on; `router-train run` makes one that can be judged"
            )
        artifact = registry.download(challenger, work / "challenger")
        before = None if champion is None else registry.download(champion, work / "champion")
        report = judge(
            artifact,
            before,
            load_held_out(
                state, read_keys(keys), rule=params.adequacy, encoder=verify(artifact).encoder
            ),
            load=load_artifact,
            champion_name="" if champion is None else champion.number,
            limits=limits,
            resampling=Resampling(n_resamples=params.n_resamples, seed=params.seed),
        )
        registry.annotate(
            challenger,
            tags={"gate": report.verdict},
            metrics=gate_metrics(report),
            files=[write_gate(report, work)],
        )
    return report
