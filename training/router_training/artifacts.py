"""Artifact folders, as training writes them and the service reads them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from router_model import features
from router_model.artifact import verify, write_manifest
from router_model.encoder import StaticEncoder
from router_model.errors import ArtifactError
from router_model.persistence import load_predictor, save_predictor
from router_model.policy import CheapestAdequate
from router_training.fit import FittedPredictor, fit_predictor
from router_training.params import TrainingParams
from router_training.pipeline import Tools

CATALOG = "catalog.toml"
MODEL_CARD = "MODEL_CARD.md"


def tools(params: TrainingParams) -> Tools[FittedPredictor]:
    """How the real predictor is fitted, written and read."""
    encoder = StaticEncoder.from_sentence_transformer(
        params.encoder, dimension=params.embedding_dim
    )

    def write(predictor: FittedPredictor, folder: Path, about: Mapping[str, Any]) -> None:
        write_artifact(predictor, folder, encoder=encoder, about=about)

    return Tools(fit=fit_predictor, write=write, load=load_artifact, encoder_hash=encoder.hash)


def write_artifact(
    predictor: FittedPredictor,
    folder: Path,
    *,
    encoder: StaticEncoder,
    about: Mapping[str, Any],
    policy: CheapestAdequate | None = None,
) -> None:
    """Fill an empty folder with a complete artifact; `about` holds `metrics` and `lineage`."""
    metrics, lineage = about.get("metrics", {}), about.get("lineage", {})
    served = policy or CheapestAdequate()
    save_predictor(predictor.joint, folder)
    encoder.save(folder)
    (folder / CATALOG).write_bytes((files("router_data") / CATALOG).read_bytes())
    (folder / MODEL_CARD).write_text(model_card(predictor.models, about), encoding="utf-8")
    write_manifest(
        folder,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        feature_schema=features.SCHEMA.hash,
        encoder=encoder.hash,
        policy={
            "min_adequacy": served.min_adequacy,
            "max_regret": served.max_regret,
            "side_call_regret": served.side_call_regret,
        },
        metrics=metrics,
        lineage=lineage,
    )


def load_artifact(folder: Path) -> FittedPredictor:
    """The predictor of a verified artifact folder; ArtifactError when it can't be used here."""
    manifest = verify(folder)
    if manifest.feature_schema != features.SCHEMA.hash:
        raise ArtifactError(
            f"{folder}: got feature schema {manifest.feature_schema}, expected "
            f"{features.SCHEMA.hash}; train again"
        )
    joint = load_predictor(folder)
    return FittedPredictor(joint.space.names, joint)


def check(folder: Path) -> None:
    """ArtifactError unless every file of the folder is what its manifest says."""
    verify(folder)


def model_card(models: tuple[str, ...], about: Mapping[str, Any]) -> str:
    """What an artifact was trained on and how good it is, as Markdown."""
    lineage = "\n".join(f"- {name}: {value}" for name, value in about.get("lineage", {}).items())
    metrics = "\n".join(
        f"| {name} | {value:.4g} |" for name, value in sorted(about.get("metrics", {}).items())
    )
    return (
        "# Model card\n\nPredicts, for a request and a model, the probability of an adequate "
        "answer, its output tokens, tool-call latency and cost.\n\n"
        f"## Trained on\n\n{lineage}\n\nModels with outcomes: {', '.join(models)}.\n\n"
        "## Measured on later requests it was not trained on\n\n"
        f"| metric | value |\n| --- | --- |\n{metrics}\n"
    )
